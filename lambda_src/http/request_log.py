"""One log line a request, one more a turn: who (hashed), what, how long, how much. Never a word of what was said.

Knows ASGI and the entries `chat.*` of the scope, which chat_routes.py and app.py fill in.
lambda_src/observability/metrics.py makes metrics from these lines.
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

ALWAYS = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
TOLD = ("operation", "user", "code", "limit", "reason")  # of what is noted in the scope, as `chat.<name>`
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})  # a caller may make one up
TOKEN = b'"assistant_message.content_part.text_delta"'

log = logging.getLogger(__name__)


class RequestLog:
    """ASGI middleware: names each request (by Lambda's id, if there) and tells the name; logs one line at the end."""

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
        told: dict[str, Any] = {"request_id": request_id, "cold_start": self._is_first, "bytes_in": 0, "bytes_out": 0}
        self._is_first = False

        async def counted() -> Message:
            message = await receive()
            told["bytes_in"] += len(message.get("body", b""))
            return message

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent = list(message["headers"])
                if not any(name.lower() == b"cache-control" for name, _ in sent):
                    sent.append((b"cache-control", b"no-store"))  # it is somebody's data, or a refusal
                message["headers"] = [*sent, (b"x-request-id", request_id.encode()), *ALWAYS]
                told["status"] = message["status"]
            told["bytes_out"] += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, counted, send_named)
        except Exception as error:
            told |= {"status": told.get("status", 500), "error_type": type(error).__qualname__}
            raise
        finally:
            told["operation"] = _route(scope)
            told |= {name: scope[f"chat.{name}"] for name in TOLD if f"chat.{name}" in scope}
            told["duration_ms"] = _ms(time.perf_counter() - began_s)
            if (source := await self._callers.hashed((scope.get("client") or ("", 0))[0])) is not None:
                told["source"] = source
            log.info("request", extra=told)


class TurnLog:
    """Passes a turn's events on and notes when the first came, and the first word; `tell` logs it, once, at the end.

    `turn` is None for a stream that only follows a turn: another invocation runs it, and tells of it.
    """

    def __init__(
        self, scope: Scope, turn: Turn | None, *, user: User, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self._turn, self._now = turn, now
        self._began_s: float = scope["chat.began_s"]
        self._told: dict[str, Any] = {"request_id": scope["chat.request_id"], "user": user.id}
        self._told["operation"] = scope.get("chat.operation", "resume")
        self._told["assistant"] = user.assistant
        if (invocation := scope.get("aws.context")) is not None:
            self._told["release"] = invocation.function_version

    async def watched(self, events: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        """The events as they are."""
        async for event in events:
            self._note("first_event_ms")
            if "first_token_ms" not in self._told and TOKEN in event:
                self._note("first_token_ms")
            yield event

    def tell(self) -> None:
        """One line: how it went."""
        self._told["duration_ms"] = _ms(self._now() - self._began_s)
        if self._turn is None:
            log.info("turn_followed", extra=self._told)
            return
        tokens = {name: getattr(self._turn, name) for name in ("tokens_in", "tokens_cached", "tokens_out", "model")}
        log.info("turn", extra=self._told | tokens | {"kind": self._turn.end_reason or "whole"})

    def _note(self, name: str) -> None:
        if name not in self._told:
            self._told[name] = _ms(self._now() - self._began_s)


def _route(scope: Scope) -> str:
    """Method and path of a request, without a word of the caller's: parameters by their names, unknown paths left out.

    A router that is included twice does not know its prefix, so the path is the one that came, less its parameters.
    """
    method = scope["method"] if scope["method"] in METHODS else "OTHER"
    if "route" not in scope:
        return f"{method} (no route)"
    names = {value: f"{{{name}}}" for name, value in scope.get("path_params", {}).items()}
    return f"{method} {'/'.join(names.get(part, part) for part in scope['path'].split('/'))}"


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
