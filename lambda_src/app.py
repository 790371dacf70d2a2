"""The HTTP face: routes, errors to responses. Knows neither the agent nor how an answer leaves Lambda.

Whatever is wrong with a request is said before the stream begins, as `{"error": code, "message": text}`: ChatKit shows
`message`. The request's id travels in the header x-request-id only, so that foreign and unknown are the same bytes.
"""

import time
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated

from chatkit.server import NonStreamingResult, StreamingResult
from chatkit.store import NotFoundError
from chatkit.types import ThreadsDeleteReq, is_streaming_req
from fastapi import Depends, FastAPI, Request, Response, params
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from lambda_src import intake, limits
from lambda_src.auth import Authenticate
from lambda_src.context import RequestContext, Turn, User
from lambda_src.errors import (
    AuthError,
    ChatError,
    ConflictError,
    QuotaError,
    RequestError,
    TooLargeError,
    UnavailableError,
)
from lambda_src.events import sweep_after_delete
from lambda_src.front import Before
from lambda_src.guests import Guests
from lambda_src.page import Page, Served
from lambda_src.request_log import RequestLog, TurnLog
from lambda_src.server import ChatServer
from lambda_src.store.ports import Sweeps
from lambda_src.turns.running import RunningTurn
from lambda_src.turns.turns import Asked, Turns, TurnStream

STREAM_HEADERS = {"cache-control": "no-cache, no-transform"}  # no proxy may hold back or compress what streams
TURN_HEADER = "x-chat-turn"
MISSING = "There is no such thread, item or attachment."  # the same for what is someone else's
RETRY_AFTER_S = 2  # after a dependency failed; ChatKit's client asks again by itself, up to five times


def create_app(
    server: ChatServer,
    turns: Turns,
    *,
    authenticate: Authenticate,
    sweeps: Sweeps,
    max_body_bytes: int,
    guests: Guests | None = None,
    page: Page | None = None,
    token_header: str = "authorization",  # noqa: S107 - a name
    in_front: Sequence[Before] = (),
) -> FastAPI:
    """The ASGI app: POST /chatkit and what belongs to a turn, GET /chat/health, and `page`, where there is one.

    `in_front` asks before any route does, the outermost first; the bearer token is in `token_header`.
    """

    async def within_limits(request: Request) -> None:
        limits.check_head(request, max_body_bytes=max_body_bytes)

    app = ChatApp(in_front, dependencies=[Depends(within_limits)])
    for error in (ChatError, NotFoundError, HTTPException, Exception):
        app.add_exception_handler(error, refuse)

    async def current_context(request: Request) -> RequestContext:
        user = await authenticate(request.headers.get(token_header))
        request.scope["chat.user"] = user.id
        return request_context(request, user)

    async def limited_body(request: Request) -> bytes:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > max_body_bytes:
                raise limits.body_too_large(max_body_bytes)
        return bytes(body)

    Context = Annotated[RequestContext, Depends(current_context)]  # noqa: N806 - a type
    Body = Annotated[bytes, Depends(limited_body)]  # noqa: N806 - a type

    @app.post("/chatkit")
    async def chatkit(request: Request, context: Context, body: Body) -> Response:
        asked = intake.parse(body)
        request.scope["chat.operation"] = asked.type
        check = partial(server.check, asked, context)
        if is_streaming_req(asked):
            named = intake.turn_id_of(request.headers.get(TURN_HEADER))
            context = replace(context, turn=Turn(id=named or uuid.uuid4().hex))
            about = Asked(asked.type, thread_id=intake.thread_of(asked), body=body, named=named)
            turn = await turns.open(about, check, partial(events_of, server, body, context), context=context)
            return TurnResponse(
                turn,
                seen=intake.events_seen(request) if named else None,
                told=TurnLog(request.scope, context.turn if isinstance(turn, RunningTurn) else None, user=context.user),
            )
        await check()
        if (thread_id := intake.thread_shown(asked)) is not None:
            await turns.recover(thread_id, context)
        result = await server.process(body, context)
        assert isinstance(result, NonStreamingResult)
        after = BackgroundTask(sweep_after_delete, sweeps) if isinstance(asked, ThreadsDeleteReq) else None
        return Response(result.json, media_type="application/json", background=after)

    @app.post("/chatkit/stop")
    async def stop(context: Context, body: Body) -> JSONResponse:
        asked = intake.parse_stop(body)
        stopped = await turns.stop(context, turn_id=asked.turn_id, thread_id=asked.thread_id)
        return JSONResponse({"stopped": stopped})

    @app.get("/chatkit/turns/{turn_id}/events")
    async def resume(request: Request, turn_id: str, context: Context) -> Response:
        told = TurnLog(request.scope, None, user=context.user)
        return TurnResponse(await turns.resume(turn_id, context), seen=intake.events_seen(request), told=told)

    @app.get("/chatkit/threads/{thread_id}/turn")
    async def running(thread_id: str, context: Context) -> JSONResponse:
        return JSONResponse({"turn_id": await turns.running_in(thread_id, context)})

    if guests is not None:

        @app.post("/auth/guest")
        async def guest(request: Request) -> JSONResponse:
            minted = await guests.welcome(request.client.host if request.client else "")
            headers = {"cache-control": "no-store"}
            return JSONResponse({"token": minted.token, "expires_at": minted.expires_at}, headers=headers)

    @app.get("/chat/health")
    async def health() -> JSONResponse:
        return JSONResponse({"status": "healthy", "service": "chat"})

    if page is not None:
        serve(app, page)
    return app


