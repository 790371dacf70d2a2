"""ASGI conformance of the runtime: scope, receive, send, chunks and misbehaving apps; and Starlette on top."""

import asyncio
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from lambda_src.dev.emulator.protocol import Prelude, split_prelude
from lambda_src.runtime.asgi import Receive, Scope, Send
from tests.runtime.apps import body, sends, start
from tests.runtime.scripted_api import http_event
from tests.runtime.serving import serving


async def respond(app: Any, event: object = None) -> tuple[Prelude, bytes]:
    """Send `app` an event; return the prelude and the body of its response, as the service would split them."""
    async with serving(app) as (api, _):
        request = await (await api.deliver(event)).complete()
        request.answer(202)
        await api.take("/next")  # the app has returned, and so has its background work
    assert request.trailers == {}
    parts = split_prelude(bytes(request.body))
    assert parts is not None
    return parts


async def test_the_scope_is_asgi_3_http_with_spec_version_2_4() -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await sends(start(), body(b"x"))(scope, receive, send)

    await respond(app, http_event("/a%20b", rawQueryString="q=1%202"))
    scope = scopes[0]
    assert (scope["type"], scope["asgi"]) == ("http", {"version": "3.0", "spec_version": "2.4"})
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/a b", b"/a%20b", b"q=1%202")


@pytest.mark.parametrize(
    ("path", "raw"),
    [("/%ff", b"/%ff"), ("/caf\u00e9 %ff", b"/caf%C3%A9%20%ff"), ("/\udcff", b"/%ED%B3%BF"), ("/%2F/a?", b"/%2F/a?")],
)
async def test_the_raw_path_is_what_was_sent_even_if_it_is_not_utf8(path: str, raw: bytes) -> None:
    """The app decides on the response; an error in the runtime would be a 502."""
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await sends(start(400), body(b"x"))(scope, receive, send)

    prelude, _ = await respond(app, http_event(path))
    assert (prelude.status, scopes[0]["raw_path"]) == (400, raw)


async def test_receive_gives_the_body_once_and_then_blocks() -> None:
    received: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        received.append(await receive())
        again = asyncio.ensure_future(receive())
        await asyncio.wait({again}, timeout=0.01)
        received.append(again.done())
        await sends(start(), body(b"x"))(scope, receive, send)
        received.append(await again)

    await respond(app, http_event(method="POST", body="text"))
    assert received == [
        {"type": "http.request", "body": b"text", "more_body": False},
        False,
        {"type": "http.disconnect"},
    ]


@pytest.mark.parametrize(("size", "count"), [(1, 1000), (1_000_000, 3), (10, 100_000)])
async def test_chunks_of_any_size_and_number_arrive_in_order(size: int, count: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        for n in range(count):
            await send(body(b"%d" % (n % 10) * size, more=True))
        await send(body())

    _, content = await respond(app)
    assert content == b"".join(b"%d" % (n % 10) * size for n in range(count))


async def test_a_body_may_be_any_bytes_like_object() -> None:
    assert (await respond(sends(start(), {"type": "http.response.body", "body": bytearray(b"x")})))[1] == b"x"


async def test_a_message_after_the_end_does_not_reach_the_client() -> None:
    assert (await respond(sends(start(), body(b"x"), body(b"y"))))[1] == b"x"


async def test_an_app_that_never_responds_is_stopped_at_its_deadline() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    async with serving(app, now_s=10.0) as (api, _):
        request = await (await api.deliver()).complete()
        request.answer(202)
    assert request.headers["lambda-runtime-function-error-type"] == "Function.DeadlineError"


# A framework: plain Starlette

background_runs: list[str] = []


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello", background=BackgroundTask(background_runs.append, "background"))


async def echo(request: Request) -> Response:
    return Response(await request.body())


async def stream(request: Request) -> Response:
    async def numbers() -> Any:
        for n in range(3):
            yield f"data: {n}\n\n"

    response = StreamingResponse(numbers(), media_type="text/event-stream")
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


async def fails(request: Request) -> Response:
    raise ValueError("no")


async def is_disconnected(request: Request) -> Response:
    return PlainTextResponse(str(await request.is_disconnected()))


starlette = Starlette(
    routes=[
        Route("/", hello),
        Route("/echo", echo, methods=["POST"]),
        Route("/stream", stream),
        Route("/fails", fails),
        Route("/disconnected", is_disconnected),
    ]
)


async def test_starlette_answers_and_runs_its_background_task() -> None:
    background_runs.clear()
    prelude, content = await respond(starlette)
    assert (prelude.headers, content, background_runs) == (
        {"content-type": "text/plain; charset=utf-8"},
        b"hello",
        ["background"],
    )


async def test_starlette_answers_head_without_a_body() -> None:
    prelude, content = await respond(starlette, http_event(method="HEAD"))
    assert (prelude.status, content) == (200, b"\n")


async def test_starlette_reads_a_body() -> None:
    assert (await respond(starlette, http_event("/echo", "POST", body="text")))[1] == b"text"


async def test_starlette_streams_and_sets_cookies() -> None:
    prelude, content = await respond(starlette, http_event("/stream"))
    assert content == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"
    assert prelude.cookies == ["a=1; Path=/; SameSite=lax", "b=2; Path=/; SameSite=lax"]


async def test_starlettes_500_reaches_the_client_although_starlette_raises_afterwards() -> None:
    prelude, content = await respond(starlette, http_event("/fails"))
    assert (prelude.status, content) == (500, b"Internal Server Error")


async def test_starlette_never_learns_that_the_client_disconnected() -> None:
    assert (await respond(starlette, http_event("/disconnected")))[1] == b"False"


async def test_starlette_answers_an_unknown_path_with_its_404() -> None:
    assert (await respond(starlette, http_event("/nowhere")))[0].status == 404
