"""POST .../response: the exact bytes of streamed responses, limits, backpressure and refusals by the service."""

import asyncio
import logging

import pytest

from lambda_src.runtime.adapter import StreamingMangum
from lambda_src.runtime.asgi import Receive, Scope, Send
from lambda_src.runtime.client import RuntimeClient
from lambda_src.runtime.connection import Connection
from lambda_src.runtime.protocol import Prelude
from lambda_src.runtime.worker import Worker
from tests.runtime.apps import Answers, body, sends, start
from tests.runtime.recorded import RecordedTransport, recorded
from tests.runtime.scripted_api import http_event
from tests.runtime.serving import ENVIRONMENT, serving

MIB = 1024 * 1024
HEAD = (
    b"POST /2018-06-01/runtime/invocation/r-1/response HTTP/1.1\r\n"
    b"Host: h:1\r\n"
    b"Lambda-Runtime-Function-Response-Mode: streaming\r\n"
    b"Content-Type: application/vnd.awslambda.http-integration-response\r\n"
    b"Transfer-Encoding: chunked\r\n"
    b"Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n"
    b"Lambda-Runtime-Invocation-Id: i-1\r\n"
    b"\r\n"
)
PRELUDE = Prelude(200, {"content-type": "text/plain"})


async def test_head_prelude_delimiter_and_first_bytes_are_sent_in_one_write() -> None:
    reply, writes = recorded()
    await reply.start(PRELUDE.encode(), b"data: 1\n\n", last=False)
    text = b'{"statusCode":200,"headers":{"content-type":"text/plain"},"cookies":[]}'
    assert writes == [HEAD + b"58\r\n" + text + b"\0" * 8 + b"data: 1\n\n" + b"\r\n"]


async def test_a_complete_response_is_sent_in_one_write() -> None:
    reply, writes = recorded()
    await reply.start(b"P", b"B", last=True)
    assert writes == [HEAD + b"2\r\nPB\r\n" + b"0\r\n\r\n"]


async def test_each_further_chunk_is_one_write_and_the_last_includes_the_end() -> None:
    reply, writes = recorded()
    await reply.start(b"P", b"B", last=False)
    await reply.write(b"more", last=False)
    await asyncio.sleep(0)  # data of one event loop iteration is sent in one write
    await reply.write(b"end", last=True)
    await asyncio.sleep(0)
    assert writes[1:] == [b"4\r\nmore\r\n", b"3\r\nend\r\n0\r\n\r\n"]


async def test_nagles_algorithm_is_off() -> None:
    options: list[tuple[int, ...]] = []
    transport = RecordedTransport()
    transport.setsockopt = lambda *option: options.append(option)  # type: ignore[method-assign]  # records calls
    Connection().connection_made(transport)
    assert options == [(6, 1, 1)]  # IPPROTO_TCP, TCP_NODELAY


async def test_the_response_starts_with_the_first_byte_of_the_body() -> None:
    app = sends(start(), body(b"", more=True), body(b"first", more=True), body(b"last"))
    async with serving(app) as (api, _):
        request = await (await api.deliver()).complete()
        request.answer(202)
    assert request.body == Prelude().encode() + b"firstlast"


@pytest.mark.parametrize(
    ("method", "status", "sent"),
    [
        ("GET", 200, b""),
        ("GET", 204, b""),
        ("GET", 304, b""),
        ("GET", 302, b""),
        ("HEAD", 200, b"x"),
        ("GET", 204, b"x"),
    ],
)
async def test_a_response_without_a_body_gets_one_byte_because_function_urls_hang_without_it(
    method: str, status: int, sent: bytes
) -> None:
    async with serving(sends(start(status), body(sent))) as (api, _):
        request = await (await api.deliver(http_event(method=method))).complete()
        request.answer(202)
    assert request.body == Prelude(status).encode() + b"\n"


async def test_the_invocation_id_is_echoed_if_next_had_one() -> None:
    async with serving(sends(start(), body(b"x"))) as (api, _):
        with_id = await api.deliver(invocation_id="i-7")
        with_id.answer(202)
        without = await api.deliver()
        without.answer(202)
    name = "lambda-runtime-invocation-id"
    assert (with_id.headers[name], name in without.headers) == ("i-7", False)


async def test_binary_bodies_are_sent_unchanged() -> None:
    data = bytes(range(256)) * 3
    async with serving(sends(start(), body(data[:100], more=True), body(data[100:]))) as (api, _):
        request = await (await api.deliver()).complete()
        request.answer(202)
    assert request.body == Prelude().encode() + data


async def test_a_prelude_over_16_kib_is_an_error_before_any_byte_is_sent() -> None:
    async with serving(sends(start(200, (b"x-big", b"x" * 16_384)), body(b"x"))) as (api, _):
        request = await (await api.deliver()).complete()
        request.answer(202)
    assert request.path.endswith("/error")
    assert b"Lambda allows 16384" in request.body


