"""lambda_src/dev/emulator/sandboxes/runtime_api.py: the emulated Runtime API, by raw requests, in both modes."""

import asyncio
import json

import pytest

from lambda_src.dev.emulator.protocol import BUFFERED_MAX_BYTES, ErrorReport, Prelude
from lambda_src.dev.emulator.sandboxes.states import ClassicStates, ManagedStates, States
from tests.dev.emulator.raw_runtime import NEXT, PRELUDE, post, served, streamed_response, until


async def test_next_carries_id_deadline_and_event() -> None:
    async with served() as (server, runtime):
        server.deliver("r-1", b'{"a":1}')
        status, headers, body = await runtime.send(NEXT)
    assert (status, headers["lambda-runtime-aws-request-id"], headers["lambda-runtime-deadline-ms"]) == (
        200,
        "r-1",
        "1",
    )
    assert (body, "lambda-runtime-aws-tenant-id" in headers) == (b'{"a":1}', False)


async def test_a_streamed_response_gets_a_202_and_is_released_by_the_following_next() -> None:
    async with served() as (server, runtime):
        _, collected = server.deliver("r-1")
        await runtime.send(NEXT)
        status, _, body = await runtime.send(streamed_response())
        assert (status, json.loads(body), server.released) == (202, {"status": "OK"}, [None])
        server.deliver("r-2")
        await runtime.send(NEXT)
        assert server.released == [None, "r-1"]
    assert (collected.chunks, collected.complete) == ([b"hi"], True)


async def test_a_second_next_before_the_response_returns_the_same_event() -> None:
    async with served() as (server, runtime):
        server.deliver("r-1")
        first, second = await runtime.send(NEXT), await runtime.send(NEXT)
    assert first == second


async def test_an_invalid_response_mode_is_a_400_and_then_next_is_a_403_until_the_reset() -> None:
    async with served() as (server, runtime):
        server.deliver("r-1")
        await runtime.send(NEXT)
        assert await runtime.error_of(streamed_response(mode=b"Streaming")) == (400, "InvalidFunctionResponseMode")
        again = await server.connect()
        assert [await again.error_of(NEXT), await again.error_of(NEXT)] == [(403, "InvalidStateTransition")] * 2
        again.writer.close()


async def test_a_response_to_another_request_id_is_a_400() -> None:
    async with served() as (server, runtime):
        server.deliver("r-1")
        await runtime.send(NEXT)
        assert await runtime.error_of(streamed_response("r-9")) == (400, "InvalidRequestID")


async def test_declared_trailers_carry_the_error_and_undeclared_ones_are_ignored() -> None:
    trailer = b"Lambda-Runtime-Function-Error-Type: Function.Xy\r\n"
    errors = []
    for data in (
        streamed_response(trailer=trailer),
        streamed_response(trailer=trailer).replace(b"trailer: ", b"x-trailer: "),
    ):
        async with served() as (server, runtime):
            delivery, _ = server.deliver("r-1")
            await runtime.send(NEXT)
            await runtime.send(data)
            errors.append(delivery.error)
    assert [error and error.kind for error in errors] == ["Function.Xy", None]


async def test_an_error_without_a_valid_type_becomes_unknown() -> None:
    kinds = []
    for header in ("Function.ValueError", "function.x", "Other.X"):
        async with served() as (server, runtime):
            _, collected = server.deliver("r-1")
            await runtime.send(NEXT)
            path = "/2018-06-01/runtime/invocation/r-1/error"
            body = b'{"errorMessage":"m","errorType":"t","stackTrace":[]}'
            assert (await runtime.send(post(path, body, f"lambda-runtime-function-error-type: {header}")))[0] == 202
            assert collected.report is not None
            kinds.append(collected.report.kind)
    assert kinds == ["Function.ValueError", "Function.Unknown", "Function.Unknown"]


@pytest.mark.parametrize(("states", "status"), [(ClassicStates(), 403), (ManagedStates(), 202)])
async def test_only_managed_instances_may_report_an_error_midstream(states: States, status: int) -> None:
    async with served(states) as (server, runtime):
        _, collected = server.deliver("r-1")
        await runtime.send(NEXT)
        runtime.writer.write(streamed_response()[:-5])  # without the final chunk
        await until(lambda: collected.chunks)
        other = await server.connect()
        error = post("/2018-06-01/runtime/invocation/r-1/error", b"{}")
        assert (await other.send(error))[0] == status
        other.writer.close()


async def test_next_during_a_response_is_a_403() -> None:
    async with served() as (server, runtime):
        _, collected = server.deliver("r-1")
        await runtime.send(NEXT)
        runtime.writer.write(streamed_response()[:-5])
        await until(lambda: collected.chunks)
        other = await server.connect()
        assert await other.error_of(NEXT) == (403, "InvalidStateTransition")
        other.writer.close()


