"""Token estimates without a tokenizer, for requests that a model has not received yet. Pure.

A tokenizer fits one vendor only, and its vocabulary is larger than the rest of the function. `at_most` is for
reservations: an upper bound, computed from the kinds of bytes in a text (docs/reference/limits.md lists its margins,
which tests/quotas measures). `about` is for choosing how much of a thread the model sees, where the mean is enough.
"""

import json
from collections.abc import Iterable
from typing import Any

BYTES_PER_TOKEN = 3  # UTF-8 JSON, on average: English has four, code and digits have fewer
IMAGE_TOKENS = 3_800  # OpenAI's formula at its largest: 1,536 patches of 32 x 32 pixels, 2.46 tokens each
FILE_BYTES_PER_TOKEN = 33  # a PDF page has about 50 KB and costs about 1,500 tokens, as text and as an image
PER_ENTRY = 8  # the separators around a message, a tool or a part

_COMMON = b"abcdefghiklmnoprstuvwy"  # pairs of these letters are tokens themselves
_SPACE, _LINE_BREAK = b" \t", b"\r\n"
_DIGITS = b"0123456789"
_OTHER_ASCII = bytes(set(range(128)) - set(_COMMON + _SPACE + _LINE_BREAK + _DIGITS))
_WEIGHTS = (  # in hundredths of a token for each byte; the second and later bytes of a character weigh nothing
    (_COMMON, 50),
    (_SPACE, 50),  # usually part of the next word's token
    (_LINE_BREAK, 150),
    (_DIGITS, 160),  # three in a row are one token, but a single digit between spaces is two
    (_OTHER_ASCII, 150),  # capitals, rare letters, punctuation: some pairs are three tokens
    (bytes(range(0xC2, 0xE0)), 160),  # first of two bytes: accented Latin, Cyrillic, Greek, Arabic
    (bytes(range(0xE4, 0xEA)), 240),  # first of three: Chinese characters
    (bytes([*range(0xE0, 0xE4), *range(0xEA, 0xF0)]), 280),  # first of three: all other scripts and symbols
    (bytes(range(0xF0, 0xF5)), 400),  # first of four: emoji
)


def at_most(text: str) -> int:
    """An upper bound of the tokens of `text`."""
    data = text.encode(errors="replace")
    weight = sum((len(data) - len(data.translate(None, kind))) * each for kind, each in _WEIGHTS)
    return -(-weight // 100)


def about(text: str) -> int:
    """The tokens of `text`, on average."""
    return len(text.encode(errors="replace")) // BYTES_PER_TOKEN


def input_at_most(instructions: str | None, items: Iterable[Any], tools: Iterable[Any]) -> int:
    """An upper bound of a request's input tokens: instructions, input items and tools, as JSON values."""
    parts = [{"content": instructions or ""}, *items, *tools]
    return sum(PER_ENTRY + _bound(part) for part in parts)


def shown_about(items: Iterable[Any]) -> int:
    """The tokens of input items, on average."""
    return sum(_mean(item) for item in items)


def _bound(value: Any) -> int:  # noqa: ANN401 - any JSON-like value
    match value:
        case {"type": "input_image"}:
            return IMAGE_TOKENS
        case {"type": "input_file", "file_data": str(data)}:
            return _file(data)
        case {"content": list(parts), **rest} | {"output": list(parts), **rest}:
            return sum(PER_ENTRY + _bound(part) for part in parts) + _bound(rest)
        case _:
            return at_most(_json(value))


def _mean(value: Any) -> int:  # noqa: ANN401 - any JSON-like value
    match value:
        case {"type": "input_image"}:
            return IMAGE_TOKENS
        case {"type": "input_file", "file_data": str(data)}:
            return _file(data)
        case {"content": list(parts), **rest}:
            return sum(map(_mean, parts)) + _mean(rest)
        case _:
            return about(_json(value))


def _file(data_url: str) -> int:
    return len(data_url) * 3 // 4 // FILE_BYTES_PER_TOKEN


def _json(value: Any) -> str:  # noqa: ANN401 - any JSON-like value
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
