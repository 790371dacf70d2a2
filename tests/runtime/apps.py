"""Builders of small ASGI apps for the runtime's tests, and a handler without ASGI."""

import json
from collections.abc import Callable
from typing import Any

from lambda_src.runtime.asgi import App, Receive, Scope, Send
from lambda_src.runtime.context import LambdaContext
from lambda_src.runtime.handler import StreamingHandler
from lambda_src.runtime.reply import Reply


def sends(*messages: dict[str, Any]) -> App:
    """An app that sends exactly `messages` and returns."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data: bytes = b"", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


class Answers(StreamingHandler):
    """Answers each event with the result of `function(event, context)`, as buffered JSON."""

    def __init__(self, function: Callable[[Any, Any], object]) -> None:
        self._function = function

    async def stream(self, event: Any, context: LambdaContext, reply: Reply) -> None:
        await reply.buffered(json.dumps(self._function(event, context)).encode())
