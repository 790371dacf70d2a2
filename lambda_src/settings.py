"""The environment of the function, read once from a mapping that is passed in. Knows no AWS.

Every variable that the stack sets is a field here and the other way round: tests/test_agreements.py holds it.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, Self

from lambda_src import levers
from lambda_src.errors import SettingsError

PREFIX = "CHAT_"
RUNTIME_PREFIX = "CHAT_RUNTIME_"  # the runtime's own switches, which it reads itself: runtime/environment.py
MAX_BODY_BYTES = 1_000_000  # a message is text; files travel to S3, not through us (Lambda itself takes 6 MB)
ModelApi = Literal["responses", "chat_completions"]
StoreKind = Literal["dynamodb", "postgres", "memory"]
HISTORY_ITEMS = 40  # newest items of a thread that the model is shown
HISTORY_TOKENS = 60_000  # under half of the smallest window of today's models (128,000): the answer needs room too
MAX_IMAGE_BYTES = 10_000_000  # vision models take 20 MB in base64, which adds a third
MAX_FILE_BYTES = 20_000_000  # OpenAI takes PDFs of 32 MB in base64


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty")
    return value


def _https_url(value: str) -> str:
    if not value.startswith("https://") or any(c.isspace() for c in value):
        raise ValueError(f"must be an https:// URL, and is {value!r}")
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
    names = tuple(name.strip() for name in value.split(","))
    if not all(names):
        raise ValueError("must be a list, separated by commas, without gaps")
    return names


_ORIGIN = re.compile(r"(https://[a-z0-9.-]+|http://(localhost|127\.0\.0\.1|\[::1\]))(:[1-9]\d{0,4})?", re.ASCII)


def _origins(value: str) -> tuple[str, ...]:
    origins = _names(value)
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(
                "must list exact origins such as https://www.example.com "
                f"(https, or http on localhost; no path, no *, not null), and holds {origin!r}"
            )
    return origins


_DOMAIN = re.compile(r"(\*\.)?([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]", re.ASCII)


def _domains(value: str) -> tuple[str, ...]:
    domains = _names(value)
    for domain in domains:
        if not _DOMAIN.fullmatch(domain):
            raise ValueError(
                "must list domains such as images.example.com or *.example.com "
                f"(lower case; no scheme, port or path), and holds {domain!r}"
            )
    return domains


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


def _levers(value: str) -> tuple[str, ...]:
    named = levers.off({levers.VARIABLE: value})
    if unknown := sorted(named - set(levers.LEVERS)):
        raise ValueError(f"names {', '.join(unknown)}; known are {', '.join(levers.LEVERS)}")
    return tuple(sorted(named))


def _model_api(value: str) -> ModelApi:
    match value:
        case "responses" | "chat_completions":
            return value
        case _:
            raise ValueError(f"must be responses or chat_completions, and is {value!r}")


def _meant(name: str, known: tuple[str, ...]) -> str:
    """The end of a sentence about an unknown name: the one that was meant, or all that are known."""
    import difflib  # noqa: PLC0415 - of use to a person only, not on the cold path

    near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    return f"did you mean {near[0]}" if near else f"known are {', '.join(known)}"


def _setting(parse: Callable[[str], Any], doc: str, *, default: Any = MISSING) -> Any:  # noqa: ANN401 - dataclass field
    return field(default=default, metadata={"parse": parse, "doc": doc})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a deployment may choose. The variable of a field is its name in capitals after `CHAT_`."""

    table: str | None = _setting(_text, "Name of the DynamoDB table; required for that store.", default=None)
    bucket: str | None = _setting(_text, "Name of the S3 bucket.", default=None)
    store: StoreKind = _setting(  # noqa: RUF009 - it makes a dataclass field
        _store, "dynamodb, postgres (outside Lambda), or memory (lost with the process).", default="dynamodb"
    )
    database_url: str | None = _setting(
        _text, "SQLAlchemy URL of the PostgreSQL database; required for that store.", default=None
    )
    retention_days: int = _setting(_days, "Days after which threads are forgotten; 0 keeps them.", default=0)
    auth_issuer: str | None = _setting(
        _https_url, "Issuer of the bearer tokens, exactly as in their `iss`: docs/auth.md.", default=None
    )
    auth_audience: str | None = _setting(
        _text, "The `aud` (Cognito: `client_id`) that a token must carry.", default=None
    )
    auth_public_keys: tuple[Mapping[str, Any], ...] | None = _setting(
        _public_keys, "JSON list of public JWKs, if your own backend signs the tokens.", default=None
    )
    auth_client_id: str | None = _setting(
        _text, "Public client (PKCE, no secret) by which our page lets people sign in at the issuer.", default=None
    )
    auth_scope: str = _setting(_text, "What the page asks the issuer for.", default="openid")
    auth_sign_in_url: str | None = _setting(
        _https_url, "Where the issuer gives tokens, if on another host than its own name (Cognito).", default=None
    )
    domain_key: str | None = _setting(
        _text, "OpenAI's key for the page's domain; without it our own client serves: docs/frontend.md.", default=None
    )
    guest_secret: str | None = _setting(
        _text,
        "SSM parameter, or ARN of a secret, that signs guests' tokens; without it there are no guests.",
        default=None,
    )
    token_header: str = _setting(
        _header_name, "Header with the bearer token, where Authorization is a proxy's own.", default="authorization"
    )
    origin_secrets: tuple[str, ...] | None = _setting(
        _names, "ARNs of what CloudFront proves itself with; without it every address is open.", default=None
    )
    origin_signed: bool = _setting(
        _flag,
        "true or false: only CloudFront can call, by signing; the viewer's address is then its word.",
        default=False,
    )
    cors_origins: tuple[str, ...] | None = _setting(
        _origins, "Other sites whose pages may call, where no function URL answers CORS.", default=None
    )
    tracing: Literal["xray"] | None = _setting(
        _tracing, "xray: a subsegment of each request that Lambda samples; else nothing is traced.", default=None
    )
    messages_per_minute: int = _setting(_limit, "Messages of one user in a minute; 0 is no limit.", default=0)
    messages_per_day: int = _setting(_limit, "Messages of one user in a day of UTC; 0 is no limit.", default=0)
    running_turns: int = _setting(_limit, "Answers written for one user at a time; 0 is no limit.", default=0)
    tokens_per_day: int = _setting(_limit, "Tokens of one user in a day of UTC; 0 is no limit.", default=0)
    stage_tokens_per_day: int = _setting(_limit, "Tokens of all users in a day of UTC; 0 is no limit.", default=0)
    guest_messages_per_day: int = _setting(_limit, "Messages of one guest in a day of UTC; 0 is no limit.", default=20)
    guest_tokens_percent: int = _setting(_to_a_hundred, "What guests may take of all users' tokens.", default=25)
    files_per_day: int = _setting(_limit, "Files of one user in a day of UTC; 0 is no limit.", default=0)
    file_bytes_per_day: int = _setting(_limit, "Their bytes together; 0 is no limit.", default=0)
    max_output_tokens: int = _setting(_limit, "Tokens of one answer of the model; 0 is no limit.", default=0)
    model_key_parameter: str | None = _setting(
        _text, "SSM parameter (SecureString) with the model's key; it may be set later.", default=None
    )
    demo_model: bool = _setting(
        _flag, "true or false: while there is no key, the demo model answers, or turns are refused.", default=True
    )
    model_base_url: str | None = _setting(
        _https_url, "Where an OpenAI-compatible API is, if not at OpenAI: docs/models.md.", default=None
    )
    model_api: ModelApi = _setting(  # noqa: RUF009 - it makes a dataclass field
        _model_api, "responses or chat_completions: which of OpenAI's two APIs it speaks.", default="responses"
    )
    models: tuple[str, ...] = _setting(
        _names, "Models that may be asked for, the default first; none leaves it to agent/.", default=()
    )
    titles: bool = _setting(
        _flag, "true or false: the model names new threads, with a call each; else their first words do.", default=True
    )
    dictation: bool = _setting(
        _flag, "true or false: offer dictation, which needs a key and `/audio/transcriptions`.", default=False
    )
    max_body_bytes: int = _setting(_positive, "Largest request body in bytes.", default=MAX_BODY_BYTES)
    history_items: int = _setting(
        _to_a_hundred,
        "Newest items of a thread that the model is shown; at most 100, a page of the store.",
        default=HISTORY_ITEMS,
    )

    history_tokens: int = _setting(
        _positive, "About how many tokens of a thread the model is shown, newest first.", default=HISTORY_TOKENS
    )
    max_image_bytes: int = _setting(_positive, "Largest image that may be attached.", default=MAX_IMAGE_BYTES)
    max_file_bytes: int = _setting(_positive, "Largest file of other types.", default=MAX_FILE_BYTES)
    allowed_image_domains: tuple[str, ...] = _setting(
        _domains, "Domains whose pictures a widget may show in our page; all others become links.", default=()
    )
    prewarm: bool = _setting(
        _flag, "true or false: load what a first message needs before the first request, or with it.", default=True
    )
    levers_off: tuple[str, ...] | None = _setting(
        _levers, "Shortcuts that are not to be taken, if one of them breaks: docs/speed.md.", default=None
    )

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Settings from `env`; SettingsError names every variable that is missing, malformed or unknown, at once."""
        values: dict[str, Any] = {}
        faults: list[str] = []
        names = {PREFIX + f.name.upper(): f for f in fields(cls)}
        for name, setting in names.items():
            if name in env:
                try:
                    values[setting.name] = setting.metadata["parse"](env[name])
                except ValueError as fault:
                    faults.append(f"{name} {fault}.")
            elif setting.default is MISSING:
                faults.append(f"{name} is missing: {setting.metadata['doc']}")
        faults += [
            f"{name} is not a setting; {_meant(name, tuple(names))}."
            for name in env
            if name.startswith(PREFIX) and not name.startswith(RUNTIME_PREFIX) and name not in names
        ]
        faults += cls._missing_for(values.get("store", "dynamodb"), env)
        faults += cls._missing_to_sign_in(env)
        if faults:
            raise SettingsError(faults)
        return cls(**values)

    @staticmethod
    def _missing_to_sign_in(env: Mapping[str, str]) -> list[str]:
        """Somebody must be able to: a stage that lets in nobody, or everybody, is a mistake."""
        ways = [name for name in ("CHAT_AUTH_ISSUER", "CHAT_AUTH_PUBLIC_KEYS", "CHAT_GUEST_SECRET") if name in env]
        faults = []
        if not ways:
            faults.append(
                "CHAT_AUTH_ISSUER is missing: name it, CHAT_AUTH_PUBLIC_KEYS or CHAT_GUEST_SECRET; see docs/auth.md."
            )
        if "CHAT_AUTH_AUDIENCE" not in env and ways != ["CHAT_GUEST_SECRET"]:
            faults.append("CHAT_AUTH_AUDIENCE is missing: the `aud` (Cognito: `client_id`) that a token must carry.")
        return faults

    @staticmethod
    def _missing_for(store: StoreKind, env: Mapping[str, str]) -> list[str]:
        """What a store needs and `env` does not name."""
        needed = {"dynamodb": "CHAT_TABLE", "postgres": "CHAT_DATABASE_URL", "memory": None}[store]
        return (
            [f"{needed} is missing: CHAT_STORE={store} needs it."] if needed is not None and needed not in env else []
        )
