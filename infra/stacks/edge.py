"""The certificate and the firewall, which CloudFront takes only from us-east-1, whatever the region of the stage."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import Stack
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_wafv2 as wafv2
from constructs import Construct

from infra.ingress.cloudfront import Edge
from infra.stage.config import StageConfig

REPUTATION_LIST = "AWSManagedRulesAmazonIpReputationList"  # addresses known for attacks or scans
ANONYMOUS_LIST = "AWSManagedRulesAnonymousIpList"  # Tor, proxies, VPNs, hosting providers: one attacker, many addresses
COMMON_RULES = "AWSManagedRulesCommonRuleSet"
# They look for attacks in bodies. Ours contain what people write, including code, so these rules count but don't block.
RULES_ABOUT_BODIES = [
    "CrossSiteScripting_BODY",
    "EC2MetaDataSSRF_BODY",
    "GenericLFI_BODY",
    "GenericRFI_BODY",
    "SizeRestrictions_BODY",
]
REQUESTS_PER_IP = 1000  # in 5 minutes: a hundred people behind one address, ten requests each


class EdgeStack(Stack):
    """`edge` holds the certificate and the web ACL for the distribution."""

    def __init__(self, scope: Construct, construct_id: str, *, config: StageConfig, env: cdk.Environment) -> None:
        super().__init__(scope, construct_id, env=env, description=f"Chat, stage {config.stage}: certificate, firewall")
        domain = config.domain
        self.edge = Edge(
            certificate=self._certificate(domain.name, domain.hosted_zone_id)
            if domain and domain.hosted_zone_id
            else None,
            web_acl_arn=self._firewall().attr_arn if config.waf else None,
        )

    def _certificate(self, name: str, zone_id: str) -> acm.Certificate:
        validation = acm.CertificateValidation.from_dns(route53.HostedZone.from_hosted_zone_id(self, "Zone", zone_id))
        return acm.Certificate(self, "Certificate", domain_name=name, validation=validation)

    def _firewall(self) -> wafv2.CfnWebACL:
        return wafv2.CfnWebACL(
            self,
            "Firewall",
            scope="CLOUDFRONT",
            default_action=wafv2.CfnWebACL.DefaultActionProperty(allow={}),
            visibility_config=_counted("firewall"),
            rules=[
                _managed("reputation", REPUTATION_LIST, priority=0),
                _managed("anonymous", ANONYMOUS_LIST, priority=1),
                _managed("common", COMMON_RULES, priority=2, counting=RULES_ABOUT_BODIES),
                _rate_limit(priority=3),
            ],
        )


def _managed(name: str, group: str, *, priority: int, counting: Sequence[str] = ()) -> wafv2.CfnWebACL.RuleProperty:
    """AWS's managed rule group; the rules in `counting` count and do not block."""
    acl = wafv2.CfnWebACL
    passing = [
        acl.RuleActionOverrideProperty(name=rule, action_to_use=acl.RuleActionProperty(count={})) for rule in counting
    ]
    rules = acl.ManagedRuleGroupStatementProperty(
        name=group, vendor_name="AWS", rule_action_overrides=passing if passing else None
    )
    return acl.RuleProperty(
        name=name,
        priority=priority,
        override_action=acl.OverrideActionProperty(none={}),
        statement=acl.StatementProperty(managed_rule_group_statement=rules),
        visibility_config=_counted(name),
    )


def _rate_limit(*, priority: int) -> wafv2.CfnWebACL.RuleProperty:
    acl = wafv2.CfnWebACL
    limit = acl.RateBasedStatementProperty(limit=REQUESTS_PER_IP, aggregate_key_type="IP")
    return acl.RuleProperty(
        name="rate",
        priority=priority,
        action=acl.RuleActionProperty(block={}),
        statement=acl.StatementProperty(rate_based_statement=limit),
        visibility_config=_counted("rate"),
    )


def _counted(name: str) -> wafv2.CfnWebACL.VisibilityConfigProperty:
    # No samples: they would contain request headers, and one of them is the token.
    return wafv2.CfnWebACL.VisibilityConfigProperty(
        cloud_watch_metrics_enabled=True, metric_name=name, sampled_requests_enabled=False
    )
