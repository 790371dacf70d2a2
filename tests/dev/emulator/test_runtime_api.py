"""The emulated Runtime API as a foreign runtime would meet it: raw requests, every refusal, both machines."""

import asyncio
import json

import pytest

from lambda_src.dev.emulator.protocol import BUFFERED_MAX_BYTES, ErrorReport, Prelude
from lambda_src.dev.emulator.states import ClassicStates, ManagedStates, States
from tests.dev.emulator.foreign import NEXT, PRELUDE, answer, served, until, whole


async def test_next_carries_id_deadline_and_event() -> None:
    async with served() as (one, runtime):
        one.deliver("r-1", b'{"a":1}')
        status, headers, body = await runtime.ask(NEXT)
    assert (status, headers["lambda-runtime-aws-request-id"], headers["lambda-runtime-deadline-ms"]) == (
        200,
        "r-1",
        "1",
    )
    assert (body, "lambda-runtime-aws-tenant-id" in headers) == (b'{"a":1}', False)


async def test_a_streamed_answer_is_taken_with_202_and_released_by_the_following_next() -> None:
    async with served() as (one, runtime):
        _, collected = one.deliver("r-1")
        await runtime.ask(NEXT)
        status, _, body = await runtime.ask(answer())
        assert (status, json.loads(body), one.released) == (202, {"status": "OK"}, [None])
        one.deliver("r-2")
        await runtime.ask(NEXT)
        assert one.released == [None, "r-1"]
    assert (collected.chunks, collected.complete) == ([b"hi"], True)


async def test_a_second_next_before_the_answer_brings_the_same_event() -> None:
    async with served() as (one, runtime):
        one.deliver("r-1")
        first, second = await runtime.ask(NEXT), await runtime.ask(NEXT)
    assert first == second


async def test_a_mode_that_does_not_exist_is_400_and_next_403_until_the_reset() -> None:
    async with served() as (one, runtime):
        one.deliver("r-1")
        await runtime.ask(NEXT)
        assert await runtime.error_of(answer(mode=b"Streaming")) == (400, "InvalidFunctionResponseMode")
        again = await one.connect()
        assert [await again.error_of(NEXT), await again.error_of(NEXT)] == [(403, "InvalidStateTransition")] * 2
        again.writer.close()


async def test_another_request_id_is_400() -> None:
    async with served() as (one, runtime):
        one.deliver("r-1")
        await runtime.ask(NEXT)
        assert await runtime.error_of(answer("r-9")) == (400, "InvalidRequestID")


async def test_declared_trailers_are_the_error_and_undeclared_ones_nothing() -> None:
    trailer = b"Lambda-Runtime-Function-Error-Type: Function.Xy\r\n"
    errors = []
    for data in (answer(trailer=trailer), answer(trailer=trailer).replace(b"trailer: ", b"x-trailer: ")):
        async with served() as (one, runtime):
            delivery, _ = one.deliver("r-1")
            await runtime.ask(NEXT)
            await runtime.ask(data)
            errors.append(delivery.error)
    assert [error and error.kind for error in errors] == ["Function.Xy", None]


async def test_an_error_names_its_type_or_becomes_unknown() -> None:
    kinds = []
    for header in ("Function.ValueError", "function.x", "Other.X"):
        async with served() as (one, runtime):
            _, collected = one.deliver("r-1")
            await runtime.ask(NEXT)
            path = "/2018-06-01/runtime/invocation/r-1/error"
            body = b'{"errorMessage":"m","errorType":"t","stackTrace":[]}'
            assert (await runtime.ask(whole(path, body, f"lambda-runtime-function-error-type: {header}")))[0] == 202
            assert collected.report is not None
            kinds.append(collected.report.kind)
    assert kinds == ["Function.ValueError", "Function.Unknown", "Function.Unknown"]


@pytest.mark.parametrize(("states", "status"), [(ClassicStates(), 403), (ManagedStates(), 202)])
async def test_an_error_in_the_middle_of_an_answer_is_for_managed_instances_only(states: States, status: int) -> None:
    async with served(states) as (one, runtime):
        _, collected = one.deliver("r-1")
        await runtime.ask(NEXT)
        runtime.writer.write(answer()[:-5])  # the body came, the end did not
        await until(lambda: collected.chunks)
        other = await one.connect()
        error = whole("/2018-06-01/runtime/invocation/r-1/error", b"{}")
        assert (await other.ask(error))[0] == status
        other.writer.close()


async def test_next_during_an_answer_is_403() -> None:
    async with served() as (one, runtime):
        _, collected = one.deliver("r-1")
        await runtime.ask(NEXT)
        runtime.writer.write(answer()[:-5])
        await until(lambda: collected.chunks)
        other = await one.connect()
        assert await other.error_of(NEXT) == (403, "InvalidStateTransition")
        other.writer.close()


