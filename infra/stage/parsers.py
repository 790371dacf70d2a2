"""How one value of cdk.json's context is read: a parser for each kind, and a reader for an object of them.

A parser returns the value or raises ValueError with the rest of a sentence that begins with the option's name. The
options themselves are in infra/stage/schema.py and sections.py.
"""

import difflib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from infra.errors import ConfigError

MAX_CORS_ORIGINS = 100  # a function URL's limit
MIN_CONTRAST = 4.5  # WCAG 2.2, level AA, for text of normal size
MAX_PICTURE_BYTES = 200_000  # every first visit loads it
AGENT = Path(__file__).parents[2] / "lambda_src" / "agent"
LANGUAGES = AGENT.parent / "languages"
_SETTING = re.compile(r"[a-z][a-z0-9_]{0,60}", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]{1,100}", re.ASCII)  # as Lambda takes them
ASSISTANT = r"[a-z][a-z0-9-]{0,30}"  # a key of AGENTS in lambda_src/agent/
ROUTES = (
    "attachments",
    "handoff",
    "link",
    "stop",
    "threads",
    "turns",
    "upload",
)  # of the unnamed assistant: no other may have these names
_OUR_SECRETS = ("model-key", "guest-secret")
_NOT_YOURS = re.compile(r"CHAT_|CHATKIT_|AWS_|LAMBDA_|_|PYTHON|LD_|(PATH|HOME|TZ|LANG)$")
_HOLDS_A_SECRET = re.compile(r"(?!.*PUBLI(C|SHABLE)_KEY$).*(KEY|SECRET|PASSWORD|TOKEN)")

Parse = Callable[[object], object]


def option(parse: Parse, doc: str, *, takes: str, default: object = MISSING) -> Any:  # noqa: ANN401 - dataclass field
    """A field that is an option: how it is read, what it takes in words, and the sentence that says what it is for."""
    return field(default=default, metadata={"parse": parse, "doc": doc, "takes": takes})


def optional(parse: Parse) -> Parse:
    """Null, or what `parse` takes."""
    return lambda value: None if value is None else parse(value)


def text(value: object) -> str:
    """A printable text that is not blank."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError(f"must be a text, and is {value!r}")
    return value


def words(most: int) -> Callable[[object], str]:
    """A printable text of at most `most` characters."""

    def parse(value: object) -> str:
        if len(parsed := text(value)) > most:
            raise ValueError(f"must have at most {most} characters, and has {len(parsed)}")
        return parsed

    return parse


def accent(value: object) -> str:
    """A color as #rrggbb that is dark enough for links and buttons on white (WCAG AA)."""
    color = matching(r"#[0-9A-Fa-f]{6}", example="#0f6b5c")(value)
    contrast = 1.05 / (_luminance(color) + 0.05)
    if contrast < MIN_CONTRAST:
        raise ValueError(
            f"must have a contrast of at least {MIN_CONTRAST} with white, and {color} has {contrast:.1f}: "
            "take a darker color"
        )
    return color.lower()


def _luminance(color: str) -> float:
    """The relative luminance of #rrggbb, from 0 to 1, as WCAG defines it."""
    channels = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def picture(value: object) -> str:
    """The name of a picture in lambda_src/agent/, which is in the zip."""
    name = matching(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,60}\.(png|jpe?g|webp|svg)", example="logo.svg")(value)
    file = AGENT / name
    if not file.is_file():
        raise ValueError(f"names {name}, which is not in lambda_src/agent/")
    if (size := file.stat().st_size) > MAX_PICTURE_BYTES:
        raise ValueError(f"must be a file of at most {MAX_PICTURE_BYTES // 1000} KB, and {name} has {size // 1000}")
    return name


def language(value: object) -> str:
    """A language that has a table, shipped or in lambda_src/agent/languages/."""
    known = sorted({file.stem for folder in (LANGUAGES, AGENT / "languages") for file in folder.glob("*.json")})
    if value not in known:
        raise ValueError(
            f"must be one of {', '.join(known)}, and is {value!r}: add another by lambda_src/agent/languages/"
        )
    return str(value)


def flag(value: object) -> bool:
    """A boolean; neither 0 and 1 nor texts."""
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, and is {value!r}")
    return value


def matching(pattern: str, *, example: str) -> Callable[[object], str]:
    """A text that matches `pattern`. Errors quote `example`."""
    compiled = re.compile(pattern, re.ASCII)

    def parse(value: object) -> str:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            raise ValueError(f"must look like {example}, and is {value!r}")
        return value

    return parse


def choice(*choices: str | int) -> Parse:
    """One of `choices`, of the same type."""

    def parse(value: object) -> object:
        if not any(type(value) is type(allowed) and value == allowed for allowed in choices):
            raise ValueError(f"must be one of {', '.join(map(str, choices))}, and is {value!r}")
        return value

    return parse


def whole(low: int, high: int, unit: str) -> Callable[[object], int]:
    """A whole number within bounds."""

    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"must be a whole number of {unit} from {low} to {high}, and is {value!r}")
        return value

    return parse


