"""lambda_src/dev/emulator/url/front.py: the emulated function URL over HTTP: events, body limits, keep-alive, CORS."""

import asyncio
import io
import json

import pytest

from lambda_src.dev.__main__ import laptop
from lambda_src.dev.emulator import Cors, Emulator, Switches
from lambda_src.dev.emulator.protocol import EVENT_MAX_BYTES
from lambda_src.dev.emulator.url.cors import headers_for
from lambda_src.dev.emulator.url.events import Request
from tests.dev.emulator.client import get, open_stream, request

HANDLER = "tests.dev.emulator.apps.handler"
CORS = Cors(allow_origins=("https://chat.example",), allow_headers=("content-type",), max_age_s=60)


@pytest.fixture
async def url() -> object:
    async with Emulator(HANDLER, output=io.StringIO()) as emulator:
        yield emulator.url


async def test_each_cookie_has_its_own_set_cookie_header(url: str) -> None:
    reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
    writer.write(b"GET /headers HTTP/1.1\r\nhost: x\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.count(b"set-cookie: ") == 2
    writer.close()


async def test_the_event_has_payload_format_2_0(url: str) -> None:
    answer = await request(
        url + "/event?a=1&a=2&b=", "POST", headers=[("Cookie", "c=1; d=2"), ("X-A", "1"), ("x-a", "2")], body=b"\xff"
    )
    event = json.loads(answer.body)
    assert (event["version"], event["rawPath"], event["rawQueryString"]) == ("2.0", "/event", "a=1&a=2&b=")
    assert (event["cookies"], event["headers"]["x-a"]) == (["c=1", "d=2"], "1,2")
    assert (event["body"], event["isBase64Encoded"]) == ("/w==", True)
    assert event["queryStringParameters"] == {"a": "1,2", "b": ""}
    assert event["requestContext"]["http"]["method"] == "POST"


async def test_a_text_body_is_not_base64_encoded(url: str) -> None:
    answer = await request(url + "/event", "POST", headers=[("content-type", "application/json")], body=b"{}")
    assert (json.loads(answer.body)["body"], json.loads(answer.body)["isBase64Encoded"]) == ("{}", False)


async def test_a_body_over_6_mb_is_a_413_that_the_function_never_sees(url: str) -> None:
    answer = await request(url + "/echo", "POST", body=b"x" * (EVENT_MAX_BYTES + 1))
    assert answer.status == 413


async def test_an_event_over_6_mb_is_a_413_too(url: str) -> None:
    answer = await request(url + "/echo", "POST", body=b"x" * (EVENT_MAX_BYTES - 1000))  # 8 MB in base64
    assert answer.status == 413


async def test_a_client_that_waits_for_100_continue_gets_it(url: str) -> None:
    reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
    writer.write(b"POST /echo HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"hi")
    assert (await reader.readuntil(b"0\r\n\r\n")).endswith(b"\r\nhi\r\n0\r\n\r\n")
    writer.close()


async def test_the_response_to_head_has_headers_and_no_body(url: str) -> None:
    answer = await request(url, "HEAD")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/plain")


async def test_a_connection_is_kept_alive_for_the_next_request(url: str) -> None:
    reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
    for _ in range(2):
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await reader.readuntil(b"0\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
    writer.close()


async def test_the_function_does_not_learn_that_its_client_disconnected() -> None:
    output = io.StringIO()
    async with Emulator(HANDLER, switches=Switches(processes=2), output=output) as emulator:
        async with open_stream(emulator.url + "/steps") as stream:
            await stream.chunk()
            (pid,) = emulator.pids
        await get(emulator.url + f"/step?{pid}")  # a second process, because the first is still busy
        assert len(emulator.pids) == 2
    assert output.getvalue() == ""


def request_from(origin: str) -> Request:
    """A request from a page of that origin."""
    return Request(method="POST", target="/chatkit", headers=(("origin", origin),), body=b"{}")


async def test_the_function_url_answers_a_preflight_itself() -> None:
    preflight = [("Origin", "https://chat.example"), ("Access-Control-Request-Method", "POST")]
    async with Emulator(HANDLER, switches=Switches(cors=CORS), output=io.StringIO()) as emulator:
        answer = await request(emulator.url, "OPTIONS", headers=preflight)
        assert emulator.pids == []  # no function ran
    assert answer.headers["access-control-allow-origin"] == "https://chat.example"
    assert (answer.headers["access-control-allow-headers"], answer.headers["access-control-max-age"]) == (
        "content-type",
        "60",
    )


@pytest.mark.parametrize("origin", ["http://localhost:5173", "http://localhost", "http://localhost:80"])
def test_an_allowed_origin_may_have_a_wildcard_port(origin: str) -> None:
    assert headers_for(laptop(["http://localhost:*"]), request_from(origin))["access-control-allow-origin"] == origin


@pytest.mark.parametrize(
    "origin", ["http://localhost.evil.example", "http://localhost:80.evil.example", "http://evil.example:80",
               "http://localhost:", "null", "http://LOCALHOST:80"],
)  # fmt: skip
def test_a_page_of_another_origin_is_not_allowed(origin: str) -> None:
    assert headers_for(laptop(["http://localhost:*"]), request_from(origin)) == {}
    assert headers_for(laptop([]), request_from(origin)) == {}


async def test_a_request_that_is_not_admitted_is_a_403_and_starts_no_process() -> None:
    async with Emulator(HANDLER, output=io.StringIO(), admit=lambda incoming: incoming.header("x-why")) as emulator:
        answer = await request(emulator.url, headers=[("X-Why", "Not you.")])
        assert (answer.status, answer.body) == (403, b'{"Message": "Not you."}')
        assert emulator.pids == []
        assert (await request(emulator.url)).status == 200


@pytest.mark.parametrize(
    ("origin", "allowed"), [("https://chat.example", "https://chat.example"), ("https://evil.example", None)]
)
async def test_a_response_names_the_origin_only_if_it_is_allowed(origin: str, allowed: str | None) -> None:
    async with Emulator(HANDLER, switches=Switches(cors=CORS), output=io.StringIO()) as emulator:
        answer = await request(emulator.url, headers=[("Origin", origin)])
    assert answer.headers.get("access-control-allow-origin") == allowed
