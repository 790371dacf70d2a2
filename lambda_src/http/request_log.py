"""Access log: ASGI middleware that logs one line per request, and one more per turn. Never logs content.

A line has the hashed user, the operation, its duration and its sizes. Reads the entries `chat.*` of the ASGI scope,
which chat_routes.py and app.py set. lambda_src/observability/metrics.py turns these lines into metrics.
"""

import logging
import time
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lambda_src.context import Turn, User
from lambda_src.http.page import SECURITY_HEADERS
from lambda_src.quotas.source_addresses import Callers

SECURITY = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
FROM_SCOPE = ("operation", "user", "code", "limit", "reason")  # fields that the scope has as `chat.<name>`
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})  # callers can send anything else
TOKEN = b'"assistant_message.content_part.text_delta"'

log = logging.getLogger(__name__)


class RequestLog:
    """ASGI middleware: sets x-request-id (Lambda's request id, if there is one) and logs one line at the end."""

    def __init__(self, app: ASGIApp, callers: Callers) -> None:
        self._app, self._callers = app, callers
        self._is_first = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        invocation = scope.get("aws.context")
        request_id = invocation.aws_request_id if invocation is not None else str(uuid.uuid4())
        began_s = time.perf_counter()
        scope["chat.request_id"], scope["chat.began_s"] = request_id, began_s
        fields: dict[str, Any] = {"request_id": request_id, "cold_start": self._is_first, "bytes_in": 0, "bytes_out": 0}
        self._is_first = False

        async def counted() -> Message:
            message = await receive()
            fields["bytes_in"] += len(message.get("body", b""))
            return message

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message["headers"])
                if not any(name.lower() == b"cache-control" for name, _ in headers):
                    headers.append((b"cache-control", b"no-store"))  # private data, or an error
                message["headers"] = [*headers, (b"x-request-id", request_id.encode()), *SECURITY]
                fields["status"] = message["status"]
            fields["bytes_out"] += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, counted, send_with_headers)
        except Exception as error:
            fields |= {"status": fields.get("status", 500), "error_type": type(error).__qualname__}
            raise
        finally:
            fields["operation"] = _route(scope)
            fields |= {name: scope[f"chat.{name}"] for name in FROM_SCOPE if f"chat.{name}" in scope}
            fields["duration_ms"] = _ms(time.perf_counter() - began_s)
            if (source := await self._callers.hashed((scope.get("client") or ("", 0))[0])) is not None:
                fields["source"] = source
            log.info("request", extra=fields)


class TurnLog:
    """Times a turn's first event and first token while its events pass through; `write` logs one line at the end.

    `turn` is None for a stream that follows a turn of another invocation, which logs that turn itself.
    """

    def __init__(
        self, scope: Scope, turn: Turn | None, *, user: User, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self._turn, self._now = turn, now
        self._began_s: float = scope["chat.began_s"]
        self._fields: dict[str, Any] = {
            "request_id": scope["chat.request_id"],
            "user": user.id,
            "operation": scope.get("chat.operation", "resume"),
            "assistant": user.assistant,
        }
        if (invocation := scope.get("aws.context")) is not None:
            self._fields["release"] = invocation.function_version

    async def watched(self, events: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        """The events, unchanged, while their times are recorded."""
        async for event in events:
            self._note("first_event_ms")
            if "first_token_ms" not in self._fields and TOKEN in event:
                self._note("first_token_ms")
            yield event

    def write(self) -> None:
        """Log the line."""
        self._fields["duration_ms"] = _ms(self._now() - self._began_s)
        if self._turn is None:
            log.info("turn_followed", extra=self._fields)
            return
        if self._turn.is_held:  # a person answers it
            log.info("message_kept", extra=self._fields)
            return
        tokens = {name: getattr(self._turn, name) for name in ("tokens_in", "tokens_cached", "tokens_out", "model")}
        more = {"kind": self._turn.end_reason or "whole", "by_model": self._turn.is_counted}
        log.info("turn", extra=self._fields | tokens | more)

    def _note(self, name: str) -> None:
        if name not in self._fields:
            self._fields[name] = _ms(self._now() - self._began_s)


def _route(scope: Scope) -> str:
    """Method and path of a request without text from the caller: parameters by name, unknown paths left out.

    A router that is included twice does not know its prefix, so this replaces the parameters in the request's own path.
    """
    method = scope["method"] if scope["method"] in METHODS else "OTHER"
    if "route" not in scope:
        return f"{method} (no route)"
    names = {value: f"{{{name}}}" for name, value in scope.get("path_params", {}).items()}
    return f"{method} {'/'.join(names.get(part, part) for part in scope['path'].split('/'))}"


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
