"""The options of one stage: parser, accepted values and explanation of each. Nested objects are in sections.py.

`make snapshots` generates docs/reference/configuration.md from this file.
"""

# ruff: noqa: RUF009 - option() is dataclasses.field(), which ruff does not see through

from dataclasses import dataclass
from typing import Literal

from infra.stage.parsers import (
    choice,
    environment,
    flag,
    list_of,
    matching,
    object_of,
    option,
    optional,
    origins,
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
    OperatorsConfig,
    PageConfig,
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
        'who may use the chat: {"issuer": "https://...", "audience": "..."}, or {"guest": {}} together with quotas.',
        takes="object",
    )
    account: str | None = option(
        optional(matching(r"\d{12}", example='"123456789012"')),
        "AWS account to deploy to. null means the account of the current credentials.",
        takes="12 digits or null",
        default=None,
    )
    region: str | None = option(
        optional(matching(r"[a-z]{2}(-[a-z]+)+-\d", example="eu-central-1")),
        "AWS region to deploy to. null means the region of your AWS profile.",
        takes="region or null",
        default=None,
    )
    cors_origins: tuple[str, ...] = option(
        origins,
        "Origins of other sites whose pages may use and embed the chat: docs/how-to/embed.md.",
        takes="list of origins",
        default=(),
    )
    model_key_parameter: str | None = option(
        optional(matching(r"(/[A-Za-z0-9_.-]+){1,15}", example="/chatkit/dev/model-key")),
        "SSM parameter (SecureString) with the model's API key. null means `/chatkit/<stage>/model-key`.",
        takes="name or null",
        default=None,
    )
    models: tuple[str, ...] = option(
        list_of(text, at_most=20),
        "Models that users may choose, the default first. If empty, the code in `lambda_src/agent/` chooses the model.",
        takes="list of names",
        default=(),
    )
    quotas: QuotaConfig | None = option(
        optional(object_of(QuotaConfig)),
        "Limits on usage, per user and for the stage: docs/reference/limits.md.",
        takes="object or null",
        default=None,
    )
    page: PageConfig | None = option(
        optional(object_of(PageConfig)),
        "Title, colors and other options of the chat page: docs/how-to/brand-page.md.",
        takes="object or null",
        default=None,
    )
    claims: tuple[str, ...] = option(
        list_of(matching(r"[^\s,]{1,200}", example="plan"), at_most=20),
        "Token claims that tools may read as `context.user.claims`: docs/how-to/who-is-asking.md.",
        takes="list of names",
        default=(),
    )
    operators: OperatorsConfig | None = option(
        optional(object_of(OperatorsConfig)),
        "People who answer when the assistant cannot. null means nobody: docs/how-to/operators.md.",
        takes="object or null",
        default=None,
    )
    settings: tuple[tuple[str, str], ...] = option(
        settings,
        "Settings of the function that have no option here, in lower case and without CHAT_: "
        "docs/reference/settings.md. Do not put secrets here.",
        takes='object, such as `{"history_items": 20}`',
        default=(),
    )
    environment: tuple[tuple[str, str], ...] = option(
        environment,
        "Environment variables for your own code. Names that this project or AWS uses are refused. Do not put secrets "
        "here.",
        takes='object, such as `{"SHOP_URL": "https://shop.example.com"}`',
        default=(),
    )
    secrets: tuple[str, ...] = option(
        list_of(secret_name, at_most=20),
        "Secrets that your tools read, each from the SSM parameter `/chatkit/<stage>/<name>`: docs/how-to/secrets.md.",
        takes="list of names",
        default=(),
    )
    policy: tuple[PolicyConfig, ...] = option(
        list_of(object_of(PolicyConfig), at_most=20),
        "IAM statements for the function's role, which allow your tools to use AWS.",
        takes="list of objects",
        default=(),
    )
    memory_mb: int = option(
        whole(*MEMORY_MB, "MB"),
        "Memory of the function in MB. Lambda also gives it more CPU with more memory.",
        takes="512-10240",
        default=1024,
    )
    timeout_s: int = option(
        whole(*TIMEOUT_S, "seconds"), "Maximum duration of a turn in seconds.", takes="30-900", default=300
    )
    reserved_concurrency: int | None = option(
        optional(whole(1, MAX_CONCURRENCY, "invocations")),
        "Maximum number of turns that run at the same time. null means 50 for a stage with guests, if the account can "
        "reserve that many; otherwise only the account's limit applies.",
        takes="1-1000 or null",
        default=None,
    )
    architecture: Literal["arm64", "x86_64"] = option(
        choice("arm64", "x86_64"),
        "Processor architecture. Choose x86_64 if a package of yours, or your local AWS, needs it.",
        takes="arm64 or x86_64",
        default="arm64",
    )
    snapstart: bool = option(
        flag,
        "Whether to start processes from a snapshot (Lambda SnapStart). Cold starts are faster, but AWS charges for "
        "the snapshot even when the stage is idle.",
        takes="true or false",
        default=False,
    )
    managed_instances: ManagedInstancesConfig | None = option(
        optional(object_of(ManagedInstancesConfig)),
        "Run on EC2 instances that Lambda manages in your `vpc`. AWS charges for them by the hour.",
        takes="object or null",
        default=None,
    )
    vpc: NetworkConfig | None = option(
        optional(object_of(NetworkConfig)),
        "Run in your VPC, for tools that need private databases, or for managed_instances: docs/how-to/vpc.md.",
        takes="object or null",
        default=None,
    )
    front_door: Literal["url", "cloudfront", "cloudfront-signed", "apigw"] = option(
        choice("url", "cloudfront", "cloudfront-signed", "apigw"),
        "How clients reach the function: docs/reference/front-doors.md.",
        takes="url, cloudfront, cloudfront-signed or apigw",
        default="url",
    )
    origin_secret_generation: int = option(
        whole(1, 10_000, "generations"),
        "Increase this number by one to make CloudFront send a new secret. The previous one stays valid.",
        takes="1-10000",
        default=1,
    )
    domain: DomainConfig | None = option(
        optional(object_of(DomainConfig)),
        "Your own domain name, on CloudFront: docs/how-to/own-domain.md.",
        takes="object or null",
        default=None,
    )
    waf: bool = option(
        flag,
        "Whether AWS WAF filters requests before CloudFront, with common rules, lists of malicious and anonymous "
        "addresses, and a rate limit.",
        takes="true or false",
        default=False,
    )
    access_logs: bool = option(
        flag,
        "Whether to keep the access log of CloudFront or API Gateway, with client addresses, for log_retention_days.",
        takes="true or false",
        default=False,
    )
    canary: bool = option(
        flag,
        "Whether a new version first gets 10% of the traffic for 5 minutes, and is rolled back if an alarm goes off.",
        takes="true or false",
        default=False,
    )
    log_retention_days: int = option(
        choice(*LOG_RETENTION_DAYS),
        "Days to keep logs.",
        takes="one of " + ", ".join(map(str, LOG_RETENTION_DAYS)),
        default=30,
    )
    thread_retention_days: int | None = option(
        optional(whole(*RETENTION_DAYS, "days")),
        "Days to keep threads. null means forever.",
        takes="1-3650 or null",
        default=None,
    )
    attachment_retention_days: int | None = option(
        optional(whole(*RETENTION_DAYS, "days")),
        "Days to keep files that are attached to messages. null means forever.",
        takes="1-3650 or null",
        default=None,
    )
    bucket_versioning: bool = option(
        flag,
        "Whether overwritten and deleted objects stay in the bucket for 30 days. The files of a user who is erased "
        "then stay there as long.",
        takes="true or false",
        default=False,
    )
    kms: Literal["aws", "cmk"] = option(
        choice("aws", "cmk"),
        "Key that encrypts the table and the bucket: one of AWS (aws), or one of your own for $1 a month (cmk).",
        takes="aws or cmk",
        default="aws",
    )
    monitoring: Literal["none", "basic", "full"] = option(
        choice("none", "basic", "full"),
        "Which alarms to create: none, those within the free tier (basic), or all of them with a dashboard and a "
        "health check (full): docs/reference/alarms.md.",
        takes="none, basic or full",
        default="basic",
    )
    alarm_email: str | None = option(
        optional(matching(r"[^@\s]+@[^@\s]+\.[^@\s]+", example="ops@example.com")),
        "Address that gets mail from the alarms, once you have confirmed AWS's first message. null means nobody. For "
        "a stage that strangers can use, `make deploy` requires this option, even if it is null.",
        takes="address or null",
        default=None,
    )
    monthly_budget_usd: int | None = option(
        optional(whole(1, 1_000_000, "dollars")),
        "Monthly budget in dollars. alarm_email gets mail at 80% of it, and when the forecast exceeds it.",
        takes="number or null",
        default=None,
    )

    @property
    def behind_cloudfront(self) -> bool:
        """Whether clients reach the function through CloudFront."""
        return self.front_door in ("cloudfront", "cloudfront-signed")

    @property
    def needs_edge(self) -> bool:
        """Whether the stage needs a stack in us-east-1, for a web ACL or for a certificate that we create."""
        return self.waf or (self.domain is not None and self.domain.hosted_zone_id is not None)

    @property
    def open_to_strangers(self) -> bool:
        """True where anybody may spend the model's key: as a guest, or by opening an account."""
        return self.auth.guest is not None or (self.auth.cognito is not None and self.auth.cognito.self_sign_up)
