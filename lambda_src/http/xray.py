"""X-Ray tracing: sends one subsegment per request to Lambda's X-Ray daemon. Loaded only if tracing is on.

The datagram is sent before the invocation ends, so nothing is lost when the process is frozen, and no request waits.
Format: https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html. Like the log, a subsegment has
no content.
"""

import json
import secrets
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lambda_src.http.edge import Middleware

PREAMBLE = b'{"format": "json", "version": 1}\n'  # in front of each document: the daemon's protocol
NAME = "chat"
Emit = Callable[[bytes], None]


def traced(daemon: str) -> Middleware:
    """Middleware that traces the requests that Lambda samples. `daemon` is AWS_XRAY_DAEMON_ADDRESS, host:port."""
    host, _, port = daemon.rpartition(":")
    return partial(Traced, emit=lambda document: _send(document, (host, int(port))))


class Traced:
    """ASGI middleware; `now` in epoch seconds."""

    def __init__(self, app: ASGIApp, *, emit: Emit, now: Callable[[], float] = time.time) -> None:
        self._app, self._emit, self._now = app, emit, now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        parts = _parts(getattr(scope.get("aws.context"), "trace_id", None))
        if scope["type"] != "http" or parts.get("Sampled") != "1":
            await self._app(scope, receive, send)
            return
        began, measured = self._now(), dict[str, int]()

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                measured["status"] = message["status"]
            elif message.get("body"):
                measured.setdefault("first_byte_ms", round((self._now() - began) * 1000))
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            annotations = measured | {
                "request_id": scope["chat.request_id"],
                "operation": scope.get("chat.operation", ""),
            }
            document = {
                "trace_id": parts.get("Root"),
                "parent_id": parts.get("Parent"),
                "id": secrets.token_hex(8),
                "type": "subsegment",
                "name": NAME,
                "start_time": began,
                "end_time": self._now(),
                "fault": measured.get("status", 500) >= 500,
                "throttle": measured.get("status") == 429,
                "annotations": annotations,
            }
            self._emit(PREAMBLE + json.dumps(document).encode())


def _parts(trace: str | None) -> dict[str, str]:
    """Root, Parent and Sampled of Lambda's trace header."""
    return dict(part.split("=", 1) for part in (trace or "").split(";") if "=" in part)


def _send(document: bytes, address: tuple[str, int]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as to, suppress(OSError):
        to.setblocking(False)
        to.sendto(document, address)  # no request fails because the daemon is missing or its buffer is full
