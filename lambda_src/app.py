"""The HTTP face: routes, errors to responses. Knows neither the agent nor how an answer leaves Lambda.

Whatever is wrong with a request is said before the stream begins, as `{"error": code, "message": text}`: ChatKit shows
`message`. The request's id travels in the header x-request-id only, so that foreign and unknown are the same bytes.
"""

import logging
import time
import uuid
from pathlib import Path
from typing import Annotated, Any, assert_never

from chatkit.server import NonStreamingResult, StreamingResult
from chatkit.store import NotFoundError
from chatkit.types import ThreadsDeleteReq
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lambda_src import intake
from lambda_src.auth import Authenticate
from lambda_src.context import RequestContext, User
from lambda_src.errors import AuthError, ChatError, ConflictError, RequestError, TooLargeError, UnavailableError
from lambda_src.events import sweep_after_delete
from lambda_src.server import ChatServer
from lambda_src.store.ports import Sweeps
from lambda_src.turns.pump import Pump

PAGE = Path(__file__).parent / "web" / "index.html"
STREAM_HEADERS = {"cache-control": "no-cache, no-transform"}  # no proxy may hold back or compress what streams
MISSING = "There is no such thread, item or attachment."  # the same for what is someone else's
RETRY_AFTER_S = 2  # after a dependency failed; ChatKit's client asks again by itself, up to five times

log = logging.getLogger(__name__)


def create_app(server: ChatServer, *, authenticate: Authenticate, sweeps: Sweeps, max_body_bytes: int) -> FastAPI:
    """The ASGI app: POST /chatkit, GET /chat/health, GET /."""
    app = FastAPI(title="chatkit-lambda", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(RequestLog)
    for error in (ChatError, NotFoundError, HTTPException, Exception):
        app.add_exception_handler(error, refuse)

    async def current_user(request: Request) -> User:
        return await authenticate(request.headers.get("authorization"))

    async def limited_body(request: Request) -> bytes:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > max_body_bytes:
                raise TooLargeError(f"This request is larger than {max_body_bytes:,} bytes. Send less in one message.")
        return bytes(body)

    @app.post("/chatkit")
    async def chatkit(request: Request, user: Annotated[User, Depends(current_user)]) -> Response:
        body = await limited_body(request)
        asked = intake.parse(body)
        request.scope["chat.operation"] = asked.type
        context = request_context(request.scope, user)
        await intake.check(asked, context, store=server.store, attachment_store=server.attachment_store)
        result = await server.process(body, context)
        match result:
            case StreamingResult():
                return TurnResponse(await Pump.opened(result))
            case NonStreamingResult():
                after = BackgroundTask(sweep_after_delete, sweeps) if isinstance(asked, ThreadsDeleteReq) else None
                return Response(result.json, media_type="application/json", background=after)
            case _:
                assert_never(result)

    @app.get("/chat/health")
    async def health() -> JSONResponse:
        return JSONResponse({"status": "healthy", "service": "chat"})

    @app.get("/")
    async def page() -> HTMLResponse:
        return HTMLResponse(PAGE.read_text(encoding="utf-8"), headers={"cache-control": "no-cache"})

    return app


def request_context(scope: Scope, user: User) -> RequestContext:
    """Who asks and until when; the deadline is Lambda's, where we run on it (the scope carries its context)."""
    invocation = scope.get("aws.context")
    deadline_ms = None
    if invocation is not None:
        deadline_ms = time.time_ns() // 1_000_000 + invocation.get_remaining_time_in_millis()
    return RequestContext(user=user, request_id=scope["chat.request_id"], deadline_ms=deadline_ms)


class TurnResponse(StreamingResponse):
    """A turn's events as text/event-stream. However the reading ends, no turn is left behind."""

    def __init__(self, turn: Pump) -> None:
        super().__init__(turn, media_type="text/event-stream", headers=STREAM_HEADERS)
        self._turn = turn

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._turn.stop()


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
    return JSONResponse({"error": code, "message": message}, status_code=status, headers=headers)


class RequestLog:
    """ASGI middleware: names each request (by Lambda's id, if there), tells the name, logs one line at the end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        invocation = scope.get("aws.context")
        request_id = invocation.aws_request_id if invocation is not None else str(uuid.uuid4())
        scope["chat.request_id"] = request_id
        told: dict[str, Any] = {"request_id": request_id, "operation": f"{scope['method']} {scope['path'][:80]}"}
        began_s = time.perf_counter()

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
                told["status"] = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_named)
        except Exception as error:
            told["error_type"] = type(error).__qualname__
            raise
        finally:
            told["operation"] = scope.get("chat.operation", told["operation"])
            told["duration_ms"] = round((time.perf_counter() - began_s) * 1000)
            log.info("request", extra=told)
