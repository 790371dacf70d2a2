"""The objects inside a stage of cdk.json: whose tokens are taken, quotas, a domain, a network. One dataclass each.

Knows no stage and no AWS. infra/stage/parsers.py parses each value; infra/stage/schema.py is the stage itself.
"""

# ruff: noqa: RUF009 - option() is dataclasses.field(), which ruff does not see through

import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from infra.errors import ConfigError
from infra.stage.parsers import (
    flag,
    issuer,
    list_of,
    matching,
    object_of,
    option,
    optional,
    options_of,
    public_key,
    text,
    whole,
)

TOKENS = (1, 10**9)

_SUBNET = matching(r"subnet-[0-9a-f]{8,17}", example="subnet-0a1b2c3d")
_GROUP = matching(r"sg-[0-9a-f]{8,17}", example="sg-0a1b2c3d")
_HTTPS = matching(r"https://[^\s/]+(/\S*)?", example="https://my-chat.auth.eu-central-1.amazoncognito.com")
_HOST = matching(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}", example="chat.example.com")


@dataclass(frozen=True, slots=True, kw_only=True)
class CognitoConfig:
    """A user pool of our own, in the data stack: whoever loses the pool loses every user's threads."""

    domain_prefix: str = option(
        matching(
            r"(?!.*(?:aws|cognito))[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", example="my-chat (without aws, cognito)"
        ),
        "First part of the hosted sign-in page's address, unique within the region.",
        takes="text",
    )
    callback_urls: tuple[str, ...] = option(
        list_of(
            matching(r"(https://|http://localhost)\S+", example="https://chat.example.com/"), at_least=1, at_most=20
        ),
        "Where the sign-in page sends people back to.",
        takes="list of URLs",
    )
    self_sign_up: bool = option(
        flag, "Whether anybody may open an account; else you do it for them.", takes="true or false", default=False
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestConfig:
    """People who need not sign in: each gets a token of our own, and a small allowance."""

    messages_per_day: int = option(
        whole(1, 10_000, "messages"), "What one guest may send in a day.", takes="1-10000", default=20
    )
    tokens_percent: int = option(
        whole(1, 100, "percent"),
        "What guests may take of `quotas.stage_tokens_per_day`; 100 where nobody else may call.",
        takes="1-100",
        default=25,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthConfig:
    """Who may call: users of an issuer, of a backend of yours, of a pool of our own, guests; several if you like.

    Without any there is no stage: whoever found the URL could spend the model's key.
    """

    issuer: str | None = option(
        optional(issuer),
        "OpenID issuer of the bearer tokens, exactly as in their `iss`.",
        takes="https URL or null",
        default=None,
    )
    audience: str | None = option(
        optional(text),
        "The `aud` (Cognito: `client_id`) that a token must carry.",
        takes="text or null; with issuer or public_keys",
        default=None,
    )
    public_keys: tuple[str, ...] = option(
        list_of(public_key, at_most=10),
        "Public JWKs of the backend of yours that signs tokens: docs/auth.md says how one is made.",
        takes="list of JWKs",
        default=(),
    )
    client_id: str | None = option(
        optional(text),
        "Public client (PKCE, no secret) by which our page lets people sign in at the issuer.",
        takes="text or null; with issuer",
        default=None,
    )
    resource: str | None = option(
        optional(matching(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s#]+", example="https://chat.example.com")),
        "The API that our page asks the issuer for (RFC 8707), instead of by its audience as Auth0 has it.",
        takes="absolute URI or null; with client_id",
        default=None,
    )
    sign_in_url: str | None = option(
        optional(_HTTPS),
        "Where the issuer gives our page its tokens, if on another host than its own: Cognito's domain.",
        takes="https URL or null; with client_id",
        default=None,
    )
    cognito: CognitoConfig | None = option(
        optional(object_of(CognitoConfig)), "A user pool of our own.", takes="object or null", default=None
    )
    guest: GuestConfig | None = option(
        optional(object_of(GuestConfig)), "People who need not sign in.", takes="object or null", default=None
    )


def auth(value: object) -> AuthConfig:
    """The ways that a stage chose; ConfigError also for ways that are missing, or exclude each other."""
    faults = (
        _of_ways({name for name, given in value.items() if given or given == {}}) if isinstance(value, Mapping) else []
    )
    try:
        parsed: AuthConfig = object_of(AuthConfig)(value)  # type: ignore[assignment] # parsers return object
    except ConfigError as error:
        raise ConfigError([*error.faults, *faults]) from None
    if faults:
        raise ConfigError(faults)
    return parsed


def _of_ways(given: Set[object]) -> list[str]:
    signed = bool(given & {"issuer", "public_keys"})
    faults = {
        "issuer, public_keys, cognito or guest must say who may call.": not given
        & {"issuer", "public_keys", "cognito", "guest"},
        "audience is missing: the `aud` (Cognito: `client_id`) that a token must carry.": signed
        and "audience" not in given,
        "audience means nothing without issuer or public_keys.": not signed and "audience" in given,
        "client_id means nothing without issuer; cognito brings its own.": "client_id" in given
        and "issuer" not in given,
        "resource means nothing without client_id.": "resource" in given and "client_id" not in given,
        "sign_in_url means nothing without client_id; cognito brings its own.": "sign_in_url" in given
        and "client_id" not in given,
        "cognito is an issuer of its own: take it, or issuer and public_keys.": signed and "cognito" in given,
    }
    return [sentence for sentence, true in faults.items() if true]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaConfig:
    """What people may use; null is no limit."""

    messages_per_minute: int | None = option(
        optional(whole(1, 1000, "messages")), "Of one user.", takes="1-1000 or null", default=None
    )
    messages_per_day: int | None = option(
        optional(whole(1, 100_000, "messages")), "Of one user.", takes="1-100000 or null", default=None
    )
    running_turns: int | None = option(
        optional(whole(1, 100, "turns")), "Answers written for one user at a time.", takes="1-100 or null", default=None
    )
    tokens_per_day: int | None = option(
        optional(whole(*TOKENS, "tokens")), "Of one user.", takes="number or null", default=None
    )
    stage_tokens_per_day: int | None = option(
        optional(whole(*TOKENS, "tokens")),
        "Of all users together: the kill switch that caps what a day can cost.",
        takes="number or null",
        default=None,
    )
    files_per_day: int | None = option(
        optional(whole(1, 10_000, "files")), "Of one user.", takes="1-10000 or null", default=None
    )
    file_bytes_per_day: int | None = option(
        optional(whole(1, 10**12, "bytes")), "Of one user's files together.", takes="number or null", default=None
    )
    max_output_tokens: int | None = option(
        optional(whole(16, 1_000_000, "tokens")), "Of one answer.", takes="16-1000000 or null", default=None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    """What your tools may do in AWS, beside what the chat itself needs: one statement of the function's role."""

    actions: tuple[str, ...] = option(
        list_of(
            matching(r"[a-z][a-z0-9-]*:([A-Za-z0-9]+\*?|\*)", example="dynamodb:GetItem (a * only at the end)"),
            at_least=1,
            at_most=50,
        ),
        "What is allowed; never actions of iam or sts.",
        takes="list of actions",
    )
    resources: tuple[str, ...] = option(
        list_of(
            matching(
                r"\*|arn:aws(-[a-z]+)*:[a-z0-9-]+:[a-z0-9*-]*:[0-9*]*:\S+",
                example='arn:aws:dynamodb:eu-central-1:123456789012:table/orders, or "*"',
            ),
            at_least=1,
            at_most=50,
        ),
        'On what; "*" only together with actions that have no *.',
        takes="list of ARNs",
    )


# What the stage keeps, by the service in an ARN: how such a resource's name begins.
KEPT_BY_THE_STAGE = {
    "dynamodb": "table/chatkit-{stage}-data-",
    "s3": "chatkit-{stage}-data-",
    "ssm": "parameter/chatkit/{stage}/",
}


def policy_faults(statements: Iterable[PolicyConfig], *, stage: str) -> list[str]:
    """What no statement may allow, each as a sentence that begins with the option."""
    faults: list[str] = []
    for statement in statements:
        services = {action.partition(":")[0] for action in statement.actions}
        if refused := services & {"iam", "sts"}:
            faults.append(f"policy may not allow {' or '.join(sorted(refused))} actions: they could grant any other.")
        if "*" in statement.resources and any("*" in action for action in statement.actions):
            faults.append('policy may not allow wildcard actions on "*": name the actions or the resources.')
            continue
        for service in sorted(services & KEPT_BY_THE_STAGE.keys()):
            begins = KEPT_BY_THE_STAGE[service].format(stage=stage)
            if own := [resource for resource in statement.resources if _reaches(resource, service, begins)]:
                faults.append(
                    f"policy may not allow {service} actions on {own[0]}: that includes what the chat itself keeps in "
                    f"{begins}*. Name your own resources."
                )
    return faults


def _reaches(resource: str, service: str, begins: str) -> bool:
    """Whether an ARN, which may have wildcards, includes a resource of `service` whose name begins with `begins`."""
    if resource == "*":
        return True
    of_service, name = resource.split(":", 5)[2], resource.split(":", 5)[5]
    if of_service != service:
        return False
    fixed = re.split(r"[*?]", name)[0]
    return name.startswith(begins) or (fixed != name and begins.startswith(fixed))


# Settings that come from resources or have an option of their own.
SET_BY_THE_STACK = frozenset(
    {
        "auth_audience",
        "auth_client_id",
        "auth_issuer",
        "auth_resource",
        "auth_sign_in_url",
        "auth_public_keys",
        "bucket",
        "claims",
        "cors_origins",
        "demo_model",
        "guest_secret",
    }
    | {
        "guest_messages_per_day",
        "guest_tokens_percent",
        "model_key_parameter",
        "models",
        "origin_secrets",
        "origin_signed",
        "retention_days",
        "secrets",
        "store",
        "table",
    }
    | {"token_header", *options_of(QuotaConfig)}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedZoneConfig:
    """A Route 53 zone in which the certificate is proven and the name is entered."""

    id: str = option(matching(r"Z[A-Z0-9]{5,31}", example="Z0123456789ABC"), "The zone's id.", takes="text")
    name: str = option(_HOST, "The zone's name.", takes="host name")


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainConfig:
    """A name of your own for CloudFront: with a zone, we make certificate and records; else name a certificate."""

    name: str = option(_HOST, "The name under which the chat answers.", takes="host name")
    hosted_zone: HostedZoneConfig | None = option(
        optional(object_of(HostedZoneConfig)), "Route 53 zone of that name.", takes="object or null", default=None
    )
    certificate_arn: str | None = option(
        optional(matching(r"arn:aws:acm:us-east-1:\d{12}:certificate/\S+", example="arn:aws:acm:us-east-1:...")),
        "Certificate of that name where there is no zone; CloudFront takes those of us-east-1 only.",
        takes="ARN or null",
        default=None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """Places in a network of yours, which the subnets name."""

    subnets: tuple[str, ...] = option(
        list_of(_SUBNET, at_least=1, at_most=16), "With a way out to the model and to AWS.", takes="list of ids"
    )
    security_groups: tuple[str, ...] = option(
        list_of(_GROUP, at_least=1, at_most=5), "What may be reached.", takes="list of ids"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedInstancesConfig(NetworkConfig):
    """Lambda on EC2 instances that AWS runs in your account: several turns at a time in each environment."""

    instance_types: tuple[str, ...] = option(
        list_of(matching(r"[a-z0-9-]+\.[a-z0-9]+", example="m8g.large"), at_most=10),
        "Which instances may be started; none leaves the choice to Lambda.",
        takes="list of types",
        default=(),
    )
    concurrency: int = option(
        whole(1, 64, "turns"), "Turns at a time in one environment; they share its loop.", takes="1-64", default=10
    )
    max_vcpus: int = option(
        whole(2, 15_000, "vCPUs"), "At most so many vCPUs: the cap on what it can cost.", takes="2-15000", default=16
    )


_BEDROCK = re.compile(r"https://bedrock-mantle\.([a-z0-9-]+)\.api\.aws/")  # as lambda_src/models/providers.py knows it


def bedrock_region(settings: Iterable[tuple[str, str]]) -> str | None:
    """Where Amazon Bedrock answers, if a stage's settings name its endpoint as `model_base_url`."""
    found = _BEDROCK.match(dict(settings).get("model_base_url", ""))
    return found[1] if found else None
