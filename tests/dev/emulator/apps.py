"""Bare ASGI apps that the emulator's processes run: each is one behaviour, named by its path."""

import asyncio
import os
import signal
from typing import Any

from lambda_src.runtime.adapter import StreamingMangum
from lambda_src.runtime.asgi import Scope


async def app(scope: Scope, receive: Any, send: Any) -> None:
    match scope["type"], scope.get("path"):
        case "lifespan", _:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            print("lifespan.shutdown")  # noqa: T201 - what a test reads
            await send({"type": "lifespan.shutdown.complete"})
        case _, "/":
            await answer(send, b"hello")
        case _, "/echo":
            message = await receive()
            await answer(send, message["body"])
        case _, "/pid":
            await answer(send, str(os.getpid()).encode())
        case _, "/steps":  # waits between two chunks for a request to /step?to=<pid>, which may land in another process
            await start(send)
            go_on = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, go_on.set)
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
            await go_on.wait()
            await send({"type": "http.response.body", "body": b"second"})
        case _, "/step":
            os.kill(int(scope["query_string"].partition(b"=")[2]), signal.SIGUSR1)
            await answer(send, b"")
        case _, "/raise":
            raise ValueError("before the start")


async def start(send: Any, status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})


async def answer(send: Any, body: bytes) -> None:
    await start(send)
    await send({"type": "http.response.body", "body": body})


handler = StreamingMangum(app, lifespan="on")
