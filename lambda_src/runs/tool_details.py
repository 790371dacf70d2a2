"""Arguments and results of tool calls as text for people: short, without secrets and without binary data.

A value is hidden if its name looks like a secret's, or if it is one of the secrets that tools have read. Knows no
thread and no event.
"""

import dataclasses
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from itertools import islice

from pydantic import BaseModel

from lambda_src.runs import tool_secrets

MOST_CHARS = 2_000  # of one argument list or result: about a screen
READ_CHARS = 100_000  # of a text; the rest is neither read nor shown
READ_ENTRIES = 1_000  # of a nested value
DEPTH = 20
BINARY = "[binary data]"

_SECRET_PARTS = (
    "token", "password", "passwd", "passphrase", "passcode", "secret", "apikey", "accesskey", "privatekey",
    "authorization", "credential", "cookie",
)  # fmt: skip
_SECRET_WORDS = frozenset({"key", "keys", "auth", "pwd", "pass", "pin", "otp", "cvv", "cvc", "jwt", "bearer", "sid"})
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_NAMED_IN_TEXT = re.compile(
    r"((?:token|passw(?:or)?d|passphrase|secret|api[_ -]?key|access[_ -]?key|private[_ -]?key|authorization|credential"
    r"|cookie)[\w-]{0,40}[\"']?\s{0,3}[:=]\s{0,3})"
    r"(\"(?:[^\"\\]|\\.)*\"?|'(?:[^'\\]|\\.)*'?|(?:bearer |basic )?[^\s,;}&\"']+)",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE)
_DATA_URL = re.compile(r"data:[\w.+-]{1,60}/[\w.+-]{1,100}[^,\s]{0,200},[\w%+/=.~-]*", re.ASCII)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{200,}={0,2}")
_NOT_TEXT = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


def block(label: str, value: object) -> str:
    """Markdown with the value under a label, as code, so that nothing in it is formatted, linked or loaded."""
    text = text_of(value)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{label}\n\n{fence}\n{text}\n{fence}"


def text_of(value: object) -> str:
    """The value as text; an object with a line for each name. At most MOST_CHARS, and "…" if there was more."""
    if isinstance(value, str):
        value = _parsed(value)
    plain = _Reader().plain(value, DEPTH)
    match plain:
        case str():
            text = plain
        case dict():
            text = "\n".join(f"{name}: {_as_json(each)}" for name, each in plain.items())
        case _:
            text = _as_json(plain)
    return short(text)


def short(text: str, most: int = MOST_CHARS) -> str:
    """`text` cut after a whole character, and without surrogates that cannot be encoded."""
    text = text.encode(errors="replace").decode()
    if len(text) <= most:
        return text
    end = most
    while end > 0 and (unicodedata.combining(text[end]) or text[end] in "\u200d\ufe0f" or text[end - 1] == "\u200d"):
        end -= 1
    return text[:end] + "…"


def safe(text: str) -> str:
    """`text` without secrets and without binary data."""
    if _NOT_TEXT.search(text, 0, READ_CHARS):
        return BINARY
    named = [match.span(2) for match in _NAMED_IN_TEXT.finditer(text, 0, READ_CHARS)]
    text = _without(sorted(named + tool_secrets.spans_in(text)), text)  # at once: a secret may be a part of a name
    text = _BASE64.sub(BINARY, _DATA_URL.sub(BINARY, text))
    return _BEARER.sub(rf"\1 {tool_secrets.HIDDEN}", text)


def _without(spans: Sequence[tuple[int, int]], text: str) -> str:
    """The first READ_CHARS of `text`, with what the sorted spans cover replaced."""
    parts, at = [], 0
    for begin, end in spans:
        if begin >= at:
            parts += [text[at : min(begin, READ_CHARS)], tool_secrets.HIDDEN if begin < READ_CHARS else ""]
        at = max(at, end)
    return "".join([*parts, text[at:READ_CHARS]])


def is_secret(name: str) -> bool:
    """Whether a value of this name looks like a secret, as `apiKey`, `access_token` and `Authorization` do."""
    words = [word.lower() for word in _WORD.findall(name)]
    joined = "".join(words)
    return any(part in joined for part in _SECRET_PARTS) or not _SECRET_WORDS.isdisjoint(words)


class _Reader:
    """Reads one value into plain JSON, within limits."""

    def __init__(self) -> None:
        self._left = READ_ENTRIES

    def plain(self, value: object, depth: int) -> object:
        self._left -= 1
        if self._left < 0 or depth == 0:
            return "…"
        match value:
            case None | bool() | int() | float():
                return value
            case str():
                return safe(value)
            case bytes() | bytearray() | memoryview():
                return BINARY
            case BaseModel():
                return self._object({name: getattr(value, name) for name in type(value).model_fields}, depth)
            case Mapping():
                return self._object(value, depth)
            case list() | tuple() | set() | frozenset():
                return [self.plain(each, depth - 1) for each in islice(value, max(0, self._left))]
            case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
                return self._object({each.name: getattr(value, each.name) for each in dataclasses.fields(value)}, depth)
            case _:
                return safe(str(value))  # as the SDK sends it to the model

    def _object(self, value: Mapping[object, object], depth: int) -> dict[str, object]:
        return {
            safe(str(name)): tool_secrets.HIDDEN if is_secret(str(name)) else self.plain(each, depth - 1)
            for name, each in islice(value.items(), max(0, self._left))
        }


def _parsed(text: str) -> object:
    """The object or list that the text is in JSON, or the text itself."""
    if len(text) > READ_CHARS or not text.lstrip().startswith(("{", "[")):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
