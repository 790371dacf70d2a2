"""The options of one stage: parser, accepted values and purpose of each. Nested objects are in sections.py.

docs/configuration.md is generated from this file (infra/stage/reference_page.py).
"""

# ruff: noqa: RUF009 - option() is dataclasses.field(), which ruff does not see through

from dataclasses import dataclass
from typing import Literal

from infra.stage.parsers import (
    choice,
    days_of,
    environment,
    flag,
    list_of,
    matching,
    object_of,
    option,
    optional,
    origins,
    parameter,
    secret_name,
    settings,
    text,
    whole,
)
from infra.stage.sections import (
    AuthConfig,
    DomainConfig,
    ManagedInstancesConfig,
    NetworkConfig,
    PolicyConfig,
    QuotaConfig,
    auth,
)

MEMORY_MB = (512, 10_240)  # the agents stack alone takes some 170 MB; above is Lambda's limit
TIMEOUT_S = (30, 900)  # shorter than 30 s cuts ordinary answers, and leaves no time to close one; above is the limit
LOG_RETENTION_DAYS = (1, 3, 7, 14, 30, 60, 90, 180, 365, 731)  # of those that CloudWatch takes, up to two years
RETENTION_DAYS = (1, 3650)  # null keeps for ever; 0 would mean that nothing is ever kept
MAX_CONCURRENCY = 1000  # the quota of an account that never asked for more


