"""The function's settings, parsed once from the environment variables that begin with CHAT_. Knows no AWS.

Every variable that the stack sets is a field here, and every field is set by the stack or documented:
tests/agreements/test_infra_and_function.py checks both.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, Self, get_args

from lambda_src import json_settings
from lambda_src.errors import SettingsError
from lambda_src.json_settings import (
    GuestQuotaSettings,
    OperatorSettings,
    PageSettings,
    QuotaSettings,
    bounds_problem,
    suggestion,
)
from lambda_src.startup.flags import OPTIMIZATIONS, VARIABLE, switched_off

ModelApi = Literal["responses", "chat_completions"]
ModelFile = Literal["image", "pdf"]
StoreKind = Literal["dynamodb", "postgres", "memory"]
ToolActivityMode = Literal["off", "names", "full"]

PREFIX = "CHAT_"
RUNTIME_PREFIX = "CHAT_RUNTIME_"  # for the runtime, which reads them itself: runtime/environment.py
MAX_BODY_BYTES = 1_000_000  # a message is text; files travel to S3, not through us (Lambda itself takes 6 MB)
HISTORY_ITEMS = 40  # the newest items of a thread that are sent to the model
HISTORY_TOKENS = 60_000  # under half of the smallest window of today's models (128,000): the answer needs room too
MESSAGE_CHARS = 32_000  # of one message: some 15 pages; longer texts are files
MAX_IMAGE_BYTES = 10_000_000  # vision models take 20 MB in base64, which adds a third
MAX_FILE_BYTES = 20_000_000  # OpenAI takes PDFs of 32 MB in base64


# Parsers: each takes the text of a variable and returns its value, or raises ValueError with the end of a sentence
# that begins with the variable's name.


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty")
    return value


def _matching(pattern: str, kind: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"must be {kind}, and is {value!r}")
        return value

    return parse


_https_url = _matching(r"https://\S*", "an https:// URL")


def _public_keys(value: str) -> tuple[Mapping[str, Any], ...]:
    try:
        keys = json.loads(value)
    except ValueError:
        raise ValueError("must be JSON: a list of JWKs") from None
    if not isinstance(keys, list) or not keys or not all(isinstance(key, dict) for key in keys):
        raise ValueError("must be a list of at least one JWK")
    if any("d" in key or key.get("kty") == "oct" for key in keys):
        raise ValueError("holds a private key: keep that one secret, and set its public half")
    return tuple(keys)


def _names(value: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in value.split(","))
    if not all(parts):
        raise ValueError("must be a list, separated by commas, without gaps")
    return parts


def _list_of(pattern: str, kinds: str) -> Callable[[str], tuple[str, ...]]:
    def parse(value: str) -> tuple[str, ...]:
        names = _names(value)
        for name in names:
            if not re.fullmatch(pattern, name, re.ASCII):
                raise ValueError(f"must list {kinds}, and holds {name!r}")
        return names

    return parse


_origins = _list_of(
    r"(https://([a-z0-9.-]+|\[::1\])|http://(localhost|127\.0\.0\.1|\[::1\]))(:[1-9]\d{0,4})?",
    "exact origins such as https://www.example.com (https, or http on localhost; no path, no *, not null)",
)
_domains = _list_of(
    r"(\*\.)?([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]",
    "domains such as images.example.com or *.example.com (lower case; no scheme, port or path)",
)


def _whole(least: int, most: int | None = None) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if (problem := bounds_problem(int(value) if value.isdecimal() else value, least, most)) is not None:
            raise ValueError(problem)
        return int(value)

    return parse


def _choice(*choices: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in choices:
            raise ValueError(f"must be {' or '.join(choices)}, and is {value!r}")
        return value

    return parse


def _flag(value: str) -> bool:
    if value not in ("true", "false"):
        raise ValueError(f"must be true or false, and is {value!r}")
    return value == "true"


def _optimizations_off(value: str) -> tuple[str, ...]:
    switched = switched_off({VARIABLE: value})
    if unknown := sorted(switched - set(OPTIMIZATIONS)):
        raise ValueError(f"names {', '.join(unknown)}; known are {', '.join(OPTIMIZATIONS)}")
    return tuple(sorted(switched))


def _model_files(value: str) -> tuple[ModelFile, ...]:
    names = () if value == "none" else _names(value)
    kinds: tuple[ModelFile, ...] = get_args(ModelFile)
    if not set(names) <= set(kinds):
        raise ValueError(f"must be none, image, pdf or image,pdf, and is {value!r}")
    return tuple(kind for kind in kinds if kind in names)


def _setting(parse: Callable[[str], Any], doc: str, *, default: Any = MISSING) -> Any:  # noqa: ANN401 - dataclass field
    return field(default=default, metadata={"parse": parse, "doc": doc})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one deployment. A field's variable is `CHAT_` and its name in capitals."""

    table: str | None = _setting(_text, "Name of the DynamoDB table. Required with CHAT_STORE=dynamodb.", default=None)
    bucket: str | None = _setting(
        _text, "Name of the S3 bucket for attachments and for items that are too large for the table.", default=None
    )
    store: StoreKind = _setting(  # noqa: RUF009 - it makes a dataclass field
        _choice(*get_args(StoreKind)),
        "Where threads are stored: dynamodb, postgres (only outside Lambda), or memory (lost when the process ends).",
        default="dynamodb",
    )
    database_url: str | None = _setting(
        _text,
        "URL of the PostgreSQL database, as postgresql://user@host/db. Required with CHAT_STORE=postgres.",
        default=None,
    )
    retention_days: int = _setting(_whole(0), "Days after which threads are deleted; 0 keeps them forever.", default=0)
    auth_issuer: str | None = _setting(
        _https_url, "Issuer of the access tokens, exactly as in their `iss`: docs/how-to/auth.md.", default=None
    )
    auth_audience: str | None = _setting(
        _text, "The `aud` (for Cognito: `client_id`) that every token must have.", default=None
    )
    auth_public_keys: tuple[Mapping[str, Any], ...] | None = _setting(
        _public_keys,
        "JSON list of public keys (JWKs), if your own backend signs the tokens: docs/how-to/backend-tokens.md.",
        default=None,
    )
    auth_client_id: str | None = _setting(
        _text,
        "Client id of our page at the issuer (a public OAuth client with PKCE), so that people can sign in there.",
        default=None,
    )
    auth_resource: str | None = _setting(
        _matching(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s#]+", "an absolute URI without a fragment"),
        "Resource indicator (RFC 8707) that our page sends to the issuer. If unset, the page sends the audience "
        "instead.",
        default=None,
    )
    auth_scope: str = _setting(_text, "OAuth scopes that our page requests, separated by spaces.", default="openid")
    auth_sign_in_url: str | None = _setting(
        _https_url,
        (
            "Any URL on the host of the issuer's token endpoint, if that is not the host of the issuer itself (as with "
            "Cognito)."
        ),
        default=None,
    )
    claims: tuple[str, ...] = _setting(
        _names,
        "Token claims that tools may read as `context.user.claims`, such as plan,org: docs/how-to/who-is-asking.md.",
        default=(),
    )
    operators: OperatorSettings | None = _setting(  # noqa: RUF009 - it makes a dataclass field
        json_settings.operators,
        "Which users are operators (people who answer when the assistant cannot). JSON, such as "
        '`{"claim": "groups", "value": "support"}`. If unset, there are no operators: docs/how-to/operators.md.',
        default=None,
    )
    events_topic: str | None = _setting(
        _matching(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_.-]+", "the ARN of an SNS topic"),
        "ARN of an SNS topic, which gets an event when a thread needs an operator: docs/how-to/operators.md.",
        default=None,
    )
    domain_key: str | None = _setting(
        _text,
        "OpenAI's domain key for the page. If unset, the page uses our own client: docs/reference/page.md.",
        default=None,
    )
    page: PageSettings = _setting(  # noqa: RUF009 - it makes a dataclass field
        json_settings.page,
        'Title, colors and other options of the page. JSON, such as `{"title": "Shop help"}`, with the options of '
        "`page` in docs/reference/configuration.md.",
        default=PageSettings(),
    )
    guest_secret: str | None = _setting(
        _text,
        "Name of the SSM parameter, or ARN of the secret, with the key that signs guest tokens. If unset, there are no "
        "guests: docs/how-to/guests.md.",
        default=None,
    )
    token_header: str = _setting(
        _matching(r"[a-z][a-z0-9-]*", "a header's name in lower case"),
        "Header with the access token. Change it if a proxy uses Authorization for itself.",
        default="authorization",
    )
    origin_secrets: tuple[str, ...] | None = _setting(
        _names,
        "ARNs of the secrets with which CloudFront proves each request. If unset, requests need no such proof.",
        default=None,
    )
    origin_signed: bool = _setting(
        _flag,
        (
            "true or false: whether only CloudFront can call the function, with signed requests. If true, the function "
            "trusts the viewer's address that CloudFront sends."
        ),
        default=False,
    )
    cors_origins: tuple[str, ...] | None = _setting(
        _origins,
        "Origins of other sites whose pages may send requests and show our page in a frame: docs/how-to/embed.md.",
        default=None,
    )
    cors_at_url: bool = _setting(
        _flag,
        "true or false: whether the function URL already answers CORS. If true, the app does not add CORS headers.",
        default=False,
    )
    tracing: Literal["xray"] | None = _setting(
        _choice("xray"),
        "xray: report each request that Lambda samples to X-Ray. If unset, nothing is traced: docs/how-to/tracing.md.",
        default=None,
    )
    quotas: QuotaSettings = _setting(  # noqa: RUF009 - it makes a dataclass field
        json_settings.quotas(QuotaSettings),
        'Limits on usage. JSON, such as `{"messages_per_day": 100}`, with the options of `quotas` in '
        "docs/reference/configuration.md.",
        default=QuotaSettings(),
    )
    guest_quotas: GuestQuotaSettings = _setting(  # noqa: RUF009 - as above
        json_settings.quotas(GuestQuotaSettings),
        'Limits for guests. JSON, such as `{"messages_per_day": 20}`, with the options of `auth.guest` in '
        "docs/reference/configuration.md.",
        default=GuestQuotaSettings(),
    )
    model_key_parameter: str | None = _setting(
        _text,
        "Name of the SSM parameter (SecureString) with the model's API key. You may create the parameter later.",
        default=None,
    )
    secrets: tuple[str, ...] = _setting(
        _names, "Names of SSM parameters (SecureString) that your tools may read: docs/how-to/secrets.md.", default=()
    )
    demo_model: bool = _setting(
        _flag,
        "true or false: whether the demo model answers while there is no model key. If false, messages are refused.",
        default=True,
    )
    model_base_url: str | None = _setting(
        _https_url, "Base URL of an OpenAI-compatible API, instead of OpenAI's: docs/how-to/models.md.", default=None
    )
    model_api: ModelApi = _setting(  # noqa: RUF009 - it makes a dataclass field
        _choice(*get_args(ModelApi)),
        "Which of OpenAI's two APIs the model's endpoint supports: responses or chat_completions.",
        default="responses",
    )
    model_privacy: bool | None = _setting(
        _flag,
        (
            "true or false: whether to ask the vendor not to store requests, and to send it a hash of the user's id. "
            "If unset, this is done for OpenAI only: docs/explanation/privacy.md."
        ),
        default=None,
    )
    models: tuple[str, ...] = _setting(
        _names,
        "Models that users may choose, the default first. If unset, the code in `lambda_src/agent/` chooses the model.",
        default=(),
    )
    tool_choices: tuple[str, ...] = _setting(
        _names, "Tools that users may select for a message: docs/how-to/tool-choices.md.", default=()
    )
    tool_activity: ToolActivityMode = _setting(  # noqa: RUF009 - it makes a dataclass field
        _choice(*get_args(ToolActivityMode)),
        "What users see of tool calls: names (a title for each), full (arguments and results too), or off (nothing).",
        default="names",
    )
    titles: bool = _setting(
        _flag,
        (
            "true or false: whether the model suggests the title of each new thread, with one more call. If false, the "
            "title is the first words of the thread."
        ),
        default=True,
    )
    model_files: tuple[ModelFile, ...] = _setting(
        _model_files,
        "Kinds of files that the model accepts: image,pdf, image, pdf or none. For other files, it gets a note "
        "instead.",
        default=get_args(ModelFile),
    )
    dictation_model: str | None = _setting(
        _text,
        "Model that transcribes dictation, such as gpt-transcribe. If unset, dictation is not offered: "
        "docs/how-to/dictation.md.",
        default=None,
    )
    usage: bool = _setting(
        _flag,
        "true or false: whether to count tokens and turns by day, assistant, model and release: "
        "docs/reference/usage.md.",
        default=False,
    )
    max_body_bytes: int = _setting(_whole(1), "Maximum size of a request body in bytes.", default=MAX_BODY_BYTES)
    message_chars: int = _setting(
        _whole(1),
        (
            "Maximum number of characters in a message, a form's answers, an action or a client tool's result. Longer "
            "ones get a 413."
        ),
        default=MESSAGE_CHARS,
    )
    history_items: int = _setting(
        _whole(1, 100),
        "How many of a thread's newest items are sent to the model, at most 100.",
        default=HISTORY_ITEMS,
    )
    history_tokens: int = _setting(
        _whole(1),
        "About how many tokens of a thread are sent to the model. The oldest items are left out first.",
        default=HISTORY_TOKENS,
    )
    max_file_bytes: int = _setting(
        _whole(1),
        (
            "Maximum size of an attached file in bytes; images may have at most 10 MB. Above 30 MB, raise memory_mb "
            "too: docs/reference/attachments.md."
        ),
        default=MAX_FILE_BYTES,
    )
    allowed_image_domains: tuple[str, ...] = _setting(
        _domains,
        "Domains from which our page may load images. Images from other domains are shown as links.",
        default=(),
    )
    optimizations_off: tuple[str, ...] | None = _setting(
        _optimizations_off,
        "Optimizations to turn off, for example because an SDK update breaks one: docs/explanation/speed.md.",
        default=None,
    )

    @property
    def counts_usage(self) -> bool:
        """Whether tokens and turns are counted for `chat usage`: also for a stage with operators."""
        return self.usage or (self.operators is not None and self.store == "dynamodb")

    @classmethod
    def from_env(cls, env: Mapping[str, str], *, label: Callable[[str], str] = str) -> Self:
        """Settings from `env`. Raises one SettingsError that lists every missing, malformed and unknown variable.

        `label` returns what an error calls a variable, for readers who set it under another name.
        """
        parsed: dict[str, Any] = {}
        faults: list[str] = []
        names = {PREFIX + f.name.upper(): f for f in fields(cls)}
        for name, setting in names.items():
            if name in env:
                try:
                    parsed[setting.name] = setting.metadata["parse"](env[name])
                except ValueError as fault:
                    faults.append(f"{label(name)} {fault}.")
            elif setting.default is MISSING:
                faults.append(f"{label(name)} is missing: {setting.metadata['doc']}")
        faults += [
            f"{label(name)} is not a setting; {suggestion(name, tuple(names), label)}."
            for name in env
            if name.startswith(PREFIX) and not name.startswith(RUNTIME_PREFIX) and name not in names
        ]
        faults += cls._missing_for(parsed.get("store", "dynamodb"), env)
        faults += cls._missing_to_sign_in(env)
        if faults:
            raise SettingsError(faults)
        return cls(**parsed)

    @staticmethod
    def _missing_to_sign_in(env: Mapping[str, str]) -> list[str]:
        """What is missing for anyone to sign in: a stage must neither lock everybody out nor let everybody in."""
        authenticators = [
            name for name in ("CHAT_AUTH_ISSUER", "CHAT_AUTH_PUBLIC_KEYS", "CHAT_GUEST_SECRET") if name in env
        ]
        faults = []
        if not authenticators:
            faults.append(
                "CHAT_AUTH_ISSUER is missing: set it, CHAT_AUTH_PUBLIC_KEYS or CHAT_GUEST_SECRET: docs/how-to/auth.md."
            )
        if "CHAT_AUTH_AUDIENCE" not in env and authenticators != ["CHAT_GUEST_SECRET"]:
            faults.append(
                "CHAT_AUTH_AUDIENCE is missing: the `aud` (for Cognito: `client_id`) that every token must have."
            )
        return faults

    @staticmethod
    def _missing_for(store: StoreKind, env: Mapping[str, str]) -> list[str]:
        """What the store requires and `env` lacks."""
        needed = {"dynamodb": "CHAT_TABLE", "postgres": "CHAT_DATABASE_URL", "memory": None}[store]
        faults = []
        if needed is not None and needed not in env:
            faults.append(f"{needed} is missing: CHAT_STORE={store} needs it.")
        if store == "postgres" and env.get("CHAT_USAGE") == "true":
            faults.append("CHAT_USAGE=true needs CHAT_STORE=dynamodb: usage is counted on the table.")
        return faults
