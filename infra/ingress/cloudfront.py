"""A CloudFront distribution in front of the function URL: forwards requests, streams answers, caches static files only.

The function URL stays reachable, so requests must prove that they came through CloudFront: by a secret header that the
app checks (the ChatKit client works unmodified), or by a signature (browsers must send the SHA-256 of each body as
x-amz-content-sha256).
"""

from dataclasses import dataclass

from aws_cdk import Acknowledgment, Duration, RemovalPolicy, Validations
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_cloudfront_origins as origins
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_route53_targets as targets
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.errors import ConfigError
from infra.ingress.origin_secrets import HEADER, OriginSecrets
from infra.stage.config import StageConfig
from infra.stage.sections import DomainConfig

STATIC_FILES = "static/*"  # their names contain a hash of their content: lambda_src/http/page.py
READ_TIMEOUT_S = 30  # between two packets; the app sends a heartbeat every 15 s


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """What this stage has in us-east-1, if anything (infra/stacks/edge.py)."""

    certificate: acm.ICertificate | None = None
    web_acl_arn: str | None = None


class Distribution(Construct):
    """The distribution, and its DNS records if the stage names a hosted zone. `url` ends with a slash."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: StageConfig,
        behind: lambda_.FunctionUrl,
        secrets: OriginSecrets | None,
        edge: Edge,
    ) -> None:
        super().__init__(scope, construct_id)
        domain, origin = config.domain, _origin(behind, secrets=secrets)
        distribution = cloudfront.Distribution(
            self,
            "Distribution",
            comment=f"Chat, stage {config.stage}",
            default_behavior=cloudfront.BehaviorOptions(
                origin=origin,
                allowed_methods=cloudfront.AllowedMethods.ALLOW_ALL,
                viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.REDIRECT_TO_HTTPS,
                cache_policy=cloudfront.CachePolicy.CACHING_DISABLED,
                origin_request_policy=cloudfront.OriginRequestPolicy.ALL_VIEWER_EXCEPT_HOST_HEADER,
                compress=False,  # compression would delay small events
            ),
            additional_behaviors={STATIC_FILES: _cached(origin)},
            domain_names=[domain.name] if domain else None,
            certificate=self._certificate(domain, edge) if domain else None,
            minimum_protocol_version=cloudfront.SecurityPolicyProtocol.TLS_V1_2_2021 if domain else None,
            web_acl_id=edge.web_acl_arn,
            price_class=cloudfront.PriceClass.PRICE_CLASS_100,
            http_version=cloudfront.HttpVersion.HTTP2_AND_3,
            enable_logging=config.access_logs,
            log_bucket=_access_log(self, config) if config.access_logs else None,
        )
        self.url = f"https://{domain.name if domain else distribution.distribution_domain_name}/"
        if domain and domain.hosted_zone_id:
            self._record(domain.name, domain.hosted_zone_id, distribution)
        _acknowledge(
            distribution,
            named=domain is not None,
            guarded=edge.web_acl_arn is not None,
            logged=config.access_logs,
        )

    def _certificate(self, domain: DomainConfig, edge: Edge) -> acm.ICertificate:
        if domain.certificate_arn is not None:
            return acm.Certificate.from_certificate_arn(self, "Certificate", domain.certificate_arn)
        if edge.certificate is None:
            raise ConfigError([f"domain {domain.name} has no certificate."])
        return edge.certificate

    def _record(self, name: str, zone_id: str, distribution: cloudfront.Distribution) -> None:
        zone = route53.HostedZone.from_hosted_zone_id(self, "Zone", zone_id)
        target = route53.RecordTarget.from_alias(targets.CloudFrontTarget(distribution))
        route53.ARecord(self, "A", zone=zone, record_name=f"{name}.", target=target)
        route53.AaaaRecord(self, "Aaaa", zone=zone, record_name=f"{name}.", target=target)


def _cached(origin: cloudfront.IOrigin) -> cloudfront.BehaviorOptions:
    """Cached at the edge for a year, as their headers say: the function serves each file once for each edge.

    CloudFront compresses only responses with a Content-Length.
    """
    return cloudfront.BehaviorOptions(
        origin=origin,
        viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.REDIRECT_TO_HTTPS,
        cache_policy=cloudfront.CachePolicy.CACHING_OPTIMIZED,
        compress=True,
    )


def _access_log(scope: Construct, config: StageConfig) -> s3.Bucket:
    """A bucket for CloudFront's access log (addresses and paths, no cookies), kept as long as the stage's log."""
    bucket = s3.Bucket(
        scope,
        "AccessLog",
        object_ownership=s3.ObjectOwnership.OBJECT_WRITER,  # CloudFront delivers its logs through ACLs
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        encryption=s3.BucketEncryption.S3_MANAGED,
        enforce_ssl=True,
        lifecycle_rules=[s3.LifecycleRule(expiration=Duration.days(config.log_retention_days))],
        removal_policy=RemovalPolicy.RETAIN,  # CloudFormation cannot delete a bucket that is not empty
    )
    Validations.of(bucket).acknowledge(
        Acknowledgment(id="AwsSolutions-S1", reason="It holds an access log: a log of who reads it would never end.")
    )
    return bucket


def _origin(behind: lambda_.FunctionUrl, *, secrets: OriginSecrets | None) -> cloudfront.IOrigin:
    """The function URL as an origin: with the secret header or, if there is no secret, signed by CloudFront."""
    read_timeout = Duration.seconds(READ_TIMEOUT_S)
    if secrets is None:
        return origins.FunctionUrlOrigin.with_origin_access_control(behind, read_timeout=read_timeout)
    return origins.FunctionUrlOrigin(behind, custom_headers={HEADER: secrets.sent}, read_timeout=read_timeout)


def _acknowledge(distribution: cloudfront.Distribution, *, named: bool, guarded: bool, logged: bool) -> None:
    reasons = {"AwsSolutions-CFR1": "People chat from wherever they are."}
    if not logged:
        reasons["AwsSolutions-CFR3"] = (
            "`access_logs: true` adds it; it keeps callers' addresses, and the app logs the rest."
        )
    if not guarded:
        reasons["AwsSolutions-CFR2"] = "`waf: true` adds it, for a monthly charge; tokens and quotas guard without."
    if not named:
        reasons["AwsSolutions-CFR4"] = "CloudFront's own name comes with its own certificate and TLS versions."
    for rule, reason in reasons.items():
        Validations.of(distribution).acknowledge(Acknowledgment(id=rule, reason=reason))
