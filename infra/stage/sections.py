"""The objects inside a stage of cdk.json, one dataclass each: authentication, quotas, domain, network and more.

Knows no stage and no AWS. infra/stage/parsers.py parses each value; infra/stage/schema.py is the stage itself.
"""

# ruff: noqa: RUF009 - option() is dataclasses.field(), which ruff does not see through

import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from infra.errors import ConfigError
from infra.stage.parsers import (
    accent,
    assistant_name,
    flag,
    issuer,
    language,
    list_of,
    matching,
    object_of,
    option,
    optional,
    picture,
    public_key,
    text,
    whole,
    words,
)

TOKENS = (1, 10**9)
MAX_PROMPTS = 6  # more would not fit on a phone

_SUBNET = matching(r"subnet-[0-9a-f]{8,17}", example="subnet-0a1b2c3d")
_GROUP = matching(r"sg-[0-9a-f]{8,17}", example="sg-0a1b2c3d")
_HTTPS = matching(r"https://[^\s/]+(/\S*)?", example="https://my-chat.auth.eu-central-1.amazoncognito.com")
_HOST = matching(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}", example="chat.example.com")


@dataclass(frozen=True, slots=True, kw_only=True)
class CognitoConfig:
    """A Cognito user pool in the data stack. Deleting the pool makes every user's threads unreachable."""

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
        "URLs that the sign-in page may redirect to.",
        takes="list of URLs",
    )
    self_sign_up: bool = option(
        flag,
        "Whether anyone may create an account. If false, you create the accounts.",
        takes="true or false",
        default=False,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestConfig:
    """Guests can use the chat without signing in. Each gets a token from the function, and small quotas."""

    messages_per_day: int = option(
        whole(1, 10_000, "messages"), "Messages per guest and UTC day.", takes="1-10000", default=20
    )
    tokens_percent: int = option(
        whole(1, 100, "percent"),
        "Percentage of `quotas.stage_tokens_per_day` that all guests together may use. It is 100 if nobody can sign "
        "in.",
        takes="1-100",
        default=25,
    )
    turn_tokens: int = option(
        whole(64, 1_000_000, "tokens"),
        "Size of a guest's turn. A message has at most this many characters, the model sees at most this many tokens "
        "of the thread, and each of its answers has at most a quarter as many tokens.",
        takes="64-1000000",
        default=8_000,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthConfig:
    """Who may use the chat: users of an OpenID issuer, of your own backend, of a Cognito pool, or guests.

    You may combine these, except `cognito` with `issuer` or `public_keys`. A stage without any of them is rejected,
    because anyone who finds the URL could spend your model key: docs/how-to/auth.md.
    """

    issuer: str | None = option(
        optional(issuer),
        "OpenID issuer of the access tokens, exactly as in their `iss`.",
        takes="https URL or null",
        default=None,
    )
    audience: str | None = option(
        optional(text),
        "The `aud` (for Cognito: `client_id`) that every token must have.",
        takes="text or null; with issuer or public_keys",
        default=None,
    )
    public_keys: tuple[str, ...] = option(
        list_of(public_key, at_most=10),
        "Public keys (JWKs) of your own backend, if it signs the tokens: docs/how-to/backend-tokens.md.",
        takes="list of JWKs",
        default=(),
    )
    client_id: str | None = option(
        optional(text),
        "Client id of our page at the issuer (a public OAuth client with PKCE), so that people can sign in there.",
        takes="text or null; with issuer",
        default=None,
    )
    sign_in_url: str | None = option(
        optional(_HTTPS),
        "Any URL on the host of the issuer's token endpoint, if that is not the host of the issuer itself.",
        takes="https URL or null; with client_id",
        default=None,
    )
    cognito: CognitoConfig | None = option(
        optional(object_of(CognitoConfig)),
        "A Cognito user pool that the stage creates.",
        takes="object or null",
        default=None,
    )
    guest: GuestConfig | None = option(
        optional(object_of(GuestConfig)),
        "Access without signing in: docs/how-to/guests.md.",
        takes="object or null",
        default=None,
    )


def auth(value: object) -> AuthConfig:
    """The parsed `auth` object; ConfigError also if no authenticator is set, or if two exclude each other."""
    faults = (
        _violated_rules({name for name, chosen in value.items() if chosen or chosen == {}})
        if isinstance(value, Mapping)
        else []
    )
    try:
        parsed: AuthConfig = object_of(AuthConfig)(value)  # type: ignore[assignment] # parsers return object
    except ConfigError as error:
        raise ConfigError([*error.faults, *faults]) from None
    if faults:
        raise ConfigError(faults)
    return parsed


def _violated_rules(given: Set[object]) -> list[str]:
    signed = bool(given & {"issuer", "public_keys"})
    faults = {
        "issuer, public_keys, cognito or guest is missing: one of them must name the accepted callers.": not given
        & {"issuer", "public_keys", "cognito", "guest"},
        "audience is missing: the `aud` (for Cognito: `client_id`) that every token must have.": signed
        and "audience" not in given,
        "audience has no effect without issuer or public_keys.": not signed and "audience" in given,
        "client_id has no effect without issuer; cognito creates its own.": "client_id" in given
        and "issuer" not in given,
        "sign_in_url has no effect without client_id; cognito sets its own.": "sign_in_url" in given
        and "client_id" not in given,
        "cognito is itself an issuer: use either cognito, or issuer and public_keys.": signed and "cognito" in given,
    }
    return [sentence for sentence, applies in faults.items() if applies]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaConfig:
    """Limits on usage: docs/reference/limits.md. With null, there is no limit."""

    messages_per_minute: int | None = option(
        optional(whole(1, 1000, "messages")), "Messages per user and minute.", takes="1-1000 or null", default=None
    )
    messages_per_day: int | None = option(
        optional(whole(1, 100_000, "messages")),
        "Messages per user and UTC day.",
        takes="1-100000 or null",
        default=None,
    )
    running_turns: int | None = option(
        optional(whole(1, 100, "turns")),
        "Turns that one user may have running at the same time.",
        takes="1-100 or null",
        default=None,
    )
    tokens_per_day: int | None = option(
        optional(whole(*TOKENS, "tokens")), "Tokens per user and UTC day.", takes="number or null", default=None
    )
    stage_tokens_per_day: int | None = option(
        optional(whole(*TOKENS, "tokens")),
        "Tokens per UTC day for all users together: the limit on what a day can cost.",
        takes="number or null",
        default=None,
    )
    files_per_day: int | None = option(
        optional(whole(1, 10_000, "files")),
        "Files that one user may upload per UTC day.",
        takes="1-10000 or null",
        default=None,
    )
    file_bytes_per_day: int | None = option(
        optional(whole(1, 10**12, "bytes")),
        "Total bytes that one user may upload per UTC day.",
        takes="number or null",
        default=None,
    )
    max_output_tokens: int | None = option(
        optional(whole(16, 1_000_000, "tokens")),
        "Maximum tokens in one response of the model.",
        takes="16-1000000 or null",
        default=None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptConfig:
    """A suggestion on the empty page of a new chat."""

    label: str = option(words(60), "Text of the button.", takes="text")
    prompt: str = option(words(200), "Message that the button sends.", takes="text")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageAssistantConfig:
    """An assistant that users may choose in the page: one of several in `AGENTS` of lambda_src/agent/."""

    name: str = option(
        assistant_name, 'Key of the assistant in `AGENTS`; `""` for the unnamed one.', takes="name or empty text"
    )
    label: str = option(words(60), "What the page calls it.", takes="text")
    greeting: str | None = option(
        optional(words(120)),
        "Heading of a new chat with this assistant. null means the page's `greeting`.",
        takes="text or null",
        default=None,
    )
    prompts: tuple[PromptConfig, ...] | None = option(
        optional(list_of(object_of(PromptConfig), at_most=MAX_PROMPTS)),
        "Suggestions below that greeting. null means the page's `prompts`.",
        takes="list of objects, at most 6, or null",
        default=None,
    )
    models: tuple[str, ...] | None = option(
        optional(list_of(text, at_most=20)),
        "Models that users may choose. Allowed only if `AGENTS` lists `models` for this assistant.",
        takes="list of names or null",
        default=None,
    )
    tool_choices: tuple[str, ...] | None = option(
        optional(list_of(text, at_most=50)),
        "Tools that users may choose. Allowed only if `AGENTS` lists `tool_choices` for this assistant.",
        takes="list of names or null",
        default=None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelConfig:
    """What the page calls a model or a tool that users may choose."""

    name: str = option(words(200), "Name of a model in `models`, or of a tool in `tool_choices`.", takes="text")
    label: str = option(words(60), "What the page calls it.", takes="text")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageConfig:
    """How the chat page looks and what it offers, in our own client and in OpenAI's component."""

    title: str | None = option(
        optional(words(60)),
        "Name of the chat, in the page and in the browser's tab. null means \"Chat\" in the user's language.",
        takes="text or null",
        default=None,
    )
    greeting: str | None = option(
        optional(words(120)),
        'Heading of a new chat. null means "What can I help with?" in the user\'s language.',
        takes="text or null",
        default=None,
    )
    prompts: tuple[PromptConfig, ...] = option(
        list_of(object_of(PromptConfig), at_most=MAX_PROMPTS),
        "Suggestions below the greeting.",
        takes="list of objects, at most 6",
        default=(),
    )
    assistants: tuple[PageAssistantConfig, ...] = option(
        list_of(object_of(PageAssistantConfig), at_most=20),
        "Assistants that users may choose, the default first. If empty, the page offers only the unnamed one.",
        takes="list of objects, at most 20",
        default=(),
    )
    labels: tuple[LabelConfig, ...] = option(
        list_of(object_of(LabelConfig), at_most=50),
        "What the page calls the models and tools that users may choose.",
        takes="list of objects, at most 50",
        default=(),
    )
    accent: str | None = option(
        optional(accent),
        "Color of buttons and links. In dark mode, it is lightened.",
        takes="#rrggbb or null",
        default=None,
    )
    logo: str | None = option(
        optional(picture),
        "Name of a PNG, JPEG, WebP or SVG file in `lambda_src/agent/`, which is also the tab's icon.",
        takes="file name or null",
        default=None,
    )
    disclaimer: str | None = option(
        optional(words(200)), "Sentence below the message box.", takes="text or null", default=None
    )
    privacy_url: str | None = option(
        optional(_HTTPS),
        "Address of your privacy policy, linked below the message box.",
        takes="URL or null",
        default=None,
    )
    languages: tuple[str, ...] = option(
        list_of(language, at_most=50),
        "Languages of the page and of the server's messages. Users who read none of them get the first. If empty, all "
        "languages that have a table are offered, with English as the first: docs/how-to/languages.md.",
        takes="list of languages, such as en and de",
        default=(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    """An IAM statement for the function's role, which allows your tools to use AWS."""

    actions: tuple[str, ...] = option(
        list_of(
            matching(r"[a-z][a-z0-9-]*:([A-Za-z0-9]+\*?|\*)", example="dynamodb:GetItem (a * only at the end)"),
            at_least=1,
            at_most=50,
        ),
        "Allowed actions. Those of iam and sts are refused.",
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
        'Resources that the actions apply to. `"*"` is allowed only if no action contains a *.',
        takes="list of ARNs",
    )


# The prefix of the names of the stage's own resources, by the service in their ARN.
KEPT_BY_THE_STAGE = {
    "dynamodb": "table/chatkit-{stage}-data-",
    "s3": "chatkit-{stage}-data-",
    "ssm": "parameter/chatkit/{stage}/",
}


def policy_faults(statements: Iterable[PolicyConfig], *, stage: str) -> list[str]:
    """A sentence for each statement that allows too much, beginning with the option."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorsConfig:
    """Operators are people who answer when the assistant cannot: docs/how-to/operators.md.

    If an issuer signs the token of an operator, the token must have the `value` in the `claim`. If your own backend
    signs it, the token must have `"role": "operator"`.
    """

    claim: str | None = option(
        optional(matching(r"\S{1,200}", example="groups")),
        "Claim of the issuer's tokens that makes a user an operator. With null, only tokens of your own backend do.",
        takes="name or null; with value",
        default=None,
    )
    value: str | None = option(
        optional(words(200)),
        "Value that the claim must have, or must contain if it is a list.",
        takes="text or null; with claim",
        default=None,
    )
    assistants: tuple[str, ...] = option(
        list_of(matching(r"([a-z][a-z0-9-]{0,30})?", example='"sales", or ""'), at_least=1, at_most=20),
        'Assistants at which operators can answer. `""` is the assistant without a name.',
        takes="list of names",
        default=("",),
    )
    handoff_wait_minutes: int = option(
        whole(1, 1440, "minutes"),
        "Minutes that a user waits for a person before `unanswered_message` is sent and the alarm `handoffs` goes off.",
        takes="1-1440",
        default=5,
    )
    unanswered_message: str = option(
        words(500),
        "Message to a user whom nobody has answered by then.",
        takes="text",
        default="Nobody is available at the moment. Your request stays open, and somebody will answer here.",
    )


# Settings that come from resources or have an option of their own.
SET_BY_THE_STACK = frozenset(
    {
        "auth_audience",
        "auth_client_id",
        "auth_issuer",
        "auth_sign_in_url",
        "auth_public_keys",
        "bucket",
        "claims",
        "cors_at_url",
        "cors_origins",
        "demo_model",
        "events_topic",
        "guest_quotas",
        "guest_secret",
        "model_key_parameter",
        "models",
        "operators",
        "origin_secrets",
        "origin_signed",
        "page",
        "quotas",
        "retention_days",
        "secrets",
        "store",
        "table",
        "token_header",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainConfig:
    """Your own domain name, on CloudFront.

    If Route 53 hosts your zone, `make deploy` creates the certificate and the DNS records. Otherwise, create a
    certificate and set its ARN: docs/how-to/own-domain.md.
    """

    name: str = option(_HOST, "Host name of the chat.", takes="host name")
    hosted_zone_id: str | None = option(
        optional(matching(r"Z[A-Z0-9]{5,31}", example="Z0123456789ABC")),
        "Id of the Route 53 hosted zone that gets the name's DNS records and its certificate's validation records.",
        takes="id or null",
        default=None,
    )
    certificate_arn: str | None = option(
        optional(matching(r"arn:aws:acm:us-east-1:\d{12}:certificate/\S+", example="arn:aws:acm:us-east-1:...")),
        "ARN of a certificate for that name, if there is no hosted zone. CloudFront requires it to be in us-east-1.",
        takes="ARN or null",
        default=None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """The part of your VPC in which the function or its Managed Instances run: docs/how-to/vpc.md."""

    subnets: tuple[str, ...] = option(
        list_of(_SUBNET, at_least=1, at_most=16), "Subnets with a route to the model and to AWS.", takes="list of ids"
    )
    security_groups: tuple[str, ...] = option(
        list_of(_GROUP, at_least=1, at_most=5), "Security groups of the function or the instances.", takes="list of ids"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedInstancesConfig:
    """EC2 instances in your account that Lambda manages. Each process on them runs several turns at the same time.

    The instances run in the stage's `vpc`, which is then required.
    """

    instance_types: tuple[str, ...] = option(
        list_of(matching(r"[a-z0-9-]+\.[a-z0-9]+", example="m8g.large"), at_most=10),
        "Instance types that Lambda may start. If empty, Lambda chooses.",
        takes="list of types",
        default=(),
    )
    concurrency: int = option(
        whole(1, 64, "turns"),
        "Number of turns that run at the same time in one process. They share its CPU.",
        takes="1-64",
        default=10,
    )
    max_vcpus: int = option(
        whole(2, 15_000, "vCPUs"), "Maximum number of vCPUs, which limits the cost.", takes="2-15000", default=16
    )


_BEDROCK = re.compile(r"https://bedrock-mantle\.([a-z0-9-]+)\.api\.aws/")  # as lambda_src/models/providers.py knows it


def bedrock_region(settings: Iterable[tuple[str, str]]) -> str | None:
    """The region of the Amazon Bedrock endpoint in the setting `model_base_url`; None for any other endpoint."""
    match = _BEDROCK.match(dict(settings).get("model_base_url", ""))
    return match[1] if match else None
