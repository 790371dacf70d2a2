"""X-Ray tracing: one subsegment per sampled request, sent before the request ends; loaded only if it is enabled."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from lambda_src.http.xray import PREAMBLE, Traced, traced
from lambda_src.store.memory.store import MemoryStore
from tests.apps.chat import Chat, app_with, message, server_with
from tests.content_markers import MARKERS

ROOT, PARENT = "1-5759e988-bd862e3fe1be46a994272793", "53995c3f42cd8ad8"


@pytest.fixture
def daemon() -> Iterator[socket.socket]:
    """A fake of the X-Ray daemon that Lambda runs next to the function."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        daemon.settimeout(5)
        yield daemon


def on_lambda(app: ASGIApp, *, sampled: str = "1") -> ASGIApp:
    """Wrap the app with the scope that Lambda provides."""

    async def invoked(scope: Scope, receive: Receive, send: Send) -> None:
        trace = f"Root={ROOT};Parent={PARENT};Sampled={sampled};Lineage=1:a:0"
        scope["aws.context"] = SimpleNamespace(
            trace_id=trace, aws_request_id="req-1", function_version="7", get_remaining_time_in_millis=lambda: 60_000
        )
        await app(scope, receive, send)

    return invoked


def chat_traced(daemon: socket.socket, *, sampled: str = "1") -> Chat:
    """Return a client of the app with tracing."""
    app: Any = app_with(server_with(MemoryStore()))
    app._middleware = [traced(f"127.0.0.1:{daemon.getsockname()[1]}")]
    return Chat(on_lambda(app, sampled=sampled))  # type: ignore[arg-type]  # any ASGI app will do


def received(daemon: socket.socket) -> dict[str, Any]:
    head, _, document = daemon.recv(65_536).partition(b"\n")
    assert head + b"\n" == PREAMBLE
    subsegment: dict[str, Any] = json.loads(document)
    return subsegment


async def test_a_request_is_a_subsegment_of_the_invocation(daemon: socket.socket) -> None:
    answer = await chat_traced(daemon)("threads.create", input=message("hi"))
    subsegment = received(daemon)
    assert (subsegment["trace_id"], subsegment["parent_id"], subsegment["type"]) == (ROOT, PARENT, "subsegment")
    assert subsegment["annotations"]["operation"] == "threads.create"
    assert subsegment["annotations"]["request_id"] == answer.headers["x-request-id"] == "req-1"
    assert subsegment["end_time"] >= subsegment["start_time"]
    assert (subsegment["annotations"]["status"], subsegment["fault"], len(subsegment["id"])) == (200, False, 16)
    assert not any(marker in json.dumps(subsegment) for marker in MARKERS.values())


async def test_a_request_that_is_not_sampled_is_not_traced(daemon: socket.socket) -> None:
    assert (await chat_traced(daemon, sampled="0")("threads.list")).status == 200
    daemon.settimeout(0)
    with pytest.raises(BlockingIOError):
        daemon.recv(1)


async def test_without_a_daemon_the_answer_is_the_same() -> None:
    app: Any = app_with(server_with(MemoryStore()))
    app._middleware = [traced("127.0.0.1:1")]
    for _ in range(2):
        assert (await Chat(on_lambda(app))("threads.list")).status == 200  # type: ignore[arg-type]  # as above


async def test_an_exception_is_traced_as_a_fault() -> None:
    sent: list[bytes] = []

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError(MARKERS["exception"])

    app = on_lambda(Traced(broken, emit=sent.append))
    with pytest.raises(ZeroDivisionError):
        await app({"type": "http", "chat.request_id": "r"}, None, None)  # type: ignore[arg-type]  # never called
    assert json.loads(sent[0].partition(b"\n")[2])["fault"] is True
    assert MARKERS["exception"].encode() not in sent[0]


def test_tracing_is_not_loaded_unless_enabled() -> None:
    script = "import sys, lambda_src.composition.app; print('lambda_src.http.xray' in sys.modules)"
    completed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert completed.stdout.strip() == "False"
