"""Test handlers that a runtime process loads by name."""

import os
import sys
from typing import Any

from snapshot_restore_py import (
    register_after_restore,
    register_before_snapshot,
)

from lambda_src.runtime.adapter import StreamingMangum
from lambda_src.runtime.asgi import Receive, Scope, Send
from tests.runtime.apps import Answers, body, sends, start


@Answers
def plain(event: Any, context: Any) -> dict[str, Any]:
    return {
        "event": event,
        "request_id": context.aws_request_id,
        "remaining": context.get_remaining_time_in_millis() > 0,
        "trace": os.environ.get("_X_AMZN_TRACE_ID"),
        "path": sys.path[:3],
        "executable": sys.executable,
        "cwd": os.getcwd(),  # noqa: PTH109 - without resolving symlinks
    }


@Answers
def not_json(event: Any, context: Any) -> object:
    return object()


def function(event: Any, context: Any) -> None:
    """A plain handler, as AWS's own runtime would call it."""


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """A bare ASGI app that answers with the state set by lifespan."""
    if scope["type"] == "lifespan":
        await receive()
        scope["state"]["pid"] = os.getpid()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("lifespan.shutdown")  # noqa: T201 - a test reads it
        await send({"type": "lifespan.shutdown.complete"})
        return
    await sends(start(), body(b"pid " + str(scope["state"]["pid"]).encode()))(scope, receive, send)


async def refuses_to_start(scope: Scope, receive: Receive, send: Send) -> None:
    raise ConnectionError("no database") from KeyError("DATABASE")


streaming = StreamingMangum(app, lifespan="on")
failing_lifespan = StreamingMangum(refuses_to_start, lifespan="on")


def fails() -> None:
    raise OSError("hook")


async def print_word(word: str) -> None:
    print(word)  # noqa: T201 - a test reads it


match os.environ.get("TEST_HOOKS"):
    case "order":
        for n in "12":
            register_before_snapshot(print_word, f"before {n}")
            register_after_restore(print_word, f"after {n}")
    case "before":
        register_before_snapshot(fails)
    case "after":
        register_after_restore(fails)
