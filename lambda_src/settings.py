"""The environment of the function, read once from a mapping that is passed in. Knows no AWS.

Every variable that the stack sets is a field here and the other way round: tests/test_agreements.py holds it.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, Self

from lambda_src import setting_values as values
from lambda_src.errors import SettingsError
from lambda_src.setting_values import ModelApi, StoreKind

PREFIX = "CHAT_"
RUNTIME_PREFIX = "CHAT_RUNTIME_"  # the runtime's own switches, which it reads itself: runtime/environment.py
MAX_BODY_BYTES = 1_000_000  # a message is text; files travel to S3, not through us (Lambda itself takes 6 MB)
HISTORY_ITEMS = 40  # newest items of a thread that the model is shown
HISTORY_TOKENS = 60_000  # under half of the smallest window of today's models (128,000): the answer needs room too
MESSAGE_CHARS = 32_000  # of one message: some 15 pages; longer texts are files
GUEST_MESSAGE_CHARS, GUEST_HISTORY_TOKENS, GUEST_OUTPUT_TOKENS = 8_000, 8_000, 2_000  # a page or two each
MAX_IMAGE_BYTES = 10_000_000  # vision models take 20 MB in base64, which adds a third
MAX_FILE_BYTES = 20_000_000  # OpenAI takes PDFs of 32 MB in base64


def _meant(name: str, known: tuple[str, ...], named: Callable[[str], str]) -> str:
    """The end of a sentence about an unknown name: the one that was meant, or all that are known."""
    import difflib  # noqa: PLC0415 - of use to a person only, not on the cold path

    near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    return f"did you mean {named(near[0])}" if near else f"known are {', '.join(map(named, known))}"


def _setting(parse: Callable[[str], Any], doc: str, *, default: Any = MISSING) -> Any:  # noqa: ANN401 - dataclass field
    return field(default=default, metadata={"parse": parse, "doc": doc})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a deployment may choose. The variable of a field is its name in capitals after `CHAT_`."""

    table: str | None = _setting(values.text, "Name of the DynamoDB table; required for that store.", default=None)
    bucket: str | None = _setting(values.text, "Name of the S3 bucket.", default=None)
    store: StoreKind = _setting(  # noqa: RUF009 - it makes a dataclass field
        values.store, "dynamodb, postgres (outside Lambda), or memory (lost with the process).", default="dynamodb"
    )
    database_url: str | None = _setting(
        values.text, "SQLAlchemy URL of the PostgreSQL database; required for that store.", default=None
    )
    retention_days: int = _setting(values.days, "Days after which threads are forgotten; 0 keeps them.", default=0)
    auth_issuer: str | None = _setting(
        values.https_url, "Issuer of the bearer tokens, exactly as in their `iss`: docs/auth.md.", default=None
    )
    auth_audience: str | None = _setting(
        values.text, "The `aud` (Cognito: `client_id`) that a token must carry.", default=None
    )
    auth_public_keys: tuple[Mapping[str, Any], ...] | None = _setting(
        values.public_keys, "JSON list of public JWKs, if your own backend signs the tokens.", default=None
    )
    auth_client_id: str | None = _setting(
        values.text,
        "Public client (PKCE, no secret) by which our page lets people sign in at the issuer.",
        default=None,
    )
    auth_resource: str | None = _setting(
        values.resource, "The API that the page asks the issuer for (RFC 8707), if not by its audience.", default=None
    )
    auth_scope: str = _setting(values.text, "What the page asks the issuer for.", default="openid")
    auth_sign_in_url: str | None = _setting(
        values.https_url, "Where the issuer gives tokens, if on another host than its own name (Cognito).", default=None
    )
    claims: tuple[str, ...] = _setting(
        values.names,
        "Claims of the token that tools may read as `context.user.claims`, such as plan,org: docs/auth.md.",
        default=(),
    )
    domain_key: str | None = _setting(
        values.text,
        "OpenAI's key for the page's domain; without it our own client serves: docs/frontend.md.",
        default=None,
    )
    guest_secret: str | None = _setting(
        values.text,
        "SSM parameter, or ARN of a secret, that signs guests' tokens; without it there are no guests.",
        default=None,
    )
    token_header: str = _setting(
        values.header_name,
        "Header with the bearer token, where Authorization is a proxy's own.",
        default="authorization",
    )
    origin_secrets: tuple[str, ...] | None = _setting(
        values.names, "ARNs of what CloudFront proves itself with; without it every address is open.", default=None
    )
    origin_signed: bool = _setting(
        values.flag,
        "true or false: only CloudFront can call, by signing; the viewer's address is then its word.",
        default=False,
    )
    cors_origins: tuple[str, ...] | None = _setting(
        values.origins, "Other sites whose pages may call, where no function URL answers CORS.", default=None
    )
    tracing: Literal["xray"] | None = _setting(
        values.tracing, "xray: a subsegment of each request that Lambda samples; else nothing is traced.", default=None
    )
    messages_per_minute: int = _setting(values.limit, "Messages of one user in a minute; 0 is no limit.", default=0)
    messages_per_day: int = _setting(values.limit, "Messages of one user in a day of UTC; 0 is no limit.", default=0)
    running_turns: int = _setting(values.limit, "Answers written for one user at a time; 0 is no limit.", default=0)
    tokens_per_day: int = _setting(values.limit, "Tokens of one user in a day of UTC; 0 is no limit.", default=0)
    stage_tokens_per_day: int = _setting(values.limit, "Tokens of all users in a day of UTC; 0 is no limit.", default=0)
    guest_messages_per_day: int = _setting(
        values.limit, "Messages of one guest in a day of UTC; 0 is no limit.", default=20
    )
    guest_tokens_percent: int = _setting(values.to_a_hundred, "What guests may take of all users' tokens.", default=25)
    guest_message_chars: int = _setting(
        values.positive, "CHAT_MESSAGE_CHARS for guests, if it is less.", default=GUEST_MESSAGE_CHARS
    )
    guest_history_tokens: int = _setting(
        values.positive, "CHAT_HISTORY_TOKENS for guests, if it is less.", default=GUEST_HISTORY_TOKENS
    )
    guest_output_tokens: int = _setting(
        values.positive, "CHAT_MAX_OUTPUT_TOKENS for guests, if it is less.", default=GUEST_OUTPUT_TOKENS
    )
    files_per_day: int = _setting(values.limit, "Files of one user in a day of UTC; 0 is no limit.", default=0)
    file_bytes_per_day: int = _setting(values.limit, "Their bytes together; 0 is no limit.", default=0)
    max_output_tokens: int = _setting(values.limit, "Tokens of one answer of the model; 0 is no limit.", default=0)
    model_key_parameter: str | None = _setting(
        values.text, "SSM parameter (SecureString) with the model's key; it may be set later.", default=None
    )
    secrets: tuple[str, ...] = _setting(
        values.names, "SSM parameters (SecureString) for your tools: docs/secrets.md.", default=()
    )
    demo_model: bool = _setting(
        values.flag, "true or false: while there is no key, the demo model answers, or turns are refused.", default=True
    )
    model_base_url: str | None = _setting(
        values.https_url, "Where an OpenAI-compatible API is, if not at OpenAI: docs/models.md.", default=None
    )
    model_api: ModelApi = _setting(  # noqa: RUF009 - it makes a dataclass field
        values.model_api, "responses or chat_completions: which of OpenAI's two APIs it speaks.", default="responses"
    )
    model_privacy: bool | None = _setting(
        values.flag,
        "true or false: ask the vendor to keep nothing, and send a hash of the user; else at OpenAI only: "
        "docs/privacy.md.",
        default=None,
    )
    models: tuple[str, ...] = _setting(
        values.names, "Models that may be asked for, the default first; none leaves it to agent/.", default=()
    )
    tool_choices: tuple[str, ...] = _setting(
        values.names, "Tools that a user may choose beside a message, by name: docs/agents.md.", default=()
    )
    titles: bool = _setting(
        values.flag,
        "true or false: the model names new threads, with a call each; else their first words do.",
        default=True,
    )
    images: bool = _setting(
        values.flag, "true or false: whether the model can read pictures; if not, it is told of them.", default=True
    )
    pdf: bool = _setting(
        values.flag, "true or false: whether the model can read PDF files; if not, it is told of them.", default=True
    )
    dictation: bool = _setting(
        values.flag, "true or false: offer dictation, which needs a key and `/audio/transcriptions`.", default=False
    )
    dictation_model: str = _setting(values.text, "The model that transcribes dictation.", default="gpt-transcribe")
    max_body_bytes: int = _setting(values.positive, "Largest request body in bytes.", default=MAX_BODY_BYTES)
    message_chars: int = _setting(
        values.positive,
        "Characters of one message, a form's answers, an action or a client tool's result. More is refused with a 413.",
        default=MESSAGE_CHARS,
    )
    history_items: int = _setting(
        values.to_a_hundred,
        "Newest items of a thread that the model is shown; at most 100, a page of the store.",
        default=HISTORY_ITEMS,
    )
    history_tokens: int = _setting(
        values.positive, "About how many tokens of a thread the model is shown, newest first.", default=HISTORY_TOKENS
    )
    max_image_bytes: int = _setting(values.positive, "Largest image that may be attached.", default=MAX_IMAGE_BYTES)
    max_file_bytes: int = _setting(
        values.positive,
        "Largest file of other types. Above 30 MB raise memory_mb too: docs/attachments.md.",
        default=MAX_FILE_BYTES,
    )
    allowed_image_domains: tuple[str, ...] = _setting(
        values.domains, "Domains whose pictures a widget may show in our page; all others become links.", default=()
    )
    prewarm: bool = _setting(
        values.flag,
        "true or false: load what a first message needs before the first request, or with it.",
        default=True,
    )
    optimizations_off: tuple[str, ...] | None = _setting(
        values.optimizations_off,
        "Optimizations to switch off, should an SDK's update break one: docs/speed.md.",
        default=None,
    )

    @property
    def takes(self) -> tuple[Literal["image", "pdf"], ...]:
        """The kinds of file that the model can read."""
        kinds: tuple[tuple[Literal["image", "pdf"], bool], ...] = (("image", self.images), ("pdf", self.pdf))
        return tuple(kind for kind, is_taken in kinds if is_taken)

    @classmethod
    def from_env(cls, env: Mapping[str, str], *, named: Callable[[str], str] = str) -> Self:
        """Settings from `env`; SettingsError names every variable that is missing, malformed or unknown, at once.

        `named` is what an error calls a variable, for readers who set it by another name.
        """
        given: dict[str, Any] = {}
        faults: list[str] = []
        names = {PREFIX + f.name.upper(): f for f in fields(cls)}
        for name, setting in names.items():
            if name in env:
                try:
                    given[setting.name] = setting.metadata["parse"](env[name])
                except ValueError as fault:
                    faults.append(f"{named(name)} {fault}.")
            elif setting.default is MISSING:
                faults.append(f"{named(name)} is missing: {setting.metadata['doc']}")
        faults += [
            f"{named(name)} is not a setting; {_meant(name, tuple(names), named)}."
            for name in env
            if name.startswith(PREFIX) and not name.startswith(RUNTIME_PREFIX) and name not in names
        ]
        faults += cls._missing_for(given.get("store", "dynamodb"), env)
        faults += cls._missing_to_sign_in(env)
        if faults:
            raise SettingsError(faults)
        return cls(**given)

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
