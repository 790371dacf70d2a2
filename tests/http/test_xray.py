"""One subsegment a sampled request, sent before the request is over; and nothing of it loaded unless asked for."""

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
    """What Lambda runs beside the function."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        daemon.settimeout(5)
        yield daemon


def on_lambda(app: ASGIApp, *, sampled: str = "1") -> ASGIApp:
    """The app as it is invoked there."""

    async def invoked(scope: Scope, receive: Receive, send: Send) -> None:
        trace = f"Root={ROOT};Parent={PARENT};Sampled={sampled};Lineage=1:a:0"
        scope["aws.context"] = SimpleNamespace(
            trace_id=trace, aws_request_id="req-1", function_version="7", get_remaining_time_in_millis=lambda: 60_000
        )
        await app(scope, receive, send)

    return invoked


def chat_traced(daemon: socket.socket, *, sampled: str = "1") -> Chat:
    """A client of the app with tracing in front of it."""
    app: Any = app_with(server_with(MemoryStore()))
    app._middleware = [traced(f"127.0.0.1:{daemon.getsockname()[1]}")]
    return Chat(on_lambda(app, sampled=sampled))  # type: ignore[arg-type]  # an ASGI app is all it takes


def received(daemon: socket.socket) -> dict[str, Any]:
    head, _, document = daemon.recv(65_536).partition(b"\n")
    assert head + b"\n" == PREAMBLE
    told: dict[str, Any] = json.loads(document)
    return told


async def test_a_request_is_a_subsegment_of_the_invocation(daemon: socket.socket) -> None:
    answer = await chat_traced(daemon)("threads.create", input=message("hi"))
    told = received(daemon)
    assert (told["trace_id"], told["parent_id"], told["type"]) == (ROOT, PARENT, "subsegment")
    assert told["annotations"]["operation"] == "threads.create"
    assert told["annotations"]["request_id"] == answer.headers["x-request-id"] == "req-1"
    assert told["end_time"] >= told["start_time"]
    assert (told["annotations"]["status"], told["fault"], len(told["id"])) == (200, False, 16)
    assert not any(marker in json.dumps(told) for marker in MARKERS.values())


async def test_what_lambda_does_not_sample_is_not_told(daemon: socket.socket) -> None:
    assert (await chat_traced(daemon, sampled="0")("threads.list")).status == 200
    daemon.settimeout(0)
    with pytest.raises(BlockingIOError):
        daemon.recv(1)


async def test_without_a_daemon_the_answer_is_the_same() -> None:
    app: Any = app_with(server_with(MemoryStore()))
    app._middleware = [traced("127.0.0.1:1")]
    for _ in range(2):
        assert (await Chat(on_lambda(app))("threads.list")).status == 200  # type: ignore[arg-type]  # as above


async def test_a_fault_is_told_as_one() -> None:
    sent: list[bytes] = []

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError(MARKERS["exception"])

    app = on_lambda(Traced(broken, emit=sent.append))
    with pytest.raises(ZeroDivisionError):
        await app({"type": "http", "chat.request_id": "r"}, None, None)  # type: ignore[arg-type]  # never called
    assert json.loads(sent[0].partition(b"\n")[2])["fault"] is True
    assert MARKERS["exception"].encode() not in sent[0]


def test_it_is_not_loaded_unless_it_is_asked_for() -> None:
    asks = "import sys, lambda_src.composition.app; print('lambda_src.http.xray' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
