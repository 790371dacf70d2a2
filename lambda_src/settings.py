"""The function's settings, parsed once from the environment variables that begin with CHAT_. Knows no AWS.

Every variable that the stack sets is a field here, and every field is set by the stack or documented:
tests/agreements/test_infra_and_function.py checks both.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, Self

from lambda_src.errors import SettingsError
from lambda_src.startup.flags import OPTIMIZATIONS, VARIABLE, switched_off

ModelApi = Literal["responses", "chat_completions"]
StoreKind = Literal["dynamodb", "postgres", "memory"]

PREFIX = "CHAT_"
RUNTIME_PREFIX = "CHAT_RUNTIME_"  # for the runtime, which reads them itself: runtime/environment.py
MAX_BODY_BYTES = 1_000_000  # a message is text; files travel to S3, not through us (Lambda itself takes 6 MB)
HISTORY_ITEMS = 40  # the newest items of a thread that are sent to the model
HISTORY_TOKENS = 60_000  # under half of the smallest window of today's models (128,000): the answer needs room too
MESSAGE_CHARS = 32_000  # of one message: some 15 pages; longer texts are files
GUEST_MESSAGE_CHARS, GUEST_HISTORY_TOKENS, GUEST_OUTPUT_TOKENS = 8_000, 8_000, 2_000  # a page or two each
MAX_IMAGE_BYTES = 10_000_000  # vision models take 20 MB in base64, which adds a third
MAX_FILE_BYTES = 20_000_000  # OpenAI takes PDFs of 32 MB in base64


def _suggestion(name: str, names: tuple[str, ...], label: Callable[[str], str]) -> str:
    """The end of a sentence about an unknown name: the setting that was probably meant, or all settings."""
    import difflib  # noqa: PLC0415 - only needed for an error, so not on the cold path

    near = difflib.get_close_matches(name, names, n=1, cutoff=0.8)
    return f"did you mean {label(near[0])}" if near else f"known are {', '.join(map(label, names))}"


# Parsers: each takes the text of a variable and returns its value, or raises ValueError with the end of a sentence
# that begins with the variable's name.


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty")
    return value


def _https_url(value: str) -> str:
    if not value.startswith("https://") or any(c.isspace() for c in value):
        raise ValueError(f"must be an https:// URL, and is {value!r}")
    return value


def _resource(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s#]+", value, re.ASCII):
        raise ValueError(f"must be an absolute URI without a fragment, and is {value!r}")
    return value


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


def _header_name(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9-]*", value, re.ASCII):
        raise ValueError(f"must be a header's name in lower case, and is {value!r}")
    return value


def _names(value: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in value.split(","))
    if not all(parts):
        raise ValueError("must be a list, separated by commas, without gaps")
    return parts


_ORIGIN = re.compile(r"(https://[a-z0-9.-]+|http://(localhost|127\.0\.0\.1|\[::1\]))(:[1-9]\d{0,4})?", re.ASCII)


def _origins(value: str) -> tuple[str, ...]:
    listed = _names(value)
    for origin in listed:
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(
                "must list exact origins such as https://www.example.com "
                f"(https, or http on localhost; no path, no *, not null), and holds {origin!r}"
            )
    return listed


_DOMAIN = re.compile(r"(\*\.)?([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]", re.ASCII)


def _domains(value: str) -> tuple[str, ...]:
    listed = _names(value)
    for domain in listed:
        if not _DOMAIN.fullmatch(domain):
            raise ValueError(
                "must list domains such as images.example.com or *.example.com "
                f"(lower case; no scheme, port or path), and holds {domain!r}"
            )
    return listed


def _tracing(value: str) -> Literal["xray"]:
    if value != "xray":
        raise ValueError(f"must be xray, and is {value!r}")
    return "xray"


def _to_a_hundred(value: str) -> int:
    if not value.isdecimal() or not 1 <= int(value) <= 100:
        raise ValueError(f"must be a whole number from 1 to 100, and is {value!r}")
    return int(value)


def _positive(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise ValueError(f"must be a whole number of at least 1, and is {value!r}")
    return int(value)


def _flag(value: str) -> bool:
    if value not in ("true", "false"):
        raise ValueError(f"must be true or false, and is {value!r}")
    return value == "true"


def _limit(value: str) -> int:
    if not value.isdecimal():
        raise ValueError(f"must be a whole number, 0 for no limit, and is {value!r}")
    return int(value)


def _days(value: str) -> int:
    if not value.isdecimal():
        raise ValueError(f"must be a whole number of days, 0 to keep for ever, and is {value!r}")
    return int(value)


def _store(value: str) -> StoreKind:
    match value:
        case "dynamodb" | "postgres" | "memory":
            return value
        case _:
            raise ValueError(f"must be dynamodb, postgres or memory, and is {value!r}")


def _optimizations_off(value: str) -> tuple[str, ...]:
    switched = switched_off({VARIABLE: value})
    if unknown := sorted(switched - set(OPTIMIZATIONS)):
        raise ValueError(f"names {', '.join(unknown)}; known are {', '.join(OPTIMIZATIONS)}")
    return tuple(sorted(switched))


def _model_api(value: str) -> ModelApi:
    match value:
        case "responses" | "chat_completions":
            return value
        case _:
            raise ValueError(f"must be responses or chat_completions, and is {value!r}")


def _setting(parse: Callable[[str], Any], doc: str, *, default: Any = MISSING) -> Any:  # noqa: ANN401 - dataclass field
    return field(default=default, metadata={"parse": parse, "doc": doc})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one deployment. A field's variable is `CHAT_` and its name in capitals."""

    table: str | None = _setting(_text, "Name of the DynamoDB table. Required with CHAT_STORE=dynamodb.", default=None)
    bucket: str | None = _setting(_text, "Name of the S3 bucket for attachments and large items.", default=None)
    store: StoreKind = _setting(  # noqa: RUF009 - it makes a dataclass field
        _store,
        "dynamodb, postgres (only outside Lambda), or memory (lost when the process ends).",
        default="dynamodb",
    )
    database_url: str | None = _setting(
        _text, "SQLAlchemy URL of the PostgreSQL database. Required with CHAT_STORE=postgres.", default=None
    )
    retention_days: int = _setting(_days, "Days after which threads are deleted; 0 keeps them forever.", default=0)
    auth_issuer: str | None = _setting(
        _https_url, "Issuer of the bearer tokens, exactly as in their `iss`: docs/auth.md.", default=None
    )
    auth_audience: str | None = _setting(
        _text, "The `aud` (for Cognito: `client_id`) that every token must have.", default=None
    )
    auth_public_keys: tuple[Mapping[str, Any], ...] | None = _setting(
        _public_keys, "JSON list of public JWKs, if your own backend signs the tokens.", default=None
    )
    auth_client_id: str | None = _setting(
        _text,
        "OAuth client of our page (public, PKCE, no secret), for signing in at the issuer.",
        default=None,
    )
    auth_resource: str | None = _setting(
        _resource,
        ("Resource indicator (RFC 8707) that our page sends to the issuer; without it the page sends the audience."),
        default=None,
    )
    auth_scope: str = _setting(_text, "OAuth scopes that our page requests, separated by spaces.", default="openid")
    auth_sign_in_url: str | None = _setting(
        _https_url,
        (
            "Any URL on the host of the issuer's token or revocation endpoint, "
            "if that is not the issuer's host (Cognito)."
        ),
        default=None,
    )
    claims: tuple[str, ...] = _setting(
        _names,
        "Token claims that tools may read as `context.user.claims`, such as plan,org: docs/auth.md.",
        default=(),
    )
    domain_key: str | None = _setting(
        _text,
        "OpenAI's domain key for the page; without it the page uses our own client: docs/frontend.md.",
        default=None,
    )
    guest_secret: str | None = _setting(
        _text,
        ("SSM parameter, or ARN of a secret, with the key that signs guest tokens; without it there are no guests."),
        default=None,
    )
    token_header: str = _setting(
        _header_name,
        "Header that carries the bearer token. Change it if a proxy uses Authorization for itself.",
        default="authorization",
    )
    origin_secrets: tuple[str, ...] | None = _setting(
        _names,
        "ARNs of the secrets that CloudFront sends with each request; without them any client may call.",
        default=None,
    )
    origin_signed: bool = _setting(
        _flag,
        (
            "true or false: only CloudFront can call the function, with signed requests, so its viewer address "
            "is trusted."
        ),
        default=False,
    )
    cors_origins: tuple[str, ...] | None = _setting(
        _origins, "Other origins whose pages may call, if no function URL answers CORS.", default=None
    )
    tracing: Literal["xray"] | None = _setting(
        _tracing,
        "xray writes a subsegment for each request that Lambda samples; unset, nothing is traced.",
        default=None,
    )
    messages_per_minute: int = _setting(_limit, "Messages per user and minute; 0 for no limit.", default=0)
    messages_per_day: int = _setting(_limit, "Messages per user and UTC day; 0 for no limit.", default=0)
    running_turns: int = _setting(
        _limit, "Turns that one user may have running at the same time; 0 for no limit.", default=0
    )
    tokens_per_day: int = _setting(_limit, "Tokens per user and UTC day; 0 for no limit.", default=0)
    stage_tokens_per_day: int = _setting(
        _limit, "Tokens per UTC day for all users together; 0 for no limit.", default=0
    )
    guest_messages_per_day: int = _setting(_limit, "Messages per guest and UTC day; 0 for no limit.", default=20)
    guest_tokens_percent: int = _setting(
        _to_a_hundred, "Percentage of CHAT_STAGE_TOKENS_PER_DAY that all guests together may use.", default=25
    )
    guest_message_chars: int = _setting(
        _positive, "CHAT_MESSAGE_CHARS for guests; the lower of the two applies.", default=GUEST_MESSAGE_CHARS
    )
    guest_history_tokens: int = _setting(
        _positive, "CHAT_HISTORY_TOKENS for guests; the lower of the two applies.", default=GUEST_HISTORY_TOKENS
    )
    guest_output_tokens: int = _setting(
        _positive, "CHAT_MAX_OUTPUT_TOKENS for guests; the lower of the two applies.", default=GUEST_OUTPUT_TOKENS
    )
    files_per_day: int = _setting(_limit, "Files that one user may upload per UTC day; 0 for no limit.", default=0)
    file_bytes_per_day: int = _setting(
        _limit, "Total bytes that one user may upload per UTC day; 0 for no limit.", default=0
    )
    max_output_tokens: int = _setting(_limit, "Maximum tokens in one response of the model; 0 for no limit.", default=0)
    model_key_parameter: str | None = _setting(
        _text,
        "SSM parameter (SecureString) with the model's API key. The parameter may be created later.",
        default=None,
    )
    secrets: tuple[str, ...] = _setting(
        _names, "SSM parameters (SecureString) that your tools may read: docs/secrets.md.", default=()
    )
    demo_model: bool = _setting(
        _flag,
        "true or false: without a model key, the demo model answers; if false, turns are refused.",
        default=True,
    )
    model_base_url: str | None = _setting(
        _https_url, "Base URL of an OpenAI-compatible API, instead of OpenAI's: docs/models.md.", default=None
    )
    model_api: ModelApi = _setting(  # noqa: RUF009 - it makes a dataclass field
        _model_api,
        "responses or chat_completions: which of OpenAI's two APIs the model's endpoint supports.",
        default="responses",
    )
    model_privacy: bool | None = _setting(
        _flag,
        (
            "true or false: ask the vendor not to store requests, and send a hash of the user's id. Unset, "
            "this applies to OpenAI only: docs/privacy.md."
        ),
        default=None,
    )
    models: tuple[str, ...] = _setting(
        _names,
        "Models that users may choose, the default first. If empty, the code in agent/ chooses the model.",
        default=(),
    )
    tool_choices: tuple[str, ...] = _setting(
        _names, "Names of the tools that a user may select for a message: docs/agents.md.", default=()
    )
    titles: bool = _setting(
        _flag,
        (
            "true or false: the model writes the title of each new thread, with one extra call; if false, the "
            "title is the first words of the thread."
        ),
        default=True,
    )
    images: bool = _setting(
        _flag,
        ("true or false: whether the model accepts images; if false, it gets a note that an image was attached."),
        default=True,
    )
    pdf: bool = _setting(
        _flag,
        ("true or false: whether the model accepts PDF files; if false, it gets a note that a PDF was attached."),
        default=True,
    )
    dictation: bool = _setting(
        _flag,
        "true or false: offer dictation. It needs a model key and an endpoint with `/audio/transcriptions`.",
        default=False,
    )
    dictation_model: str = _setting(_text, "Model that transcribes dictation.", default="gpt-transcribe")
    max_body_bytes: int = _setting(_positive, "Maximum size of a request body in bytes.", default=MAX_BODY_BYTES)
    message_chars: int = _setting(
        _positive,
        (
            "Maximum characters in a message, a form's answers, an action or a client tool's result; longer "
            "ones get a 413."
        ),
        default=MESSAGE_CHARS,
    )
    history_items: int = _setting(
        _to_a_hundred,
        "Number of newest thread items sent to the model, at most 100 (one page of the store).",
        default=HISTORY_ITEMS,
    )
    history_tokens: int = _setting(
        _positive,
        "Approximate number of tokens of the thread sent to the model, newest items first.",
        default=HISTORY_TOKENS,
    )
    max_image_bytes: int = _setting(_positive, "Maximum size of an attached image in bytes.", default=MAX_IMAGE_BYTES)
    max_file_bytes: int = _setting(
        _positive,
        ("Maximum size of any other attached file in bytes. Above 30 MB, raise memory_mb too: docs/attachments.md."),
        default=MAX_FILE_BYTES,
    )
    allowed_image_domains: tuple[str, ...] = _setting(
        _domains,
        "Domains from which widgets in our page may load images; images from other domains become links.",
        default=(),
    )
    prewarm: bool = _setting(
        _flag,
        (
            "true or false: load what the first message needs before the first request; if false, when the "
            "message arrives."
        ),
        default=True,
    )
    optimizations_off: tuple[str, ...] | None = _setting(
        _optimizations_off,
        "Optimizations to turn off, for example if an SDK update breaks one: docs/speed.md.",
        default=None,
    )

    @property
    def takes(self) -> tuple[Literal["image", "pdf"], ...]:
        """The kinds of file that the model accepts."""
        kinds: tuple[tuple[Literal["image", "pdf"], bool], ...] = (("image", self.images), ("pdf", self.pdf))
        return tuple(kind for kind, is_taken in kinds if is_taken)

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
            f"{label(name)} is not a setting; {_suggestion(name, tuple(names), label)}."
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
                "CHAT_AUTH_ISSUER is missing: set it, CHAT_AUTH_PUBLIC_KEYS or CHAT_GUEST_SECRET; see docs/auth.md."
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
        return (
            [f"{needed} is missing: CHAT_STORE={store} needs it."] if needed is not None and needed not in env else []
        )