async def test_a_truncated_response_is_reported_and_the_following_next_is_refused_once() -> None:
    async with served() as (server, runtime):
        delivery, _ = server.deliver("r-1")
        await runtime.send(NEXT)
        runtime.writer.write(streamed_response()[:-5])
        runtime.writer.close()
        await delivery.finished.wait()
        assert delivery.error is not None
        assert delivery.error.kind == "Runtime.TruncatedResponse"
        other = await server.connect()
        assert await other.error_of(NEXT) == (403, "InvalidStateTransition")
        server.deliver("r-2")
        assert (await other.send(NEXT))[0] == 200
        other.writer.close()


async def test_a_buffered_response_over_the_limit_is_a_413_before_it_is_read() -> None:
    async with served() as (server, runtime):
        server.deliver("r-1")
        await runtime.send(NEXT)
        path = "/2018-06-01/runtime/invocation/r-1/response"
        head_only = post(path, b"").replace(b"content-length: 0", b"content-length: %d" % (BUFFERED_MAX_BYTES + 1))
        status, headers, _ = await runtime.send(head_only)
    assert (status, headers["connection"]) == (413, "close")


async def test_a_buffered_response_of_exactly_the_limit_is_accepted() -> None:
    async with served() as (server, runtime):
        _, collected = server.deliver("r-1")
        await runtime.send(NEXT)
        body = b'"' + b"x" * (BUFFERED_MAX_BYTES - 2) + b'"'
        assert (await runtime.send(post("/2018-06-01/runtime/invocation/r-1/response", body)))[0] == 202
    assert collected.chunks == [body]


async def test_a_streamed_response_of_another_content_type_is_passed_on_as_bytes() -> None:
    async with served() as (server, runtime):
        _, collected = server.deliver("r-1")
        await runtime.send(NEXT)
        data = streamed_response().replace(b"application/vnd.awslambda.http-integration-response", b"text/plain")
        await runtime.send(data)
    assert (collected.chunks, collected.prelude) == ([PRELUDE + b"hi"], Prelude(200, {"content-type": "text/plain"}))


async def test_a_prelude_that_is_not_json_is_refused_and_the_caller_gets_an_error() -> None:
    async with served() as (server, runtime):
        _, collected = server.deliver("r-1")
        await runtime.send(NEXT)
        assert (await runtime.error_of(streamed_response().replace(b'{"statusCode"', b'["statusCode"')))[0] == 400
    assert collected.report is not None
    assert collected.report.kind == "Runtime.InvalidResponse"


async def test_managed_instances_send_absent_headers_as_empty_strings() -> None:
    async with served(ManagedStates()) as (server, runtime):
        server.deliver("r-1")
        _, headers, _ = await runtime.send(NEXT)
    assert headers["lambda-runtime-aws-tenant-id"] == ""


async def test_managed_instances_answer_a_response_after_its_deadline_with_410() -> None:
    async with served(ManagedStates()) as (server, runtime):
        delivery, _ = server.deliver("r-1")
        await runtime.send(NEXT)
        server.api.time_out(delivery)
        assert await runtime.error_of(streamed_response()) == (410, "InvokeTimeout")


async def test_an_invocation_is_not_lost_if_a_waiting_connection_closes() -> None:
    async with served() as (server, runtime):
        runtime.writer.write(NEXT)
        await until(lambda: server.released)
        runtime.writer.close()
        await runtime.writer.wait_closed()
        other = await server.connect()
        pending = asyncio.ensure_future(other.send(NEXT))
        await until(lambda: len(server.released) == 2)
        server.deliver("r-1")
        assert (await pending)[0] == 200
        other.writer.close()


async def test_an_init_error_is_accepted_and_reported() -> None:
    async with served() as (server, runtime):
        body = b'{"errorMessage":"m","errorType":"ImportError","stackTrace":["s"]}'
        header = "lambda-runtime-function-error-type: Runtime.ImportModuleError"
        assert (await runtime.send(post("/2018-06-01/runtime/init/error", body, header)))[0] == 202
    assert server.faults == [ErrorReport("Runtime.ImportModuleError", "ImportError", "m", ["s"])]


async def test_an_unknown_route_is_a_404() -> None:
    async with served() as (_, runtime):
        assert (await runtime.send(NEXT.replace(b"/next", b"/previous")))[0] == 404


async def test_an_extension_that_never_registered_may_not_wait_for_events() -> None:
    async with served() as (_, runtime):
        request = NEXT.replace(b"/2018-06-01/runtime/invocation/next", b"/2020-01-01/extension/event/next")
        assert (await runtime.send(request))[0] == 403