async def test_an_answer_that_breaks_off_is_cut_and_the_next_next_refused_once() -> None:
    async with served() as (one, runtime):
        delivery, _ = one.deliver("r-1")
        await runtime.ask(NEXT)
        runtime.writer.write(answer()[:-5])
        runtime.writer.close()
        await delivery.finished.wait()
        assert delivery.error is not None
        assert delivery.error.kind == "Runtime.TruncatedResponse"
        other = await one.connect()
        assert await other.error_of(NEXT) == (403, "InvalidStateTransition")
        one.deliver("r-2")
        assert (await other.ask(NEXT))[0] == 200
        other.writer.close()


async def test_a_buffered_answer_over_the_limit_is_413_before_it_was_read() -> None:
    async with served() as (one, runtime):
        one.deliver("r-1")
        await runtime.ask(NEXT)
        path = "/2018-06-01/runtime/invocation/r-1/response"
        head_only = whole(path, b"").replace(b"content-length: 0", b"content-length: %d" % (BUFFERED_MAX_BYTES + 1))
        status, headers, _ = await runtime.ask(head_only)
    assert (status, headers["connection"]) == (413, "close")


async def test_a_buffered_answer_of_exactly_the_limit_is_taken() -> None:
    async with served() as (one, runtime):
        _, collected = one.deliver("r-1")
        await runtime.ask(NEXT)
        body = b'"' + b"x" * (BUFFERED_MAX_BYTES - 2) + b'"'
        assert (await runtime.ask(whole("/2018-06-01/runtime/invocation/r-1/response", body)))[0] == 202
    assert collected.chunks == [body]


async def test_a_streamed_answer_that_is_no_http_response_is_its_bytes() -> None:
    async with served() as (one, runtime):
        _, collected = one.deliver("r-1")
        await runtime.ask(NEXT)
        data = answer().replace(b"application/vnd.awslambda.http-integration-response", b"text/plain")
        await runtime.ask(data)
    assert (collected.chunks, collected.prelude) == ([PRELUDE + b"hi"], Prelude(200, {"content-type": "text/plain"}))


async def test_a_prelude_that_is_no_json_is_refused_and_the_caller_gets_an_error() -> None:
    async with served() as (one, runtime):
        _, collected = one.deliver("r-1")
        await runtime.ask(NEXT)
        assert (await runtime.error_of(answer().replace(b'{"statusCode"', b'["statusCode"')))[0] == 400
    assert collected.report is not None
    assert collected.report.kind == "Runtime.InvalidResponse"


async def test_managed_instances_write_absent_headers_as_empty_strings() -> None:
    async with served(ManagedStates()) as (one, runtime):
        one.deliver("r-1")
        _, headers, _ = await runtime.ask(NEXT)
    assert headers["lambda-runtime-aws-tenant-id"] == ""


async def test_managed_instances_say_410_to_an_answer_after_its_deadline() -> None:
    async with served(ManagedStates()) as (one, runtime):
        delivery, _ = one.deliver("r-1")
        await runtime.ask(NEXT)
        one.api.time_out(delivery)
        assert await runtime.error_of(answer()) == (410, "InvokeTimeout")


async def test_an_invocation_is_not_lost_on_a_connection_that_closed_while_it_waited() -> None:
    async with served() as (one, runtime):
        runtime.writer.write(NEXT)
        await until(lambda: one.released)
        runtime.writer.close()
        await runtime.writer.wait_closed()
        other = await one.connect()
        asking = asyncio.ensure_future(other.ask(NEXT))
        await until(lambda: len(one.released) == 2)
        one.deliver("r-1")
        assert (await asking)[0] == 200
        other.writer.close()


async def test_an_init_error_is_told_and_taken() -> None:
    async with served() as (one, runtime):
        body = b'{"errorMessage":"m","errorType":"ImportError","stackTrace":["s"]}'
        header = "lambda-runtime-function-error-type: Runtime.ImportModuleError"
        assert (await runtime.ask(whole("/2018-06-01/runtime/init/error", body, header)))[0] == 202
    assert one.faults == [ErrorReport("Runtime.ImportModuleError", "ImportError", "m", ["s"])]


async def test_what_is_no_route_is_404() -> None:
    async with served() as (_, runtime):
        assert (await runtime.ask(NEXT.replace(b"/next", b"/previous")))[0] == 404


