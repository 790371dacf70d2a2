"""What the text of a variable may be, and what it means. Each raises ValueError with the end of a sentence about it."""

import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from lambda_src.startup.flags import OPTIMIZATIONS, VARIABLE, switched_off

ModelApi = Literal["responses", "chat_completions"]
StoreKind = Literal["dynamodb", "postgres", "memory"]


def text(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty")
    return value


def https_url(value: str) -> str:
    if not value.startswith("https://") or any(c.isspace() for c in value):
        raise ValueError(f"must be an https:// URL, and is {value!r}")
    return value


def resource(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s#]+", value, re.ASCII):
        raise ValueError(f"must be an absolute URI without a fragment, and is {value!r}")
    return value


def public_keys(value: str) -> tuple[Mapping[str, Any], ...]:
    try:
        keys = json.loads(value)
    except ValueError:
        raise ValueError("must be JSON: a list of JWKs") from None
    if not isinstance(keys, list) or not keys or not all(isinstance(key, dict) for key in keys):
        raise ValueError("must be a list of at least one JWK")
    if any("d" in key or key.get("kty") == "oct" for key in keys):
        raise ValueError("holds a private key: keep that one secret, and set its public half")
    return tuple(keys)


def header_name(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9-]*", value, re.ASCII):
        raise ValueError(f"must be a header's name in lower case, and is {value!r}")
    return value


def names(value: str) -> tuple[str, ...]:
    named = tuple(name.strip() for name in value.split(","))
    if not all(named):
        raise ValueError("must be a list, separated by commas, without gaps")
    return named


_ORIGIN = re.compile(r"(https://[a-z0-9.-]+|http://(localhost|127\.0\.0\.1|\[::1\]))(:[1-9]\d{0,4})?", re.ASCII)


def origins(value: str) -> tuple[str, ...]:
    listed = names(value)
    for origin in listed:
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(
                "must list exact origins such as https://www.example.com "
                f"(https, or http on localhost; no path, no *, not null), and holds {origin!r}"
            )
    return listed


_DOMAIN = re.compile(r"(\*\.)?([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]", re.ASCII)


def domains(value: str) -> tuple[str, ...]:
    listed = names(value)
    for domain in listed:
        if not _DOMAIN.fullmatch(domain):
            raise ValueError(
                "must list domains such as images.example.com or *.example.com "
                f"(lower case; no scheme, port or path), and holds {domain!r}"
            )
    return listed


def tracing(value: str) -> Literal["xray"]:
    if value != "xray":
        raise ValueError(f"must be xray, and is {value!r}")
    return "xray"


def to_a_hundred(value: str) -> int:
    if not value.isdecimal() or not 1 <= int(value) <= 100:
        raise ValueError(f"must be a whole number from 1 to 100, and is {value!r}")
    return int(value)


def positive(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise ValueError(f"must be a whole number of at least 1, and is {value!r}")
    return int(value)


def flag(value: str) -> bool:
    if value not in ("true", "false"):
        raise ValueError(f"must be true or false, and is {value!r}")
    return value == "true"


def limit(value: str) -> int:
    if not value.isdecimal():
        raise ValueError(f"must be a whole number, 0 for no limit, and is {value!r}")
    return int(value)


def days(value: str) -> int:
    if not value.isdecimal():
        raise ValueError(f"must be a whole number of days, 0 to keep for ever, and is {value!r}")
    return int(value)


def store(value: str) -> StoreKind:
    match value:
        case "dynamodb" | "postgres" | "memory":
            return value
        case _:
            raise ValueError(f"must be dynamodb, postgres or memory, and is {value!r}")


def optimizations_off(value: str) -> tuple[str, ...]:
    named = switched_off({VARIABLE: value})
    if unknown := sorted(named - set(OPTIMIZATIONS)):
        raise ValueError(f"names {', '.join(unknown)}; known are {', '.join(OPTIMIZATIONS)}")
    return tuple(sorted(named))


def model_api(value: str) -> ModelApi:
    match value:
        case "responses" | "chat_completions":
            return value
        case _:
            raise ValueError(f"must be responses or chat_completions, and is {value!r}")
