"""What CloudFront takes from us-east-1 only, wherever the rest stands: the certificate and the firewall."""

import aws_cdk as cdk
from aws_cdk import Stack
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_wafv2 as wafv2
from constructs import Construct

from infra.cloudfront import Edge
from infra.config import StageConfig
from infra.config_parts import DomainConfig, HostedZoneConfig

COMMON_RULES = "AWSManagedRulesCommonRuleSet"
# They look for attacks in bodies. Our bodies are what people write, code included: they count, and let pass.
RULES_ABOUT_BODIES = [
    "CrossSiteScripting_BODY",
    "EC2MetaDataSSRF_BODY",
    "GenericLFI_BODY",
    "GenericRFI_BODY",
    "SizeRestrictions_BODY",
]
REQUESTS_PER_IP = 1000  # in 5 minutes: a hundred people behind one address, ten requests each


class EdgeStack(Stack):
    """`edge` is what the distribution takes from here."""

    def __init__(self, scope: Construct, construct_id: str, *, config: StageConfig, env: cdk.Environment) -> None:
        super().__init__(scope, construct_id, env=env, description=f"Chat, stage {config.stage}: certificate, firewall")
        zone = config.domain.hosted_zone if config.domain else None
        self.edge = Edge(
            certificate=self._certificate(config.domain, zone) if config.domain and zone else None,
            web_acl_arn=self._firewall().attr_arn if config.waf else None,
        )

    def _certificate(self, domain: DomainConfig, zone: HostedZoneConfig) -> acm.Certificate:
        hosted = route53.HostedZone.from_hosted_zone_attributes(
            self, "Zone", hosted_zone_id=zone.id, zone_name=zone.name
        )
        validation = acm.CertificateValidation.from_dns(hosted)
        return acm.Certificate(self, "Certificate", domain_name=domain.name, validation=validation)

    def _firewall(self) -> wafv2.CfnWebACL:
        return wafv2.CfnWebACL(
            self,
            "Firewall",
            scope="CLOUDFRONT",
            default_action=wafv2.CfnWebACL.DefaultActionProperty(allow={}),
            visibility_config=_counted("firewall"),
            rules=[_common_rules(priority=0), _rate_limit(priority=1)],
        )


def _common_rules(*, priority: int) -> wafv2.CfnWebACL.RuleProperty:
    acl = wafv2.CfnWebACL
    passing = [
        acl.RuleActionOverrideProperty(name=name, action_to_use=acl.RuleActionProperty(count={}))
        for name in RULES_ABOUT_BODIES
    ]
    group = acl.ManagedRuleGroupStatementProperty(name=COMMON_RULES, vendor_name="AWS", rule_action_overrides=passing)
    return acl.RuleProperty(
        name="common",
        priority=priority,
        override_action=acl.OverrideActionProperty(none={}),
        statement=acl.StatementProperty(managed_rule_group_statement=group),
        visibility_config=_counted("common"),
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
    # No samples: they keep requests' headers, and a token stands in one.
    return wafv2.CfnWebACL.VisibilityConfigProperty(
        cloud_watch_metrics_enabled=True, metric_name=name, sampled_requests_enabled=False
    )