def serve(app: FastAPI, page: Page) -> None:
    """The routes of the page. A file answers 200 with its body, whatever the browser says that it has."""

    def answered(served: Served | None) -> Response:
        if served is None:
            raise HTTPException(404)
        return Response(served.body, media_type=served.media_type, headers=served.headers)

    @app.get("/")
    def html() -> Response:
        if (built := page.html()) is None:
            raise HTTPException(404, "The page is not built here: run `make page`, then reload.")
        return answered(built)

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        return answered(page.static(name))

    @app.get("/chat-client.js")
    def client() -> Response:
        return answered(page.helper("chat-client.js"))

    @app.get("/chat-client.d.ts")
    def client_types() -> Response:
        return answered(page.helper("chat-client.d.ts"))


class ChatApp(FastAPI):
    """FastAPI with its middleware outside of Starlette's own, so that a 500 leaves like any other answer."""

    def __init__(self, in_front: Sequence[Before], *, dependencies: Sequence[params.Depends]) -> None:
        super().__init__(
            title="chatkit-lambda", docs_url=None, redoc_url=None, openapi_url=None, dependencies=dependencies
        )
        self._in_front = in_front

    def build_middleware_stack(self) -> ASGIApp:
        """Starlette's hook: its stack, what stands in front of it, and the log of it all."""
        app = super().build_middleware_stack()
        for before in reversed(self._in_front):
            app = before(app)
        return RequestLog(app)


async def events_of(server: ChatServer, body: bytes, context: RequestContext) -> AsyncIterable[bytes]:
    """ChatKit's events for a streaming request, encoded."""
    result = await server.process(body, context)
    assert isinstance(result, StreamingResult)
    return result


def request_context(request: Request, user: User) -> RequestContext:
    """Who asks and until when; the deadline is Lambda's, where we run on it (the scope carries its context)."""
    invocation = request.scope.get("aws.context")
    deadline_ms = None
    if invocation is not None:
        deadline_ms = time.time_ns() // 1_000_000 + invocation.get_remaining_time_in_millis()
    return RequestContext(user=user, request_id=request.scope["chat.request_id"], deadline_ms=deadline_ms)


class TurnResponse(StreamingResponse):
    """A turn's events as text/event-stream, its id in x-chat-turn. However the reading ends, no turn is left behind.

    With `seen`, events carry ids that count from 1, and the first `seen` of them are left out; without, the stream is
    ChatKit's own, byte for byte.
    """

    def __init__(self, turn: TurnStream, *, seen: int | None, told: TurnLog) -> None:
        headers = {**STREAM_HEADERS, TURN_HEADER: turn.turn_id}
        events = told.watched(turn if seen is None else numbered(turn, seen))
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._turn, self._told = turn, told

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._turn.stop()
            self._told.tell()


async def numbered(turn: TurnStream, seen: int) -> AsyncIterator[bytes]:
    """The turn's events after the first `seen`, each with its number as SSE id (the data line comes first)."""
    number = 0
    async for event in turn:
        number += 1
        if number > seen:
            yield event[:-1] + b"id: %d\n\n" % number


async def refuse(request: Request, error: Exception) -> Response:
    """The one boundary where an error becomes a response. Details of what is not ours stay inside."""
    headers: dict[str, str] = {}
    match error:
        case NotFoundError():
            status, code, message = 404, "not_found", MISSING
        case AuthError():
            status, code, message = 401, "unauthorized", str(error)
            headers["www-authenticate"] = "Bearer"
        case RequestError():
            status, code, message = 422, "invalid_request", str(error)
        case TooLargeError():
            status, code, message = 413, "too_large", str(error)
        case ConflictError():
            status, code, message = 409, "conflict", str(error)
        case QuotaError():
            status, code, message = 429, "quota", str(error)
            headers["retry-after"] = str(error.retry_after_s)
            request.scope["chat.limit"] = error.limit
        case UnavailableError():
            status, code, message = 503, "unavailable", str(error)
            headers["retry-after"] = str(RETRY_AFTER_S)
        case HTTPException():
            status, code, message = error.status_code, "http_error", str(error.detail)
            headers |= dict(error.headers or {})
        case _:
            status, code, message = (
                500,
                "internal",
                "Something went wrong here. Try again; if it stays, tell us the request id.",
            )
    request.scope["chat.code"] = code
    return JSONResponse({"error": code, "message": message}, status_code=status, headers=headers)
