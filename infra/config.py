"""The knobs of one stage: read from cdk.json's context, validated, every fault in one message.

Knows no construct, no file and no AWS. The shape of the context:

    "stage": "dev",                    the stage that is meant when nobody says another (`-c stage=prod`)
    "stages": {"dev": {...}, ...}      one entry a stage: the fields of StageConfig
"""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Self
from urllib.parse import urlsplit

from infra.errors import ConfigError

PLACEHOLDER_HOST = "issuer.example.com"  # of the issuer in cdk.json as shipped: synthesizes, and is never deployed

MEMORY_MB = (512, 10_240)  # the agents stack alone takes some 170 MB; above is Lambda's limit
TIMEOUT_S = (30, 900)  # shorter than 30 s cuts ordinary answers; above is Lambda's limit
LOG_RETENTION_DAYS = (1, 3, 7, 14, 30, 60, 90, 180, 365, 731)  # of those that CloudWatch takes, up to two years
MAX_CORS_ORIGINS = 100  # a function URL's limit


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError(f"must be a text, and is {value!r}")
    return value


def _whole(low: int, high: int, unit: str) -> Callable[[object], int]:
    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"must be a whole number of {unit} from {low} to {high}, and is {value!r}")
        return value

    return parse


def _retention(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value not in LOG_RETENTION_DAYS:
        raise ValueError(f"must be one of {', '.join(map(str, LOG_RETENTION_DAYS))} days, and is {value!r}")
    return value


def _issuer(value: object) -> str:
    text = _text(value)
    if not text.startswith("https://") or not _has_host(text) or any(c.isspace() for c in text):
        raise ValueError(f"must be an https:// URL, exactly as in the tokens' `iss`, and is {value!r}")
    return text


def _has_host(url: str) -> bool:
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:
        return False


def _origins(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or len(value) > MAX_CORS_ORIGINS:
        raise ValueError(f"must be a list of at most {MAX_CORS_ORIGINS} origins, and is {value!r}")
    wrong = [origin for origin in value if not _is_origin(origin)]
    if wrong:
        raise ValueError(
            "must list exact origins such as https://www.example.com (https, or http on localhost; no path, no *), "
            f"and holds {', '.join(map(repr, wrong))}"
        )
    return tuple(dict.fromkeys(value))


def _is_origin(value: object) -> bool:
    # A browser sends an origin in lower case, without path and default port: anything else never matches.
    if not isinstance(value, str):
        return False
    match = re.fullmatch(r"(https?)://([a-z0-9.-]+|\[::1])(:[1-9][0-9]{0,4})?", value)
    if match is None or (match[1], match[3]) in (("https", ":443"), ("http", ":80")):
        return False
    return match[1] == "https" or match[2] in ("localhost", "127.0.0.1", "[::1]")


def _parameter(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch(r"(/[A-Za-z0-9_.-]+){1,15}", value):
        raise ValueError(f"must be the full name of an SSM parameter such as /chatkit/dev/model-key, and is {value!r}")
    return value


def _knob(parse: Callable[[object], object], doc: str) -> dict[str, Any]:
    """The metadata that makes a field a knob: how it is read, and the sentence that says what it is for."""
    return {"parse": parse, "doc": doc}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthConfig:
    """Whose bearer tokens are taken."""

    issuer: str = field(metadata=_knob(_issuer, "Issuer of the bearer tokens, exactly as in their `iss`."))
    audience: str = field(metadata=_knob(_text, "The `aud` (Cognito: `client_id`) that a token must carry."))


def _auth(value: object) -> AuthConfig:
    if not isinstance(value, Mapping):
        raise ValueError(f"must be an object with issuer and audience, and is {value!r}")
    return AuthConfig(**_read(AuthConfig, value))


@dataclass(frozen=True, slots=True, kw_only=True)
class StageConfig:
    """What one stage chooses. Without `auth` there is no stage: whoever found the URL could spend the model's key."""

    stage: str
    auth: AuthConfig = field(
        metadata=_knob(_auth, 'whose tokens are taken, {"issuer": "https://...", "audience": "..."}.')
    )
    cors_origins: tuple[str, ...] = field(
        default=(), metadata=_knob(_origins, "Other sites whose pages may call; our own page needs none.")
    )
    memory_mb: int = field(default=1024, metadata=_knob(_whole(*MEMORY_MB, "MB"), "The function's; CPU grows with it."))
    timeout_s: int = field(default=300, metadata=_knob(_whole(*TIMEOUT_S, "seconds"), "The longest turn."))
    log_retention_days: int = field(default=30, metadata=_knob(_retention, "How long log lines are kept."))
    model_key_parameter: str | None = field(
        default=None,
        metadata=_knob(
            _parameter, "SSM parameter (SecureString) with the model's key; without it the demo model answers."
        ),
    )

    @property
    def auth_is_placeholder(self) -> bool:
        """True for the issuer that cdk.json is shipped with, which signs nobody's tokens."""
        return urlsplit(self.auth.issuer).hostname == PLACEHOLDER_HOST

    @property
    def disposable(self) -> bool:
        """True for stage dev alone: destroying its stacks takes the threads along."""
        return self.stage == "dev"

    @classmethod
    def from_context(cls, context: Mapping[str, Any]) -> Self:
        """The stage that `context` means; ConfigError names every fault of the context and of that stage at once."""
        faults = [
            f"{key} is not a knob{_nearest(key, ('stage', 'stages'))}."
            for key in context
            if key.isidentifier() and key not in ("stage", "stages")  # CDK's own keys hold a colon, a hyphen or an @
        ]
        stages, stage = context.get("stages"), context.get("stage")
        values: dict[str, Any] = {}
        if not isinstance(stages, Mapping) or not stages:
            faults.append('stages is missing: {"dev": {"auth": {...}}} is the least.')
        elif not isinstance(stage, str) or stage not in stages:
            faults.append(f"stage {stage!r} is not in stages{_nearest(str(stage), tuple(stages))}.")
        elif not re.fullmatch(r"[a-z][a-z0-9-]{0,19}", stage):
            faults.append(f"stages.{stage} must be called by 1 to 20 of a-z, 0-9 and -, a letter first.")
        elif not isinstance(stages[stage], Mapping):
            faults.append(f"stages.{stage} must be an object, and is {stages[stage]!r}.")
        else:
            try:
                values = _read(cls, stages[stage])
            except ConfigError as error:
                faults += [f"stages.{stage}.{fault}" for fault in error.faults]
        if faults:
            raise ConfigError(faults)
        return cls(stage=str(stage), **values)


def _read(cls: type[StageConfig | AuthConfig], entry: Mapping[str, object]) -> dict[str, Any]:
    """The parsed values of `cls`'s knobs in `entry`; ConfigError with every fault, each beginning with its key."""
    knobs = {knob.name: knob for knob in fields(cls) if knob.metadata}
    values: dict[str, Any] = {}
    faults = [f"{key} is not a knob{_nearest(key, tuple(knobs))}." for key in entry if key not in knobs]
    for name, knob in knobs.items():
        if name not in entry:
            if knob.default is MISSING:
                faults.append(f"{name} is missing: {knob.metadata['doc']}")
            continue
        try:
            values[name] = knob.metadata["parse"](entry[name])
        except ValueError as fault:
            faults.append(f"{name} {fault}.")
        except ConfigError as inner:
            faults += [f"{name}.{fault}" for fault in inner.faults]
    if faults:
        raise ConfigError(faults)
    return values


def _nearest(key: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}" if near else f"; known are {', '.join(known)}"