def list_of(parse: Parse, *, at_least: int = 0, at_most: int) -> Callable[[object], tuple[Any, ...]]:
    """A list of values that `parse` takes, without duplicates."""

    def parse_all(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise ValueError(f"must be a list of {at_least} to {at_most}, and is {value!r}")
        if not at_least <= len(value) <= at_most:
            raise ValueError(f"must be a list of {at_least} to {at_most}, and has {len(value)}")
        return tuple(dict.fromkeys(parse(element) for element in value))

    return parse_all


def object_of(cls: type) -> Parse:
    """An object whose keys are the options of a dataclass."""

    def parse(value: object) -> object:
        if not isinstance(value, Mapping):
            names = " and ".join(name for name, spec in options_of(cls).items() if spec.default is MISSING)
            raise ValueError(f"must be an object{f' with {names}' if names else ''}, and is {value!r}")
        return cls(**read(cls, value))

    return parse


def settings(value: object) -> tuple[tuple[str, str], ...]:
    """Names and values of settings. A value is a text, a number or a boolean."""
    if not isinstance(value, Mapping):
        raise ValueError(f'must be an object such as {{"history_items": 20}}, and is {value!r}')
    wrong = [f"{k}: {v!r}" for k, v in value.items() if not _SETTING.fullmatch(str(k)) or not _is_plain(v)]
    if wrong:
        raise ValueError(f"must hold lower-case names with a text or a number each, and holds {', '.join(wrong)}")
    if secret := [k for k in value if k != "domain_key" and {"key", "secret", "password"} & set(str(k).split("_"))]:
        raise ValueError(f"may not hold {', '.join(secret)}: a secret is no setting")  # a domain's key is public
    texts = {str(k): json.dumps(v) if isinstance(v, bool) else str(v) for k, v in value.items()}
    return tuple(sorted(texts.items()))


def environment(value: object) -> tuple[tuple[str, str], ...]:
    """Variables of the function for the user's own code. Names that are ours or Lambda's, and secrets, are refused."""
    if not isinstance(value, Mapping):
        raise ValueError(f'must be an object such as {{"SHOP_URL": "https://shop.example.com"}}, and is {value!r}')
    for name, content in value.items():
        if _NOT_YOURS.match(name):
            raise ValueError(
                f"may not set {name}: names that begin with CHAT_ or AWS_, PATH and the like are not yours"
            )
        if not _VARIABLE.fullmatch(name):
            raise ValueError(f"may not set {name!r}: a name has letters, digits and _, at least two, a letter first")
        if _HOLDS_A_SECRET.fullmatch(name.upper()):
            raise ValueError(f"may not set {name}: a secret is no variable; list its name in `secrets`")
        if not _is_plain(content):
            raise ValueError(f"must give {name} a text, a whole number, true or false, and gives {content!r}")
    texts = {
        name: json.dumps(content) if isinstance(content, bool) else str(content) for name, content in value.items()
    }
    return tuple(sorted(texts.items()))


def secret_name(value: object) -> str:
    """The name of a secret for the user's own code."""
    if value in _OUR_SECRETS:
        raise ValueError(f"may not list {value}: it is one of this project's own secrets")
    return matching(r"[a-z][a-z0-9-]{0,62}", example="shop-api-key")(value)


def assistant_name(value: object) -> str:
    """The name of an assistant; empty for the unnamed one."""
    if value in ROUTES:
        raise ValueError(f"may not be {value}: that is a route of the unnamed assistant")
    return "" if value == "" else matching(ASSISTANT, example="sales")(value)


def _is_plain(value: object) -> bool:
    return isinstance(value, int) or (isinstance(value, str) and bool(value.strip()) and value.isprintable())


def issuer(value: object) -> str:
    """The URL of an OpenID issuer."""
    url = text(value)
    if not url.startswith("https://") or not _has_host(url) or any(c.isspace() for c in url):
        raise ValueError(f"must be an https:// URL, exactly as in the tokens' `iss`, and is {value!r}")
    return url


def public_key(value: object) -> str:
    """A public JWK with its id, as one line of JSON; a private one is refused without being quoted."""
    if not isinstance(value, Mapping) or not all(isinstance(value.get(name), str) for name in ("kty", "kid")):
        raise ValueError("must list JWKs, each an object with kty and kid")
    if "d" in value or value["kty"] == "oct":
        raise ValueError("holds a private key: keep that one secret, and name its public half")
    return json.dumps(value, separators=(",", ":"))


def _has_host(url: str) -> bool:
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:
        return False


def origins(value: object) -> tuple[str, ...]:
    """Exact origins, as browsers send them."""
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


def options_of(cls: type) -> dict[str, Any]:
    """The fields of a dataclass that are options, by name."""
    return {entry.name: entry for entry in fields(cls) if entry.metadata}


def read(cls: type, entry: Mapping[str, object]) -> dict[str, Any]:
    """The parsed values of `cls`'s options in `entry`; ConfigError with every fault, each beginning with its key."""
    options = options_of(cls)
    values: dict[str, Any] = {}
    faults = [f"{key} is not an option{nearest(key, tuple(options))}." for key in entry if key not in options]
    for name, spec in options.items():
        if name not in entry:
            if spec.default is MISSING:
                faults.append(f"{name} is missing: {spec.metadata['doc']}")
            continue
        try:
            values[name] = spec.metadata["parse"](entry[name])
        except ValueError as fault:
            faults.append(f"{name} {fault}.")
        except ConfigError as inner:
            faults += [f"{name}.{fault}" for fault in inner.faults]
    if faults:
        raise ConfigError(faults)
    return values


def nearest(key: str, names: tuple[str, ...]) -> str:
    """The end of a sentence about an unknown name: the option that was probably meant, or all options."""
    near = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}" if near else f"; known are {', '.join(names)}"