async def test_an_extension_may_not_register_after_the_first_next() -> None:
    async with served() as (server, runtime):
        server.deliver("r-1")
        await runtime.send(NEXT)
        assert (await runtime.send(post("/2020-01-01/extension/register", b'{"events":[]}')))[0] == 403


async def test_an_error_trailer_that_is_not_base64_keeps_its_type() -> None:
    async with served() as (server, runtime):
        delivery, _ = server.deliver("r-1")
        await runtime.send(NEXT)
        trailer = b"Lambda-Runtime-Function-Error-Type: Function.Xy\r\nLambda-Runtime-Function-Error-Body: {}\r\n"
        data = streamed_response(trailer=trailer).replace(
            b"trailer: ", b"trailer: Lambda-Runtime-Function-Error-Body, ", 1
        )
        assert (await runtime.send(data))[0] == 202
    assert delivery.error == ErrorReport("Function.Xy", "Unknown", "")


async def test_a_buffered_response_is_passed_on_unchanged_because_the_url_streams() -> None:
    body = b'{"statusCode":201,"body":"hi"}'
    async with served() as (server, runtime):
        _, collected = server.deliver("r-1")
        await runtime.send(NEXT)
        path = "/2018-06-01/runtime/invocation/r-1/response"
        assert (await runtime.send(post(path, body, "content-type: application/json")))[0] == 202
    assert (collected.chunks, collected.prelude) == ([body], Prelude(200, {"content-type": "application/json"}))


@pytest.mark.parametrize("endpoint", ["response", "error"])
@pytest.mark.parametrize(("echo", "status"), [("i-1", 202), ("i-0", 410), (None, 202)])
async def test_a_response_to_an_earlier_delivery_of_the_same_request_is_refused(
    echo: str | None, status: int, endpoint: str
) -> None:
    """A runtime that predates the header echoes none, and is accepted."""
    headers = [] if echo is None else [f"Lambda-Runtime-Invocation-Id: {echo}"]
    async with served() as (server, runtime):
        server.deliver("r-1", invocation_id="i-1")
        await runtime.send(NEXT)
        request = post(f"/2018-06-01/runtime/invocation/r-1/{endpoint}", b"{}", *headers)
        assert (await runtime.send(request))[0] == status


async def test_managed_instances_refuse_the_rest_of_a_response_when_its_caller_disconnects() -> None:
    async with served(ManagedStates()) as (server, runtime):
        delivery, collected = server.deliver("r-1")
        await runtime.send(NEXT)
        pending = asyncio.ensure_future(runtime.error_of(streamed_response()[:-5]))  # without the final chunk
        await until(lambda: collected.chunks)
        server.api.abandon(delivery)
        assert await pending == (400, "TruncatedHTTPRequest")


async def test_managed_instances_refuse_the_rest_of_a_response_at_its_deadline() -> None:
    async with served(ManagedStates()) as (server, runtime):
        delivery, collected = server.deliver("r-1")
        await runtime.send(NEXT)
        pending = asyncio.ensure_future(runtime.error_of(streamed_response()[:-5]))
        await until(lambda: collected.chunks)
        server.api.time_out(delivery)
        assert await pending == (410, "InvokeTimeout")


async def test_managed_instances_refuse_a_response_whose_caller_already_disconnected() -> None:
    async with served(ManagedStates()) as (server, runtime):
        delivery, _ = server.deliver("r-1")
        await runtime.send(NEXT)
        server.api.abandon(delivery)
        assert await runtime.error_of(streamed_response()) == (400, "InvalidRequestID")


async def test_an_invocation_whose_caller_disconnected_before_delivery_is_never_delivered() -> None:
    async with served(ManagedStates()) as (server, runtime):
        delivery, _ = server.deliver("r-1")
        await delivery.cut(ErrorReport("Sandbox.Failure"))
        server.deliver("r-2")
        _, headers, _ = await runtime.send(NEXT)
    assert headers["lambda-runtime-aws-request-id"] == "r-2"


async def test_a_runtime_may_wait_for_100_continue_as_curl_does() -> None:
    async with served() as (server, runtime):
        _, collected = server.deliver("r-1")
        await runtime.send(NEXT)
        request = post("/2018-06-01/runtime/invocation/r-1/response", b'"hi"', "expect: 100-continue")
        head, _, body = request.partition(b"\r\n\r\n")
        runtime.writer.write(head + b"\r\n\r\n")
        assert (await runtime.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        assert (await runtime.send(body))[0] == 202
    assert collected.chunks == [b'"hi"']
