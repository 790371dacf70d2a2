"""The objects inside a stage of cdk.json: whose tokens are taken, quotas, a domain, a network. One dataclass each.

Knows no stage and no AWS; how a value is read stands in infra/knobs.py, what a stage is in infra/config.py.
"""

# ruff: noqa: RUF009 - knob() is dataclasses.field(), which ruff does not see through

from dataclasses import dataclass

from infra.errors import ConfigError
from infra.knobs import flag, issuer, knob, list_of, matching, object_of, optional, text, whole

TOKENS = (1, 10**9)

_SUBNET = matching(r"subnet-[0-9a-f]{8,17}", example="subnet-0a1b2c3d")
_GROUP = matching(r"sg-[0-9a-f]{8,17}", example="sg-0a1b2c3d")
_HOST = matching(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}", example="chat.example.com")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthConfig:
    """Whose bearer tokens are taken: those of an OpenID issuer that is there already."""

    issuer: str = knob(issuer, "Issuer of the bearer tokens, exactly as in their `iss`.", takes="https URL")
    audience: str = knob(text, "The `aud` (Cognito: `client_id`) that a token must carry.", takes="text")


@dataclass(frozen=True, slots=True, kw_only=True)
class CognitoConfig:
    """A user pool of our own, in the data stack: whoever loses the pool loses every user's threads."""

    domain_prefix: str = knob(
        matching(
            r"(?!.*(?:aws|cognito))[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", example="my-chat (without aws, cognito)"
        ),
        "First part of the hosted sign-in page's address, unique within the region.",
        takes="text",
    )
    callback_urls: tuple[str, ...] = knob(
        list_of(
            matching(r"(https://|http://localhost)\S+", example="https://chat.example.com/"), at_least=1, at_most=20
        ),
        "Where the sign-in page sends people back to.",
        takes="list of URLs",
    )
    self_sign_up: bool = knob(
        flag, "Whether anybody may open an account; else you do it for them.", takes="true or false", default=False
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestConfig:
    """People who need not sign in: each gets a token of our own, and a small allowance."""

    messages_per_day: int = knob(
        whole(1, 10_000, "messages"), "What one guest may send in a day.", takes="1-10000", default=20
    )


Auth = AuthConfig | CognitoConfig | GuestConfig


def auth(value: object) -> Auth:
    """One of the three ways, told apart by the key that stands in the object."""
    match value:
        case {"cognito": pool, **others} if not others:
            return _inner("cognito", CognitoConfig, pool)
        case {"guest": guests, **others} if not others:
            return _inner("guest", GuestConfig, guests)
        case _:
            tokens: AuthConfig = object_of(AuthConfig)(value)  # type: ignore[assignment] # parsers return object
            return tokens


def _inner(name: str, cls: type[CognitoConfig] | type[GuestConfig], value: object) -> Auth:
    try:
        parsed: Auth = object_of(cls)(value)  # type: ignore[assignment] # parsers return object
    except ConfigError as error:
        raise ConfigError([f"{name}.{fault}" for fault in error.faults]) from None
    except ValueError as fault:
        raise ConfigError([f"{name} {fault}."]) from None
    return parsed


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaConfig:
    """What people may use; null is no limit."""

    messages_per_minute: int | None = knob(
        optional(whole(1, 1000, "messages")), "Of one user.", takes="1-1000 or null", default=None
    )
    messages_per_day: int | None = knob(
        optional(whole(1, 100_000, "messages")), "Of one user.", takes="1-100000 or null", default=None
    )
    tokens_per_day: int | None = knob(optional(whole(*TOKENS, "tokens")), "Of one user.", takes="number", default=None)
    stage_tokens_per_day: int | None = knob(
        optional(whole(*TOKENS, "tokens")),
        "Of all users together: the kill switch that caps what a day can cost.",
        takes="number or null",
        default=None,
    )
    max_output_tokens: int | None = knob(
        optional(whole(16, 1_000_000, "tokens")), "Of one answer.", takes="16-1000000 or null", default=None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedZoneConfig:
    """A Route 53 zone in which the certificate is proven and the name is entered."""

    id: str = knob(matching(r"Z[A-Z0-9]{5,31}", example="Z0123456789ABC"), "The zone's id.", takes="text")
    name: str = knob(_HOST, "The zone's name.", takes="host name")


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainConfig:
    """A name of your own for CloudFront: with a zone, we make certificate and records; else name a certificate."""

    name: str = knob(_HOST, "The name under which the chat answers.", takes="host name")
    hosted_zone: HostedZoneConfig | None = knob(
        optional(object_of(HostedZoneConfig)), "Route 53 zone of that name.", takes="object or null", default=None
    )
    certificate_arn: str | None = knob(
        optional(matching(r"arn:aws:acm:us-east-1:\d{12}:certificate/\S+", example="arn:aws:acm:us-east-1:...")),
        "Certificate of that name where there is no zone; CloudFront takes those of us-east-1 only.",
        takes="ARN or null",
        default=None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """Places in a network of yours."""

    vpc_id: str = knob(matching(r"vpc-[0-9a-f]{8,17}", example="vpc-0a1b2c3d"), "The network.", takes="id")
    subnets: tuple[str, ...] = knob(
        list_of(_SUBNET, at_least=1, at_most=16), "With a way out to the model and to AWS.", takes="list of ids"
    )
    security_groups: tuple[str, ...] = knob(
        list_of(_GROUP, at_least=1, at_most=5), "What may be reached.", takes="list of ids"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedInstancesConfig(NetworkConfig):
    """Lambda on EC2 instances that AWS runs in your account: several turns at a time in each environment."""

    instance_types: tuple[str, ...] = knob(
        list_of(matching(r"[a-z0-9-]+\.[a-z0-9]+", example="m8g.large"), at_most=10),
        "Which instances may be started; none leaves the choice to Lambda.",
        takes="list of types",
        default=(),
    )
    concurrency: int = knob(
        whole(1, 64, "turns"), "Turns at a time in one environment; they share its loop.", takes="1-64", default=10
    )
    max_vcpus: int = knob(
        whole(2, 15_000, "vCPUs"), "At most so many vCPUs: the cap on what it can cost.", takes="2-15000", default=16
    )
