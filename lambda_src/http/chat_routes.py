"""The routes of ChatKit, under /chatkit for the assistant without a name and under /chatkit/{name} for each other.

Knows HTTP, the turns and the server; not who may call (auth) nor what an error becomes (app.py).
"""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, nullcontext, suppress
from dataclasses import replace
from functools import partial
from typing import Annotated

from chatkit.types import (
    AttachmentsCreateReq,
    InputTranscribeReq,
    NonStreamingReq,
    ThreadsDeleteReq,
    ThreadsSyncCustomActionReq,
    is_streaming_req,
)
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from lambda_src.auth import Authenticate
from lambda_src.auth.account_linking import AccountLinking
from lambda_src.auth.guest_access import Guests
from lambda_src.chat.registry import AssistantEndpoint, AssistantRegistry, no_assistant
from lambda_src.chat.scheduled_events import sweep_after_delete
from lambda_src.context import RequestContext, User
from lambda_src.errors import RequestError
from lambda_src.http import multipart, request_limits, request_parsing
from lambda_src.http.request_log import TurnLog
from lambda_src.models import transcription
from lambda_src.quotas.source_addresses import Callers
from lambda_src.store.ports import Sweeps
from lambda_src.turns.duplicates import TurnRequest
from lambda_src.turns.lifecycle import Attached, TurnStream
from lambda_src.turns.turn_task import RunningTurn

STREAM_HEADERS = {"cache-control": "no-cache, no-transform"}  # no proxy may hold back or compress what streams
EVENT_STREAM = "text/event-stream"
TURN_HEADER = "x-chat-turn"


def chat_router(
    nameless: AssistantEndpoint,
    named: AssistantRegistry | None,
    *,
    authenticate: Authenticate,
    token_header: str,
    sweeps: Sweeps,
    max_body_bytes: int,
    callers: Callers,
    guests: Guests | None = None,
    account_linking: AccountLinking | None = None,
) -> APIRouter:
    """The routes; the name of the assistant, where there is one, is the path's parameter `assistant`."""
    router = APIRouter()

    async def current_context(request: Request) -> RequestContext:
        user = await authenticate(request.headers.get(token_header))
        request.scope["chat.user"] = user.id
        address = request.client.host if request.client and user.is_guest else ""
        source = await callers.hashed(address) if address else None
        return request_context(request, user.at(request.path_params.get("assistant", "")), source=source or "")

    async def current_endpoint(
        request: Request, context: Annotated[RequestContext, Depends(current_context)]
    ) -> AssistantEndpoint:
        if not context.user.assistant:
            return nameless
        if named is None:
            raise no_assistant()
        endpoint = await named.get(context.user.assistant)
        request.scope["chat.user"] = context.user.id  # from here on the assistant's name is ours, not the caller's
        return endpoint

    async def limited_body(request: Request) -> bytes:
        return b"".join([chunk async for chunk in request_limits.limited(request, max_bytes=max_body_bytes)])

    Context = Annotated[RequestContext, Depends(current_context)]  # noqa: N806 - a type
    Endpoint = Annotated[AssistantEndpoint, Depends(current_endpoint)]  # noqa: N806 - a type
    Body = Annotated[bytes, Depends(limited_body)]  # noqa: N806 - a type

    @router.post("")
    async def chatkit(request: Request, context: Context, endpoint: Endpoint, body: Body) -> Response:
        try:
            asked = request_parsing.parse(body)
        except RequestError:
            if (operation := request_parsing.operation_in(body)) is not None:
                request.scope["chat.operation"] = operation
            raise
        request.scope["chat.operation"] = asked.type
        if is_streaming_req(asked):
            named = request_parsing.turn_id_of(request.headers.get(TURN_HEADER))
            seen = request_parsing.events_seen(request)
            about = TurnRequest(
                asked.type,
                thread_id=request_parsing.thread_of(asked),
                body=body,
                named=named,
                resumes=seen > 0,
                brings_files=request_parsing.brings_files(asked),
            )
            context = replace(context, turn=about.turn(context.user.id))
            check = partial(endpoint.server.check, asked, context)
            turn = await endpoint.turns.open(
                about, check, partial(endpoint.server.events, asked, context), context=context
            )
            told = TurnLog(request.scope, context.turn if isinstance(turn, RunningTurn) else None, user=context.user)
            return await turn_response(turn, seen=seen if named or seen else None, told=told)
        await endpoint.server.check(asked, context)
        if (thread_id := request_parsing.thread_shown(asked)) is not None:
            answer = await endpoint.turns.read_thread(
                thread_id, partial(endpoint.server.answer, asked, context), context=context
            )
        else:
            await charge(asked, endpoint, context)
            answer = await endpoint.server.answer(asked, context)
        after = None
        if isinstance(asked, ThreadsDeleteReq):
            after = BackgroundTask(sweep_after_delete, sweeps, asked.params.thread_id, context)
        return Response(answer, media_type="application/json", background=after)

    @router.post("/stop")
    async def stop(context: Context, endpoint: Endpoint, body: Body) -> JSONResponse:
        asked = request_parsing.parse_stop(body)
        stopped = await endpoint.turns.stop(context, turn_id=asked.turn_id, thread_id=asked.thread_id)
        return JSONResponse({"stopped": stopped})

    # Paths are read from the request: a parameter of its own loads FastAPI's support of pydantic 1 with a cold start.
    @router.get("/turns/{turn_id}/events")
    async def resume(request: Request, context: Context, endpoint: Endpoint) -> Response:
        told = TurnLog(request.scope, None, user=context.user)
        turn = await endpoint.turns.resume(request.path_params["turn_id"], context)
        return await turn_response(turn, seen=request_parsing.events_seen(request), told=told, method=request.method)

    @router.get("/threads/{thread_id}/turn")
    async def running(request: Request, context: Context, endpoint: Endpoint) -> JSONResponse:
        return JSONResponse({"turn_id": await endpoint.turns.running_in(request.path_params["thread_id"], context)})

    @router.post("/upload")
    async def upload(request: Request, context: Context, endpoint: Endpoint) -> Response:
        request.scope["chat.operation"] = "attachments.upload"
        async with multipart.received(request) as file:
            await endpoint.server.check(AttachmentsCreateReq(params=file.announced), context)
            return Response(await endpoint.server.upload(file, context), media_type="application/json")

    if guests is not None and account_linking is not None:

        @router.post("/adopt")
        async def adopt(context: Context, endpoint: Endpoint, body: Body) -> JSONResponse:
            adopted = await account_linking.adopt(
                await guests.who(request_parsing.parse_adopt(body).guest_token), context
            )
            return JSONResponse({"threads": adopted.threads, "left": adopted.left})

    return router


