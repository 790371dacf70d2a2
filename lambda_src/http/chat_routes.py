"""ChatKit's HTTP routes: under /chatkit for the default assistant and under /chatkit/{name} for the others.

Knows HTTP, turns and the server. Authentication is in auth/, and app.py turns errors into responses.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, nullcontext, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

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
from lambda_src.chat.edits import edited_item
from lambda_src.chat.registry import AssistantEndpoint, AssistantRegistry, no_assistant
from lambda_src.chat.scheduled_events import sweep_after_delete
from lambda_src.context import RequestContext, User
from lambda_src.errors import RequestError
from lambda_src.http import multipart, request_limits, request_parsing
from lambda_src.http.request_log import TurnLog
from lambda_src.http.request_parsing import TURN_HEADER
from lambda_src.languages import Language, Languages
from lambda_src.models import transcription
from lambda_src.quotas.source_addresses import Callers
from lambda_src.store.ports import Sweeps
from lambda_src.turns.duplicates import TurnRequest
from lambda_src.turns.kept_message import KeptMessage
from lambda_src.turns.lifecycle import Attached, TurnStream
from lambda_src.turns.turn_task import RunningTurn

if TYPE_CHECKING:
    from lambda_src.support.desk import Desk

STREAM_HEADERS = {"cache-control": "no-cache, no-transform"}  # proxies must neither buffer nor compress a stream
EVENT_STREAM = "text/event-stream"


def chat_router(
    nameless: AssistantEndpoint,
    named: AssistantRegistry | None,
    *,
    authenticate: Authenticate,
    token_header: str,
    sweeps: Sweeps,
    max_body_bytes: int,
    callers: Callers,
    languages: Languages,
    guests: Guests | None = None,
    account_linking: AccountLinking | None = None,
    desk: "Desk | None" = None,
) -> APIRouter:
    """The routes. The path parameter `assistant` is the assistant's name, if it has one. With `desk`, users may ask for
    a person.
    """
    router = APIRouter()

    async def current_context(request: Request) -> RequestContext:
        user = await authenticate(request.headers.get(token_header))
        request.scope["chat.user"] = user.id
        address = request.client.host if request.client and user.is_guest else ""
        source = await callers.hashed(address) if address else None
        language = languages.best(request.headers.get("accept-language"))
        user = user.at(request.path_params.get("assistant", ""))
        return request_context(request, user, source=source or "", language=language)

    async def current_endpoint(
        request: Request, context: Annotated[RequestContext, Depends(current_context)]
    ) -> AssistantEndpoint:
        if not context.user.assistant:
            return nameless
        if named is None:
            raise no_assistant()
        endpoint = await named.get(context.user.assistant)
        request.scope["chat.user"] = context.user.id  # the assistant exists, so the log may contain its name
        return endpoint

    async def limited_body(request: Request) -> bytes:
        return b"".join([chunk async for chunk in request_limits.limited(request, max_bytes=max_body_bytes)])

    Context = Annotated[RequestContext, Depends(current_context)]  # noqa: N806 - a type
    Endpoint = Annotated[AssistantEndpoint, Depends(current_endpoint)]  # noqa: N806 - a type
    Body = Annotated[bytes, Depends(limited_body)]  # noqa: N806 - a type

    @router.post("")
    async def chatkit(request: Request, context: Context, endpoint: Endpoint, body: Body) -> Response:
        try:
            chatkit_request = request_parsing.parse(body)
        except RequestError:
            if (operation := request_parsing.operation_in(body)) is not None:
                request.scope["chat.operation"] = operation
            raise
        request.scope["chat.operation"] = chatkit_request.type
        if is_streaming_req(chatkit_request):
            turn_id = request_parsing.turn_id_of(request.headers.get(TURN_HEADER))
            seen = request_parsing.events_seen(request)
            about = TurnRequest(
                chatkit_request.type,
                thread_id=request_parsing.thread_of(chatkit_request),
                body=body,
                named=turn_id,
                resumes=seen > 0,
                brings_files=request_parsing.brings_files(chatkit_request),
                edits=edited_item(chatkit_request) is not None,
            )
            context = replace(context, turn=about.turn(context.user.id))
            check = partial(endpoint.server.check, chatkit_request, context)
            turn = await endpoint.turns.open(
                about, check, partial(endpoint.server.events, chatkit_request, context), context=context
            )
            turn_log = TurnLog(
                request.scope,
                context.turn if isinstance(turn, RunningTurn | KeptMessage) else None,
                user=context.user,
            )
            return await turn_response(turn, seen=seen if turn_id or seen else None, turn_log=turn_log)
        await endpoint.server.check(chatkit_request, context)
        if (thread_id := request_parsing.thread_shown(chatkit_request)) is not None:
            answer = await endpoint.turns.read_thread(
                thread_id, partial(endpoint.server.answer, chatkit_request, context), context=context
            )
        else:
            await charge(chatkit_request, endpoint, context)
            answer = await endpoint.server.answer(chatkit_request, context)
        after = None
        if isinstance(chatkit_request, ThreadsDeleteReq):
            after = BackgroundTask(sweep_after_delete, sweeps, chatkit_request.params.thread_id, context)
        return Response(answer, media_type="application/json", background=after)

    @router.post("/stop")
    async def stop(context: Context, endpoint: Endpoint, body: Body) -> JSONResponse:
        target = request_parsing.parse_stop(body)
        stopped = await endpoint.turns.stop(context, turn_id=target.turn_id, thread_id=target.thread_id)
        return JSONResponse({"stopped": stopped})

    # Reads path parameters from the request: declaring them would load FastAPI's pydantic 1 support in a cold start.
    @router.get("/turns/{turn_id}/events")
    async def resume(request: Request, context: Context, endpoint: Endpoint) -> Response:
        turn_log = TurnLog(request.scope, None, user=context.user)
        turn = await endpoint.turns.resume(request.path_params["turn_id"], context)
        return await turn_response(
            turn, seen=request_parsing.events_seen(request), turn_log=turn_log, method=request.method
        )

    @router.get("/threads/{thread_id}/turn")
    async def running(request: Request, context: Context, endpoint: Endpoint) -> JSONResponse:
        thread_id = request.path_params["thread_id"]
        if desk is None:
            return JSONResponse({"turn_id": await endpoint.turns.running_in(thread_id, context)})
        turn_id, hold = await asyncio.gather(
            endpoint.turns.running_in(thread_id, context), desk.hold_of(thread_id, context)
        )
        return JSONResponse({"turn_id": turn_id, "held": None if hold is None else hold.state})

    @router.get("/attachments/{attachment_id}")
    async def attachment(request: Request, context: Context, endpoint: Endpoint) -> JSONResponse:
        return JSONResponse({"url": await endpoint.server.file_url(request.path_params["attachment_id"], context)})

    @router.post("/upload")
    async def upload(request: Request, context: Context, endpoint: Endpoint) -> Response:
        request.scope["chat.operation"] = "attachments.upload"
        async with multipart.received(request) as file:
            await endpoint.server.check(AttachmentsCreateReq(params=file.announced), context)
            return Response(await endpoint.server.upload(file, context), media_type="application/json")

    if desk is not None:

        @router.post("/handoff")
        async def handoff(context: Context, endpoint: Endpoint, body: Body) -> JSONResponse:
            thread_id = request_parsing.parse_handoff(body).thread_id
            if context.user.assistant not in desk.assistants:
                raise RequestError("Nobody answers at this assistant in person.")
            hold = await desk.ask(thread_id, context)
            return JSONResponse({"held": hold.state})

    if guests is not None and account_linking is not None:

        @router.post("/link")
        async def link(context: Context, endpoint: Endpoint, body: Body) -> JSONResponse:
            linked = await account_linking.link(await guests.who(request_parsing.parse_link(body).guest_token), context)
            return JSONResponse({"threads": linked.threads, "left": linked.left})

    return router


async def charge(chatkit_request: NonStreamingReq, endpoint: AssistantEndpoint, context: RequestContext) -> None:
    """Count requests that cost something but are no turns: dictation calls the vendor, sync actions run code of agent/.

    QuotaError: a quota is used up, or new turns are paused.
    """
    if (quotas := endpoint.turns.services.quotas) is None:
        return
    match chatkit_request:
        case InputTranscribeReq(params=params):
            await quotas.spend(context, tokens=transcription.tokens_at_most(params.audio_base64))
        case ThreadsSyncCustomActionReq():
            await quotas.spend(context, tokens=0)
        case _:
            pass


def request_context(request: Request, user: User, *, source: str, language: Language) -> RequestContext:
    """The request's user and deadline. On Lambda, whose context is in the scope, the deadline is the invocation's."""
    invocation = request.scope.get("aws.context")
    deadline_ms, release = None, ""
    if invocation is not None:
        deadline_ms = time.time_ns() // 1_000_000 + invocation.get_remaining_time_in_millis()
        release = invocation.function_version
    return RequestContext(
        user,
        request.scope["chat.request_id"],
        deadline_ms=deadline_ms,
        source=source,
        release=release,
        language=language,
    )


async def turn_response(turn: TurnStream, *, seen: int | None, turn_log: TurnLog, method: str = "POST") -> Response:
    """The turn's stream; 204 if the turn has ended and the client has seen all of it.

    An EventSource reconnects whenever a stream ends, even an empty one, and stops at any status but 200.
    """
    headers = {**STREAM_HEADERS, TURN_HEADER: turn.turn_id}
    if seen and isinstance(turn, Attached) and await turn.is_over():
        async with aclosing(numbered(turn, seen)) as events:
            if await anext(events, None) is None:
                return Response(status_code=204, headers=headers)
    if method == "HEAD":  # do not follow a running turn to its end for a body that is discarded
        return Response(media_type=EVENT_STREAM, headers=headers)
    return TurnResponse(turn, seen=seen, turn_log=turn_log)


class TurnResponse(StreamingResponse):
    """A turn's events as text/event-stream, with its id in x-chat-turn. Stops the turn when the response ends.

    If the server reports that the client has disconnected (uvicorn does, Lambda does not), the turn still runs to its
    end, so a reload can follow it. On Lambda the process is frozen when the response ends, so the turn ends with it.

    With `seen`, events have ids that count from 1, and the first `seen` events are left out. Without it, the stream is
    byte for byte ChatKit's own.
    """

    def __init__(self, turn: TurnStream, *, seen: int | None, turn_log: TurnLog) -> None:
        headers = {**STREAM_HEADERS, TURN_HEADER: turn.turn_id}
        events = turn_log.watched(turn if seen is None else numbered(turn, seen))
        super().__init__(events, media_type=EVENT_STREAM, headers=headers)
        self._turn, self._turn_log = turn, turn_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_on_lambda = "aws.context" in scope
        try:
            with nullcontext() if is_on_lambda else suppress(ClientDisconnect):
                await super().__call__(scope, receive, send)
            if not is_on_lambda:
                await self._turn.finished()
        finally:
            await self._turn.stop()
            self._turn_log.write()


async def numbered(turn: TurnStream, seen: int) -> AsyncGenerator[bytes]:
    """The turn's events after the first `seen`, each with its number as SSE id (the data line comes first)."""
    number = 0
    async for event in turn:
        number += 1
        if number > seen:
            yield event[:-1] + b"id: %d\n\n" % number