async def test_an_extension_that_never_registered_may_not_wait() -> None:
    async with served() as (_, runtime):
        ask = NEXT.replace(b"/2018-06-01/runtime/invocation/next", b"/2020-01-01/extension/event/next")
        assert (await runtime.ask(ask))[0] == 403


async def test_an_extension_may_not_register_once_the_runtime_asked_for_work() -> None:
    async with served() as (one, runtime):
        one.deliver("r-1")
        await runtime.ask(NEXT)
        assert (await runtime.ask(whole("/2020-01-01/extension/register", b'{"events":[]}')))[0] == 403


async def test_an_error_trailer_that_is_not_base64_keeps_its_type() -> None:
    async with served() as (one, runtime):
        delivery, _ = one.deliver("r-1")
        await runtime.ask(NEXT)
        trailer = b"Lambda-Runtime-Function-Error-Type: Function.Xy\r\nLambda-Runtime-Function-Error-Body: {}\r\n"
        data = answer(trailer=trailer).replace(b"trailer: ", b"trailer: Lambda-Runtime-Function-Error-Body, ", 1)
        assert (await runtime.ask(data))[0] == 202
    assert delivery.error == ErrorReport("Function.Xy", "Unknown", "")


async def test_a_buffered_response_is_passed_on_as_it_is_since_the_url_streams() -> None:
    body = b'{"statusCode":201,"body":"hi"}'
    async with served() as (one, runtime):
        _, collected = one.deliver("r-1")
        await runtime.ask(NEXT)
        path = "/2018-06-01/runtime/invocation/r-1/response"
        assert (await runtime.ask(whole(path, body, "content-type: application/json")))[0] == 202
    assert (collected.chunks, collected.prelude) == ([body], Prelude(200, {"content-type": "application/json"}))


@pytest.mark.parametrize("what", ["response", "error"])
@pytest.mark.parametrize(("echo", "status"), [("i-1", 202), ("i-0", 410), (None, 202)])
async def test_a_response_to_an_earlier_delivery_of_the_same_request_is_refused(
    echo: str | None, status: int, what: str
) -> None:
    """A client that is older than the header echoes none, and is served."""
    headers = [] if echo is None else [f"Lambda-Runtime-Invocation-Id: {echo}"]
    async with served() as (one, runtime):
        one.deliver("r-1", invocation_id="i-1")
        await runtime.ask(NEXT)
        assert (await runtime.ask(whole(f"/2018-06-01/runtime/invocation/r-1/{what}", b"{}", *headers)))[0] == status


async def test_managed_instances_refuse_a_response_on_its_way_when_its_caller_leaves() -> None:
    async with served(ManagedStates()) as (one, runtime):
        delivery, collected = one.deliver("r-1")
        await runtime.ask(NEXT)
        asking = asyncio.ensure_future(runtime.error_of(answer()[:-5]))  # the body came, the end did not
        await until(lambda: collected.chunks)
        one.api.abandon(delivery)
        assert await asking == (400, "TruncatedHTTPRequest")


async def test_managed_instances_refuse_a_response_on_its_way_at_its_deadline() -> None:
    async with served(ManagedStates()) as (one, runtime):
        delivery, collected = one.deliver("r-1")
        await runtime.ask(NEXT)
        asking = asyncio.ensure_future(runtime.error_of(answer()[:-5]))
        await until(lambda: collected.chunks)
        one.api.time_out(delivery)
        assert await asking == (410, "InvokeTimeout")


async def test_managed_instances_know_no_request_whose_caller_left_before_the_response() -> None:
    async with served(ManagedStates()) as (one, runtime):
        delivery, _ = one.deliver("r-1")
        await runtime.ask(NEXT)
        one.api.abandon(delivery)
        assert await runtime.error_of(answer()) == (400, "InvalidRequestID")


async def test_an_invocation_whose_caller_left_before_it_was_taken_is_never_delivered() -> None:
    async with served(ManagedStates()) as (one, runtime):
        delivery, _ = one.deliver("r-1")
        await delivery.cut(ErrorReport("Sandbox.Failure"))
        one.deliver("r-2")
        _, headers, _ = await runtime.ask(NEXT)
    assert headers["lambda-runtime-aws-request-id"] == "r-2"


async def test_a_large_body_may_wait_for_100_continue_as_curl_does() -> None:
    async with served() as (one, runtime):
        _, collected = one.deliver("r-1")
        await runtime.ask(NEXT)
        request = whole("/2018-06-01/runtime/invocation/r-1/response", b'"hi"', "expect: 100-continue")
        head, _, body = request.partition(b"\r\n\r\n")
        runtime.writer.write(head + b"\r\n\r\n")
        assert (await runtime.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        assert (await runtime.ask(body))[0] == 202
    assert collected.chunks == [b'"hi"']
