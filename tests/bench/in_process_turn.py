"""Runs a turn in this process with its idempotency key, lease and journal, as chat_routes.py does, without HTTP."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

from chatkit.types import StreamingReq, ThreadsCreateReq

from lambda_src.chat.lazy_server import LazyChatServer
from lambda_src.context import RequestContext, Turn, User
from lambda_src.turns.duplicates import TurnRequest
from lambda_src.turns.lifecycle import Turns
from lambda_src.turns.persistence import AnswerStore
from lambda_src.turns.turn_task import TurnServices

HISTORY_ITEMS = 40  # the default
ANN = User("ann")


def context() -> RequestContext:
    """The context of a new request."""
    return RequestContext(user=ANN, request_id="r", turn=Turn(id=uuid.uuid4().hex))


def body_of(request: Any) -> bytes:
    return bytes(request.model_dump_json().encode())


def services(store: Any) -> TurnServices:
    return TurnServices(store.ledger, AnswerStore(store))


async def turn(
    server: LazyChatServer, turns: Turns, request: StreamingReq, request_context: RequestContext
) -> AsyncIterator[bytes]:
    """The events of a turn that runs as in lambda_src/http/chat_routes.py."""
    thread_id = None if isinstance(request, ThreadsCreateReq) else request.params.thread_id
    turn_request = TurnRequest(request.type, thread_id=thread_id, body=body_of(request), named=None)

    async def begin() -> Any:
        return await server.events(request, request_context)

    running = await turns.open(
        turn_request, lambda: server.check(request, request_context), begin, context=request_context
    )

    async def events() -> AsyncIterator[bytes]:
        async for event in running:
            yield event
        await running.stop()

    return events()
