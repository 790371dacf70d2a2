"""Test app for the emulator's processes: a bare ASGI app with one behavior per path, and buffered handlers."""

import asyncio
import json
import os
import resource
import signal
import socket
import sys
import threading
from typing import Any

from lambda_src.dev.emulator.protocol import BUFFERED_MAX_BYTES
from lambda_src.runtime.adapter import StreamingMangum
from lambda_src.runtime.asgi import Scope
from tests.runtime.apps import Answers

KILOBYTE = 1024


async def app(scope: Scope, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    query = scope["query_string"].decode()
    match scope["path"]:
        case "/":
            await answer(send, b"hello")
        case "/echo":
            await answer(send, (await receive())["body"])
        case "/scope":
            fields = {name: str(scope[name]) for name in ("method", "path", "query_string", "headers", "client")}
            await answer(send, json.dumps(fields).encode())
        case "/event":
            await answer(send, json.dumps(scope["aws.event"]).encode())
        case "/headers":
            await start(send, 200, (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"content-length", b"5"))
            await send({"type": "http.response.body", "body": b"hello"})
        case "/status":
            await start(send, int(query))
            await send({"type": "http.response.body", "body": b""})
        case "/pid":
            await answer(send, str(os.getpid()).encode())
        case "/steps":
            await steps(send)
        case "/step":  # continues /steps in the process whose ID is `query`
            os.kill(int(query), signal.SIGUSR1)
            await answer(send, b"")
        case "/raise":
            raise ValueError("before the start")
        case "/raise-midstream":
            await start(send)
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
            raise ValueError("in the middle")
        case "/never":
            await never()
        case "/never-ends":
            await start(send)
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
            await never()
        case "/exit":
            os._exit(3)
        case "/exit-midstream":
            await start(send)
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
            os._exit(3)
        case "/bytes":
            await start(send)
            for _ in range(int(query) // KILOBYTE):
                await send({"type": "http.response.body", "body": b"x" * KILOBYTE, "more_body": True})
            await send({"type": "http.response.body"})
        case "/peak":  # peak memory in bytes; ru_maxrss is in bytes on macOS and in KiB on Linux
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            await answer(send, b"%d" % (peak if sys.platform == "darwin" else peak * KILOBYTE))
        case "/small-chunks":
            await start(send)
            for n in range(3):
                await send({"type": "http.response.body", "body": b"%d" % n, "more_body": True})
                await asyncio.sleep(0.01)  # so that each is a separate chunk on the wire
            await send({"type": "http.response.body"})


async def lifespan(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    print("lifespan.shutdown")  # noqa: T201 - a test reads it
    await send({"type": "lifespan.shutdown.complete"})


async def start(send: Any, status: int = 200, *headers: tuple[bytes, bytes]) -> None:
    await send(
        {"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain"), *headers]}
    )


async def answer(send: Any, body: bytes) -> None:
    await start(send)
    await send({"type": "http.response.body", "body": body})


async def steps(send: Any) -> None:
    """Send a chunk, wait for SIGUSR1, then send another."""
    proceed = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, proceed.set)
    await start(send)
    await send({"type": "http.response.body", "body": b"first", "more_body": True})
    await proceed.wait()
    await send({"type": "http.response.body", "body": b"second"})


async def never() -> None:
    """Never return, and swallow cancellation."""
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


async def on_event(event: dict[str, Any], context: Any) -> object:
    return {"did": event["chat"]}


@Answers
def buffered(event: Any, context: Any) -> object:
    match event.get("rawPath"):
        case "/response":
            return {"statusCode": 201, "headers": {"X-A": "1"}, "body": "aGk=", "isBase64Encoded": True}
        case "/large":
            return "x" * BUFFERED_MAX_BYTES
        case _:
            return {"any": "JSON"}


@Answers
def later(event: Any, context: Any) -> None:
    """Start a thread that prints long after the invocation is over."""
    threading.Timer(0.3, print, ["later"]).start()


PORT = os.environ.get("PORT")
connection = socket.create_connection(("127.0.0.1", int(PORT)), timeout=5) if PORT else None


@Answers
def connected(event: Any, context: Any) -> str:
    """Whether a connection that was opened during init is still alive."""
    assert connection is not None
    connection.setblocking(False)
    try:
        return "broken" if connection.recv(1) == b"" else "odd"
    except BlockingIOError:
        return "alive"


handler = StreamingMangum(app, lifespan="on", on_event=on_event)
