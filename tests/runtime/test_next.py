"""GET /runtime/invocation/next: connections, retries, and the invocation context that its headers become."""

import asyncio
import json

import pytest

from lambda_src.runtime.asgi import Receive, Scope, Send
from lambda_src.runtime.client import RuntimeClient
from lambda_src.runtime.context import LambdaContext
from lambda_src.runtime.errors import RuntimeApiError
from tests.runtime.apps import body, sends, start
from tests.runtime.scripted_api import http_event, scripted_api
from tests.runtime.serving import no_pause, serving

HELLO = sends(start(), body(b"hello"))


async def test_next_is_a_get_on_a_kept_alive_connection() -> None:
    async with serving(HELLO) as (api, _):
        for _ in range(3):
            (await (await api.deliver()).complete()).answer(202)
        next_request = await api.take("/2018-06-01/runtime/invocation/next")
    assert (next_request.method, next_request.headers, api.connections) == ("GET", {"host": api.address}, 1)


async def test_the_headers_of_next_become_the_context_in_the_scope() -> None:
    contexts: list[LambdaContext] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        contexts.append(scope["aws.context"])
        await HELLO(scope, receive, send)

    async with serving(app, now_s=4.0) as (api, _):
        (await api.deliver(function_arn="arn", trace_id="Root=1")).answer(202)
        await api.take("/next")
    context = contexts[0]
    assert (context.aws_request_id, context.deadline_ms, context.invoked_function_arn) == ("r-1", 10_000, "arn")
    assert (context.get_remaining_time_in_millis(), context.trace_id, context.function_name) == (6_000, "Root=1", "f")


async def test_next_is_retried_on_a_new_connection_if_the_old_one_went_stale() -> None:
    async with serving(HELLO) as (api, _):
        (await api.take("/next")).drop()
        (await api.deliver()).answer(202)
        assert api.connections == 2


async def test_next_is_retried_after_a_403() -> None:
    async with serving(HELLO) as (api, _):
        (await api.take("/next")).answer(403, b'{"errorType":"InvalidStateTransition"}')
        assert (await api.deliver()).path.endswith("/response")


async def test_the_pauses_between_retries_double_from_100_ms() -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async with scripted_api() as api:
        pending = asyncio.create_task(RuntimeClient(api.address, pause=pause).next())
        for _ in range(5):
            (await api.take("/next")).answer(403, b"{}")
        with pytest.raises(RuntimeApiError, match="403"):
            await pending
    assert pauses == [0.1, 0.2, 0.4, 0.8]


async def test_a_500_from_next_ends_the_process() -> None:
    async with scripted_api() as api:
        pending = asyncio.create_task(RuntimeClient(api.address, pause=no_pause).next())
        (await api.take("/next")).answer(500, b"{}")
        with pytest.raises(RuntimeApiError, match="500"):
            await pending


async def test_an_event_may_be_chunked_as_go_sends_bodies_over_2_kb() -> None:
    async with serving(HELLO) as (api, _):
        (await api.take("/next")).answer_raw(
            b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: r-9\r\nLambda-Runtime-Deadline-Ms: 9999\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"
        )
        assert (await api.take()).path.endswith("/r-9/error")  # {} is not an HTTP event, but it was read


async def test_an_http_1_0_server_gets_a_new_connection_for_each_request() -> None:
    async with serving(HELLO) as (api, _):
        event = json.dumps(http_event()).encode()
        (await api.take("/next")).answer_raw(
            b"HTTP/1.0 200 OK\r\nLambda-Runtime-Aws-Request-Id: r\r\nContent-Length: %d\r\n\r\n" % len(event) + event
        )
        (await (await api.take("/response")).complete()).answer(202)
        assert api.connections == 2


async def test_work_after_the_response_delays_next_but_not_the_response() -> None:
    background = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await HELLO(scope, receive, send)
        await background.wait()

    async with serving(app) as (api, _):
        response = await (await api.deliver(http_event())).complete()
        assert response.ended
        response.answer(202)
        background.set()
        await api.take("/next")