async def charge(asked: NonStreamingReq, endpoint: AssistantEndpoint, context: RequestContext) -> None:
    """Count what costs although it is no turn: a dictation is the vendor's work, a sync action runs code of agent/.

    QuotaError: it is paused, or spent.
    """
    if (quotas := endpoint.turns.services.quotas) is None:
        return
    match asked:
        case InputTranscribeReq(params=params):
            await quotas.spend(context, tokens=transcription.tokens_at_most(params.audio_base64))
        case ThreadsSyncCustomActionReq():
            await quotas.spend(context, tokens=0)
        case _:
            pass


def request_context(request: Request, user: User, *, source: str) -> RequestContext:
    """Who asks and until when; the deadline is Lambda's, where we run on it (the scope carries its context)."""
    invocation = request.scope.get("aws.context")
    deadline_ms = None
    if invocation is not None:
        deadline_ms = time.time_ns() // 1_000_000 + invocation.get_remaining_time_in_millis()
    return RequestContext(user, request.scope["chat.request_id"], deadline_ms=deadline_ms, source=source)


async def turn_response(turn: TurnStream, *, seen: int | None, told: TurnLog, method: str = "POST") -> Response:
    """The turn's stream; 204 when the turn is over and the client has seen all of it.

    An EventSource reconnects whenever a stream ends, also after an empty one, and stops at any status but 200.
    """
    headers = {**STREAM_HEADERS, TURN_HEADER: turn.turn_id}
    if seen and isinstance(turn, Attached) and await turn.is_over():
        async with aclosing(numbered(turn, seen)) as events:
            if await anext(events, None) is None:
                return Response(status_code=204, headers=headers)
    if method == "HEAD":  # a running turn would be followed to its end, for a body that is dropped
        return Response(media_type=EVENT_STREAM, headers=headers)
    return TurnResponse(turn, seen=seen, told=told)


class TurnResponse(StreamingResponse):
    """A turn's events as text/event-stream, its id in x-chat-turn. However the reading ends, no turn is left behind.

    Where a server tells that a client has gone (uvicorn does, Lambda does not) the turn runs to its end all the same:
    a reload finds it. On Lambda the process is frozen when the response ends, so the turn ends with it.

    With `seen`, events carry ids that count from 1, and the first `seen` of them are left out; without, the stream is
    ChatKit's own, byte for byte.
    """

    def __init__(self, turn: TurnStream, *, seen: int | None, told: TurnLog) -> None:
        headers = {**STREAM_HEADERS, TURN_HEADER: turn.turn_id}
        events = told.watched(turn if seen is None else numbered(turn, seen))
        super().__init__(events, media_type=EVENT_STREAM, headers=headers)
        self._turn, self._told = turn, told

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_on_lambda = "aws.context" in scope
        try:
            with nullcontext() if is_on_lambda else suppress(ClientDisconnect):
                await super().__call__(scope, receive, send)
            if not is_on_lambda:
                await self._turn.finished()
        finally:
            await self._turn.stop()
            self._told.tell()


async def numbered(turn: TurnStream, seen: int) -> AsyncGenerator[bytes]:
    """The turn's events after the first `seen`, each with its number as SSE id (the data line comes first)."""
    number = 0
    async for event in turn:
        number += 1
        if number > seen:
            yield event[:-1] + b"id: %d\n\n" % number
