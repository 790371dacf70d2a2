"""lambda_src/runtime/adapter.py: StreamingMangum streams the response to every kind of event that Mangum reads.

events/*_documented.json follow AWS's documentation; *_recorded.json are what the emulator made of a curl request.
"""

import asyncio
import json
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mangum import Mangum

from lambda_src.dev.emulator.protocol import split_prelude
from lambda_src.runtime.adapter import StreamingMangum
from lambda_src.runtime.asgi import Receive, Scope, Send
from lambda_src.runtime.errors import UnknownEventError
from tests.runtime.apps import body, sends, start
from tests.runtime.serving import serving

EVENTS = {path.stem: json.loads(path.read_text()) for path in Path(__file__).with_name("events").glob("*.json")}
CONTEXT = SimpleNamespace(aws_request_id="r-1")


async def mirror(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the request as JSON, and set two cookies."""
    message = await receive()
    received = {
        "line": [scope["method"], scope["path"], scope["query_string"].decode(), scope["client"][0]],
        "headers": sorted([k.decode(), v.decode()] for k, v in scope["headers"]),
        "body": list(message["body"]),
    }
    headers = (b"content-type", b"application/json"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")
    await sends(start(200, *headers), body(json.dumps(received).encode()))(scope, receive, send)


@pytest.fixture
def context_loop() -> Iterator[None]:
    """Mangum needs a current event loop, which Python no longer creates implicitly."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@pytest.mark.parametrize(
    ("name", "line", "header", "content"),
    [
        ("url_documented", ["POST", "/my/path", "parameter1=value1&parameter1=value2&parameter2=value", "198.51.100.7"],
         ["cookie", "cookie1; cookie2"], b"Hello from client!"),
        ("url_recorded", ["POST", "/chatkit", "", "127.0.0.1"],
         ["content-type", "application/octet-stream"], b"\0\xff\x80\1"),
        ("http_api_documented", ["GET", "/my/path", "a=1%20b", "198.51.100.7"], ["cookie", "c=1; d=2"], b""),
        ("rest_documented", ["GET", "/my/path", "parameter1=value1&parameter1=value2", "198.51.100.7"],
         ["header2", "value1, value2"], b""),
        ("rest_recorded", ["POST", "/chat kit", "a=1&a=2", "127.0.0.1"], ["cookie", "c=1; d=2"], b"text"),
        ("alb_documented", ["GET", "/lambda", "query=1234ABCD", "198.51.100.7"], ["accept", "text/html"], b""),
        ("alb_multi_value_documented", ["POST", "/lambda", "myKey=val1&myKey=val2", "198.51.100.7"],
         ["cookie", "name2=value2"], b"\0\xff"),
    ],
)  # fmt: skip
async def test_every_kind_of_event_reaches_the_app_and_is_streamed(
    name: str, line: list[str], header: list[str], content: bytes
) -> None:
    async with serving(mirror) as (api, _):
        request = await (await api.deliver(EVENTS[name])).complete()
        request.answer(202)
    parts = split_prelude(bytes(request.body))
    assert parts is not None
    prelude, answer = parts
    received = json.loads(answer)
    assert (received["line"], bytes(received["body"]), prelude.cookies) == (line, content, ["a=1", "b=2"])
    assert header in received["headers"]


@pytest.mark.parametrize("name", sorted(EVENTS))
@pytest.mark.usefixtures("context_loop")
def test_called_as_a_function_it_returns_exactly_what_mangum_returns(name: str) -> None:
    handler = StreamingMangum(mirror, lifespan="off")
    actual = handler(EVENTS[name], CONTEXT)
    asyncio.set_event_loop(loop := asyncio.new_event_loop())
    expected = Mangum(mirror, lifespan="off")(EVENTS[name], CONTEXT)
    loop.close()
    assert actual == expected
    assert actual["statusCode"] == 200


@pytest.mark.usefixtures("context_loop")
def test_called_as_a_function_it_encodes_binary_bodies_as_mangum_does() -> None:
    app = sends(start(200, (b"content-type", b"image/png")), body(b"\xff\0"))
    answer = StreamingMangum(app, lifespan="off")(EVENTS["url_documented"], CONTEXT)
    assert (answer["isBase64Encoded"], b64decode(answer["body"])) == (True, b"\xff\0")


async def on_event(event: dict[str, Any], context: Any) -> object:
    return {"did": event["chat"], "request_id": context.aws_request_id}


async def test_other_events_go_to_on_event_and_get_a_buffered_response() -> None:
    async with serving(StreamingMangum(mirror, on_event=on_event)) as (api, _):
        request = await (await api.deliver({"chat": "sweep"})).complete()
        request.answer(202)
    assert json.loads(request.body) == {"did": "sweep", "request_id": "r-1"}


@pytest.mark.usefixtures("context_loop")
def test_other_events_go_to_on_event_when_called_as_a_function_too() -> None:
    handler = StreamingMangum(mirror, on_event=on_event)
    assert handler({"chat": "sweep"}, CONTEXT) == {"did": "sweep", "request_id": "r-1"}


@pytest.mark.usefixtures("context_loop")
def test_without_on_event_any_other_event_is_an_error_that_names_its_keys() -> None:
    with pytest.raises(UnknownEventError, match="chat, detail"):
        StreamingMangum(mirror)({"detail": 1, "chat": 2}, CONTEXT)


async def test_a_handler_can_be_created_inside_a_running_event_loop() -> None:
    assert StreamingMangum(mirror).lifespan == "auto"
