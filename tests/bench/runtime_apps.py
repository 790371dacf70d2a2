"""Apps that bench_runtime.py serves: a FastAPI app for all contestants, and a trivial ASGI app for N streams."""

import asyncio
import time
from collections.abc import AsyncIterator

from fastapi import FastAPI
from starlette.responses import JSONResponse, Response, StreamingResponse

from lambda_src.runtime.asgi import Receive, Scope, Send

KILOBYTE = {"text": "x" * 1000}
CHUNK = b"data: " + b"x" * 92 + b"\n\n"  # 100 bytes, like a delta of a chat

app = FastAPI()


@app.get("/json")
async def kilobyte() -> Response:
    return JSONResponse(KILOBYTE)


@app.get("/stream/{count}")
async def stream(count: int) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(count):
            yield CHUNK
            await asyncio.sleep(0)  # one iteration of the event loop, as between two events of a model

    return StreamingResponse(chunks(), media_type="text/plain")


async def paced(scope: Scope, receive: Receive, send: Send) -> None:
    """Send 100 events at 10 per second, each with the monotonic time in ns, which all processes share."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    began = time.monotonic()
    for n in range(100):
        await asyncio.sleep(max(0.0, began + n / 10 - time.monotonic()))
        line = b"%d\n" % time.monotonic_ns()
        await send({"type": "http.response.body", "body": line, "more_body": True})
    await send({"type": "http.response.body", "body": b"\n"})
