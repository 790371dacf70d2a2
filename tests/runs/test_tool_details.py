"""Arguments and results of tool calls as text: short, one line per name, without secrets and binary data."""

import base64
import json
from dataclasses import dataclass
from typing import Any

import pytest
from agents import ToolOutputImage
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from lambda_src.runs import tool_secrets
from lambda_src.runs.tool_details import BINARY, MOST_CHARS, block, is_secret, text_of
from lambda_src.runs.tool_secrets import HIDDEN, ToolSecrets

PICTURE = base64.b64encode(b"\x89PNG" * 200).decode()


class Order(BaseModel):
    """A result of a tool."""

    number: int
    api_key: str = "sk-123"
    scan: bytes = b"\x00\x01"


@dataclass
class Parcel:
    """Another one."""

    weight: float
    access_token: str = "t-123"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('{"order_id": 17, "note": "für Ann"}', 'order_id: 17\nnote: "für Ann"'),
        ({"a": {"b": [1, None]}}, 'a: {"b": [1, null]}'),
        ("shipped", "shipped"),
        ("{not json", "{not json"),
        ([1, 2], "[1, 2]"),
        (Order(number=3), f'number: 3\napi_key: "{HIDDEN}"\nscan: "{BINARY}"'),
        (Parcel(1.5), f'weight: 1.5\naccess_token: "{HIDDEN}"'),
        ({1}, "[1]"),
        (b"\x00", BINARY),
        ("a\x00b", BINARY),
        (f"see data:image/png;base64,{PICTURE} here", f"see {BINARY} here"),
        (PICTURE, BINARY),
        (ToolOutputImage(image_url=f"data:image/png;base64,{PICTURE}").image_url, BINARY),
        ("\ud800", "?"),
        (float("nan"), "NaN"),
    ],
    ids=lambda value: str(value)[:20].encode("ascii", "replace").decode(),
)
def test_a_value_is_shown_as_people_read_it(value: object, text: str) -> None:
    assert text_of(value) == text


@pytest.mark.parametrize(
    "name",
    ["token", "accessToken", "API_KEY", "apiKey", "api-key", "password", "Authorization", "clientSecret", "db_passwd",
     "X-Api-Key", "private_key", "cookie", "pin", "otp", "credentials", "key"],
)  # fmt: skip
def test_a_name_that_looks_like_a_secrets_is_one(name: str) -> None:
    assert is_secret(name)
    hidden = text_of({"shop": {name: ["abc"]}, name: {"x": "abc"}})
    assert "abc" not in hidden
    assert HIDDEN in hidden


@pytest.mark.parametrize("name", ["order_id", "author", "keyboard", "monkey", "pinned", "passenger", "query", "spin"])
def test_an_ordinary_name_is_not(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize(
    "text",
    ["password: hunter2!", "token=hunter2!", "{'api_key': 'hunter2!'}", 'Authorization: Bearer hunter2!',
     "curl -H 'x: Bearer hunter2hunter2'", '{"secret": "a \\" hunter2!", "x": ', "Api key = hunter2!;"],
)  # fmt: skip
def test_a_secret_in_plain_text_is_hidden(text: str) -> None:
    assert "hunter2" not in text_of(text)
    assert "hunter2" not in text_of({"note": text})


async def test_what_tools_have_read_as_secrets_is_hidden_everywhere() -> None:
    values = {"shop": 'qu"ote', "bank": "violet"}
    tool_secrets.install(ToolSecrets(lambda name: values[name]))
    await tool_secrets.secret("shop")
    await tool_secrets.secret("bank")
    assert text_of({"a": 'x qu"ote y', "violet": 1}) == f'a: "x {HIDDEN} y"\n{HIDDEN}: 1'
    assert "viol" not in text_of("- " * (MOST_CHARS // 2 - 2) + "violet")


async def test_a_secret_that_is_a_part_of_a_name_uncovers_no_other() -> None:
    tool_secrets.install(ToolSecrets({"short": "key", "long": "open sesame"}.__getitem__))
    await tool_secrets.secret("short")
    await tool_secrets.secret("long")
    assert "hunter2" not in text_of("socks api_key=hunter2")
    assert "sesame" not in text_of("password: open sesame, please")


def test_a_long_text_is_cut_after_a_whole_character() -> None:
    assert text_of("ab " * MOST_CHARS) == ("ab " * MOST_CHARS)[:MOST_CHARS] + "…"
    accent, family = "e\u0301", "👨\u200d👩"
    assert text_of("- " * (MOST_CHARS // 2 - 1) + "-" + accent + "rest").endswith("- -…")
    assert text_of("- " * (MOST_CHARS // 2 - 1) + family + "rest").endswith("- …")


def test_a_block_cannot_be_left_by_its_content() -> None:
    assert block("Result", "```\n![x](https://evil.example/?q=1)") == (
        "Result\n\n````\n```\n![x](https://evil.example/?q=1)\n````"
    )


class Endless(dict[str, Any]):
    """A value that contains itself."""

    def __init__(self) -> None:
        super().__init__()
        self["self"] = self


@pytest.mark.parametrize(
    "value",
    [Endless(), {str(n): n for n in range(100_000)}, "[" * 100_000, json.dumps([[]] * 100_000), "x" * 5_000_000,
     "token" * 20_000, "a" * 199 + " " + "b" * 99_000],
    ids=["endless", "wide", "deep", "long json", "long text", "tokens", "words"],
)  # fmt: skip
def test_any_size_is_cut(value: object) -> None:
    assert len(text_of(value)) <= MOST_CHARS + 1


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text() | st.binary(), lambda each: (
    st.lists(each) | st.dictionaries(st.text(), each))))  # fmt: skip
def test_any_value_is_a_text_that_can_be_encoded(value: object) -> None:
    text_of(value).encode()