async def test_an_app_whose_headers_were_too_large_may_start_another_response() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send(start(200, (b"x-big", b"x" * 65_536)))
        except Exception:  # noqa: BLE001 - as error middleware does
            await send(start(500))
        await send(body(b"sorry"))

    async with serving(app) as (api, _):
        request = await (await api.deliver()).complete()
        request.answer(202)
    assert request.body == Prelude(500).encode() + b"sorry"


async def test_a_slow_reader_slows_the_app_down_and_memory_stays_flat() -> None:
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send(start())
        while sent < 14 * MIB:
            await send(body(b"x" * 65_536, more=True))
            sent += 65_536
        await send(body())

    read_on, ended = asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        lines = "Lambda-Runtime-Aws-Request-Id: r\r\nLambda-Runtime-Deadline-Ms: 99000\r\n"
        event = b'{"version":"2.0","headers":{},"requestContext":{"http":{"method":"GET","path":"/","sourceIp":""}}}'
        writer.write(f"HTTP/1.1 200 OK\r\n{lines}Content-Length: {len(event)}\r\n\r\n".encode() + event)
        await read_on.wait()  # reads nothing, as if the bandwidth were used up
        while not (await reader.read(1 << 20)).endswith(b"0\r\n\r\n"):
            pass
        writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        await reader.read()
        writer.close()
        await writer.wait_closed()
        ended.set()

    server = await asyncio.start_server(slow, "127.0.0.1", 0, limit=65_536)
    async with server:
        host, port = server.sockets[0].getsockname()
        client = RuntimeClient(f"{host}:{port}")
        worker = Worker(StreamingMangum(app), ENVIRONMENT, clock=lambda: 0.0)
        running = asyncio.create_task(worker.invoke(client, await client.next()))
        before = -1
        while before != sent:  # until the app is blocked, with the kernel's buffers and ours full
            before = sent
            for _ in range(20):
                await asyncio.sleep(0)
        assert sent < 8 * MIB
        read_on.set()
        await running
        client.close()
        await ended.wait()
    assert sent == 14 * MIB


async def test_a_buffered_response_over_the_limit_may_get_its_413_while_it_is_being_written() -> None:
    handler = Answers(lambda event, context: "x" * 10_000_000)
    async with serving(handler) as (api, _):
        request = await api.deliver()  # only the head; most of the body has not arrived
        request.answer(413, b'{"errorType":"RequestEntityTooLarge"}', [("Connection", "close")])
        (await (await api.deliver()).complete()).answer(202)  # the runtime keeps running


@pytest.mark.parametrize("refusal", [400, 403, 410, 413])
async def test_a_refused_response_is_logged_and_the_runtime_keeps_running(
    refusal: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(sends(start(), body(b"x"))) as (api, _):
        (await api.deliver()).answer(refusal, b'{"errorType":"Why"}')
        (await api.deliver()).answer(202)
    assert [r.__dict__["status"] for r in caplog.records if r.message == "runtime.answer_refused"] == [refusal]


async def log_of_broken_response(caplog: pytest.LogCaptureFixture, kind: str) -> list[logging.LogRecord]:
    """The runtime's log records when its streamed response is refused midstream with `kind`."""

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        while True:
            await send(body(b"x", more=True))
            await asyncio.sleep(0)

    caplog.set_level(logging.INFO, logger="lambda_src.runtime")
    async with serving(endless) as (api, _):
        request = await api.deliver()
        await request.has(b"x")
        request.answer(400, f'{{"errorType":"{kind}"}}'.encode())
        await api.take("/next")
    return [record for record in caplog.records if record.name.startswith("lambda_src.runtime")]


async def test_a_caller_who_disconnected_is_one_line_of_level_info(caplog: pytest.LogCaptureFixture) -> None:
    [record] = await log_of_broken_response(caplog, "TruncatedHTTPRequest")
    assert (record.levelname, record.message) == ("INFO", "runtime.caller_left")


async def test_a_response_that_is_refused_midstream_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    [record] = await log_of_broken_response(caplog, "InvalidRequestID")
    assert (record.levelname, record.message) == ("ERROR", "runtime.answer_refused")
    assert (vars(record)["error_type"], vars(record)["status"]) == ("RuntimeApiError", 400)
    assert "InvalidRequestID" in vars(record)["reason"]


async def test_a_500_for_a_response_ends_the_process() -> None:
    async with serving(sends(start(), body(b"x"))) as (api, _):
        (await api.deliver()).answer(500, b"{}")


async def test_the_runtime_does_not_enforce_the_services_limits() -> None:
    """The service has delivered the event, and itself refuses a response that is too large."""
    event = http_event(body="x" * 7 * MIB)

    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body((await receive())["body"]))

    async with serving(echo) as (api, _):
        request = await (await api.deliver(event)).complete()
        request.answer(202)
    assert len(request.body) > 7 * MIB