@dataclass(frozen=True, slots=True, kw_only=True)
class StageOptions:
    """What one stage chooses. `auth` is required: without it, anyone who finds the URL could spend the model's key."""

    stage: str
    auth: AuthConfig = option(
        auth,
        'who may call, {"issuer": "https://...", "audience": "..."}, or {"guest": {}} together with quotas.',
        takes="object",
    )
    account: str | None = option(
        optional(matching(r"\d{12}", example='"123456789012"')),
        "The AWS account; null is the one whose credentials are used.",
        takes="12 digits or null",
        default=None,
    )
    region: str | None = option(
        optional(matching(r"[a-z]{2}(-[a-z]+)+-\d", example="eu-central-1")),
        "The AWS region; null is the one that your AWS profile names.",
        takes="region or null",
        default=None,
    )
    cors_origins: tuple[str, ...] = option(
        origins,
        "Other sites whose pages may call and upload; our own page may anyway.",
        takes="list of origins",
        default=(),
    )
    model_key_parameter: str | None = option(
        optional(parameter),
        "SSM parameter (SecureString) with the model's key; null is `/chatkit/<stage>/model-key`.",
        takes="name or null",
        default=None,
    )
    models: tuple[str, ...] = option(
        list_of(text, at_most=20),
        "Models that may be used, the default first; none leaves it to agent/.",
        takes="list of names",
        default=(),
    )
    quotas: QuotaConfig | None = option(
        optional(object_of(QuotaConfig)), "What people may use.", takes="object or null", default=None
    )
    claims: tuple[str, ...] = option(
        list_of(matching(r"[^\s,]{1,200}", example="plan"), at_most=20),
        "Claims of the user's token that tools may read as `context.user.claims`: docs/auth.md.",
        takes="list of names",
        default=(),
    )
    settings: tuple[tuple[str, str], ...] = option(
        settings,
        "Settings of the function that have no option here, without their CHAT_; never a secret.",
        takes='object, such as `{"history_items": 20}`',
        default=(),
    )
    environment: tuple[tuple[str, str], ...] = option(
        environment,
        "Variables for your own code: names that are not ours or AWS's; never a secret.",
        takes='object, such as `{"SHOP_URL": "https://shop.example.com"}`',
        default=(),
    )
    secrets: tuple[str, ...] = option(
        list_of(secret_name, at_most=20),
        "Secrets that your tools read: docs/secrets.md. Each is the SSM parameter `/chatkit/<stage>/<name>`.",
        takes="list of names",
        default=(),
    )
    policy: tuple[PolicyConfig, ...] = option(
        list_of(object_of(PolicyConfig), at_most=20),
        "What your tools may do in AWS: statements for the function's role.",
        takes="list of objects",
        default=(),
    )
    memory_mb: int = option(
        whole(*MEMORY_MB, "MB"), "The function's; CPU grows with it.", takes="512-10240", default=1024
    )
    timeout_s: int = option(whole(*TIMEOUT_S, "seconds"), "The longest turn.", takes="30-900", default=300)
    reserved_concurrency: int | None = option(
        optional(whole(1, MAX_CONCURRENCY, "invocations")),
        "Turns at a time, at most. null: 50 with guests, where the account can set them aside; else no limit but the "
        "account's.",
        takes="1-1000 or null",
        default=None,
    )
    account_concurrency: int = option(
        whole(1, 1_000_000, "invocations"),
        "What Lambda lets the account run at a time, for the alarm `concurrency`; new accounts may have 10.",
        takes="number",
        default=MAX_CONCURRENCY,
    )
    architecture: Literal["arm64", "x86_64"] = option(
        choice("arm64", "x86_64"),
        "The processors; x86_64 where a wheel of yours, or a local AWS, needs it.",
        takes="arm64 or x86_64",
        default="arm64",
    )
    snapstart: bool = option(
        flag,
        "Start from a snapshot: faster cold starts, and a charge for keeping it while nobody talks.",
        takes="true or false",
        default=False,
    )
    managed_instances: ManagedInstancesConfig | None = option(
        optional(object_of(ManagedInstancesConfig)),
        "Run on EC2 instances that Lambda manages; they cost by the hour.",
        takes="object or null",
        default=None,
    )
    vpc: NetworkConfig | None = option(
        optional(object_of(NetworkConfig)),
        "For tools that reach private databases.",
        takes="object or null",
        default=None,
    )
    front_door: Literal["url", "cloudfront", "apigw"] = option(
        choice("url", "cloudfront", "apigw"),
        "How the world reaches the function; docs/operations.md compares.",
        takes="url, cloudfront or apigw",
        default="url",
    )
    origin_access: Literal["secret", "iam"] = option(
        choice("secret", "iam"),
        "How CloudFront proves itself: by a header that we check, or by signing (browsers must then hash bodies).",
        takes="secret or iam",
        default="secret",
    )
    origin_secret_generation: int = option(
        whole(1, 10_000, "generations"),
        "One more makes CloudFront send a new secret; the one before is still taken.",
        takes="1-10000",
        default=1,
    )
    domain: DomainConfig | None = option(
        optional(object_of(DomainConfig)), "A name of your own, with CloudFront.", takes="object or null", default=None
    )
    waf: bool = option(
        flag,
        "A firewall before CloudFront: AWS's common rules, its lists of bad and anonymous addresses, a rate limit.",
        takes="true or false",
        default=False,
    )
    access_logs: bool = option(
        flag,
        "Keep CloudFront's or API Gateway's own access log, with callers' addresses, for log_retention_days.",
        takes="true or false",
        default=False,
    )
    canary: bool = option(
        flag,
        "A new version answers 10 % for 5 minutes first, and goes back by itself when an alarm rings.",
        takes="true or false",
        default=False,
    )
    log_retention_days: int = option(
        days_of(LOG_RETENTION_DAYS),
        "How long log lines are kept.",
        takes="one of " + ", ".join(map(str, LOG_RETENTION_DAYS)),
        default=30,
    )
    thread_retention_days: int | None = option(
        optional(whole(*RETENTION_DAYS, "days")),
        "How long threads are kept; null is for ever.",
        takes="1-3650 or null",
        default=None,
    )
    attachment_retention_days: int | None = option(
        optional(whole(*RETENTION_DAYS, "days")),
        "How long files that a message holds are kept; null is for ever.",
        takes="1-3650 or null",
        default=None,
    )
    bucket_versioning: bool = option(
        flag,
        "Keep what was overwritten or deleted in the bucket for 30 days; erasing a user then takes as long.",
        takes="true or false",
        default=False,
    )
    kms: Literal["aws", "cmk"] = option(
        choice("aws", "cmk"),
        "Whose key encrypts table and bucket: AWS's, or one of your own that costs $1 a month.",
        takes="aws or cmk",
        default="aws",
    )
    monitoring: Literal["none", "basic", "full"] = option(
        choice("none", "basic", "full"),
        "Alarms: none, those that the free tier covers, or all with a dashboard and a health check.",
        takes="none, basic or full",
        default="basic",
    )
    alarm_email: str | None = option(
        optional(matching(r"[^@\s]+@[^@\s]+\.[^@\s]+", example="ops@example.com")),
        "Who gets mail about alarms, once AWS's mail is confirmed; null is for nobody. `make deploy` of a stage with "
        "guests wants one of the two in writing.",
        takes="address or null",
        default=None,
    )
    monthly_budget_usd: int | None = option(
        optional(whole(1, 1_000_000, "dollars")),
        "At 80 % of it, and when the month is forecast to pass it, alarm_email gets mail.",
        takes="number or null",
        default=None,
    )

    @property
    def needs_edge(self) -> bool:
        """Whether the stage needs a stack in us-east-1, for a web ACL or for a certificate that we create."""
        return self.waf or (self.domain is not None and self.domain.hosted_zone is not None)

    @property
    def open_to_strangers(self) -> bool:
        """True where anybody may spend the model's key: as a guest, or by opening an account."""
        return self.auth.guest is not None or (self.auth.cognito is not None and self.auth.cognito.self_sign_up)
