"""Error reports of the runtime: POST .../error, trailers, the X-Ray cause, invalid events, apps that break ASGI."""

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from lambda_src.runtime.asgi import App, Receive, Scope, Send
from lambda_src.runtime.context import LambdaContext
from lambda_src.runtime.errors import report_of
from lambda_src.runtime.handler import StreamingHandler
from lambda_src.runtime.reply import Reply
from tests.runtime.apps import body, sends, start
from tests.runtime.scripted_api import Request, http_event
from tests.runtime.serving import serving

HELLO = sends(start(), body(b"hello"))


async def raises(scope: Scope, receive: Receive, send: Send) -> None:
    raise KeyError("k")


async def raises_midstream(scope: Scope, receive: Receive, send: Send) -> None:
    await send(start())
    await send(body(b"one", more=True))
    raise KeyError("k")


async def test_an_error_before_the_first_byte_goes_to_the_error_path() -> None:
    async with serving(raises) as (api, _):
        request = await (await api.deliver(invocation_id="i-1")).complete()
        request.answer(202)
    report = json.loads(request.body)
    assert request.path == "/2018-06-01/runtime/invocation/r-1/error"
    assert request.headers["lambda-runtime-function-error-type"] == "Function.KeyError"
    assert request.headers["lambda-runtime-invocation-id"] == "i-1"
    assert (report["errorType"], report["errorMessage"], report["requestId"]) == ("KeyError", "'k'", "r-1")
    assert 'raise KeyError("k")' in report["stackTrace"][-1]


def xray_cause(request: Request) -> dict[str, Any]:
    """The error cause that the runtime sends to X-Ray."""
    cause: dict[str, Any] = json.loads(request.headers["lambda-runtime-function-xray-error-cause"])
    return cause


async def test_x_ray_gets_the_location_of_an_error_but_not_the_apps_message() -> None:
    async with serving(raises) as (api, _):
        (request := await api.deliver()).answer(202)
    cause = xray_cause(request)
    [exception] = cause["exceptions"]
    assert (exception["type"], exception["message"]) == ("KeyError", "")
    assert (exception["stack"][-1]["path"], exception["stack"][-1]["label"]) == (__file__, "raises")
    assert exception["stack"][-1]["line"] == raises.__code__.co_firstlineno + 1
    assert (cause["working_directory"], __file__ in cause["paths"]) == (str(Path.cwd()), True)


async def test_x_ray_gets_the_message_of_the_runtimes_own_errors() -> None:
    async with serving(sends()) as (api, _):
        (request := await api.deliver()).answer(202)
    [exception] = xray_cause(request)["exceptions"]
    assert exception["message"] == "The app returned before its answer was complete."


async def test_an_error_between_start_and_body_goes_to_the_error_path() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        raise KeyError("k")

    async with serving(app) as (api, _):
        (request := await api.deliver()).answer(202)
    assert request.path.endswith("/error")


async def test_an_error_after_the_first_byte_is_sent_in_the_trailers() -> None:
    async with serving(raises_midstream) as (api, _):
        request = await (await api.deliver()).complete()
        request.answer(202)
    assert request.trailers["lambda-runtime-function-error-type"] == "Function.KeyError"
    assert json.loads(b64decode(request.trailers["lambda-runtime-function-error-body"]))["errorMessage"] == "'k'"


async def test_an_error_after_a_complete_response_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await HELLO(scope, receive, send)
        raise KeyError("k")

    async with serving(app) as (api, _):
        request = await (await api.deliver()).complete()
        request.answer(202)
        await api.take("/next")
    assert (request.trailers, request.ended) == ({}, True)
    assert "runtime.invocation_failed" in caplog.messages


async def test_the_log_names_an_apps_exception_but_not_its_message(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("what " + "a person wrote")  # concatenated, or the source line would contain it

    async with serving(app) as (api, _):
        (await api.deliver()).answer(202)
        await api.take("/next")
    logged = str([vars(record) for record in caplog.records])
    assert "'error_type': 'ValueError'" in logged
    assert "a person wrote" not in logged.replace('"a person wrote"', "")


@pytest.mark.parametrize(
    ("name", "kind"), [("KeyError", "Function.KeyError"), ("_E2e", "Function.Ee"), ("http_error", "Function.Httperror")]
)
def test_an_error_type_has_the_shape_that_the_service_accepts(name: str, kind: str) -> None:
    assert report_of(type(name, (Exception,), {})()).kind == kind


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (b"{", "EventError: The event is not JSON"),
        (b"\xff", "EventError: The event is not JSON"),
        ({"chat": "sweep"}, "UnknownEventError: This event is not an HTTP request"),
        ([1], "UnknownEventError: This event is not an HTTP request"),
        (b"null", "UnknownEventError: This event is not an HTTP request"),
        ({"version": "2.0", "requestContext": {}}, "EventError: The HTTP event cannot be read"),
        ({"version": "2.0", "requestContext": None}, "UnknownEventError: This event is not an HTTP request"),
        (http_event(body="%%%", isBase64Encoded=True), "EventError: The HTTP event cannot be read"),
        (http_event(body="YQ", isBase64Encoded=True), "EventError: The HTTP event cannot be read"),
        (http_event(headers={"x": "\ud800"}), "EventError: The HTTP event cannot be read"),
        (http_event(headers={"x": 1}), "EventError: The HTTP event cannot be read"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_an_invalid_event_is_a_clear_error_and_the_runtime_keeps_running(event: object, expected: str) -> None:
    async with serving(HELLO) as (api, _):
        request = await (await api.deliver(event)).complete()
        request.answer(202)
        (await api.deliver()).answer(202)
    report = json.loads(request.body)
    assert f"{report['errorType']}: {report['errorMessage']}".startswith(expected)


async def test_an_event_with_64_kb_of_headers_is_served() -> None:
    async with serving(HELLO) as (api, _):
        request = await (await api.deliver(http_event(headers={f"x-{n}": "v" * 1000 for n in range(65)}))).complete()
        request.answer(202)
    assert request.body.endswith(b"hello")


class Silent(StreamingHandler):
    """A handler that never replies."""

    async def stream(self, event: object, context: LambdaContext, reply: Reply) -> None: ...


async def test_a_handler_that_never_replies_is_a_clear_error() -> None:
    async with serving(Silent()) as (api, _):
        request = await (await api.deliver()).complete()
        request.answer(202)
        await api.take("/next")
    assert json.loads(request.body)["errorMessage"] == "The app returned before its answer was complete."


@pytest.mark.parametrize(
    ("app", "expected"),
    [
        (sends(), "The app returned before its answer was complete."),
        (sends(start()), "The app returned before its answer was complete."),
        (sends(body(b"x")), "The app sent 'http.response.body' in state REQUEST."),
        (sends(start(), start()), "The app sent 'http.response.start' in state STARTED."),
        (sends({"type": "websocket.accept"}), "The app sent 'websocket.accept' in state REQUEST."),
    ],
    ids=["nothing", "no body", "body first", "two starts", "websocket"],
)
async def test_an_app_that_breaks_asgi_is_a_clear_error(app: App, expected: str) -> None:
    async with serving(app) as (api, _):
        request = await (await api.deliver()).complete()
        request.answer(202)
    assert json.loads(request.body)["errorMessage"] == expected
