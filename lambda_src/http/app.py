"""The FastAPI app: joins the routes and turns errors into responses. Knows neither the agent nor Lambda.

Every error is reported before the stream begins, as `{"error": code, "message": text}`; ChatKit shows `message`. The
request id is in the header x-request-id only, so another user's thread and a missing one get the same bytes.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from chatkit.store import NotFoundError
from fastapi import Depends, FastAPI, Request, Response, params
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from lambda_src.auth import Authenticate
from lambda_src.auth.account_linking import AccountLinking
from lambda_src.auth.guest_access import Guests
from lambda_src.chat.registry import AssistantEndpoint, AssistantRegistry
from lambda_src.errors import (
    AuthError,
    ChatError,
    ConflictError,
    ForbiddenError,
    NoAssistantError,
    QuotaError,
    RequestError,
    SignInUnavailableError,
    TooLargeError,
    UnavailableError,
    UnknownKeyError,
)
from lambda_src.http import request_limits, request_parsing
from lambda_src.http.chat_routes import chat_router
from lambda_src.http.edge import Middleware, Utf8Paths
from lambda_src.http.page import Page, Served
from lambda_src.http.request_log import RequestLog
from lambda_src.languages import Language, Languages
from lambda_src.observability.metrics import UNKNOWN_KEY
from lambda_src.quotas.source_addresses import Callers, MemoryDayKeys, network_of
from lambda_src.store.ports import Sweeps

if TYPE_CHECKING:
    from lambda_src.support.desk import Desk

Prewarm = Callable[[], Awaitable[None]]

MISSING = "There is no such thread, item or attachment."  # the same if it is another user's
INTERNAL = "Something went wrong here. Try again; if it stays, tell us the request id."
RETRY_AFTER_S = 2  # after a dependency failed; ChatKit's client retries by itself, up to five times


def create_app(
    endpoint: AssistantEndpoint,
    *,
    authenticate: Authenticate,
    sweeps: Sweeps,
    max_body_bytes: int,
    named: AssistantRegistry | None = None,
    guests: Guests | None = None,
    page: Page | None = None,
    token_header: str = "authorization",  # noqa: S107 - a header's name
    middleware: Sequence[Middleware] = (),
    account_linking: AccountLinking | None = None,
    prewarm: Prewarm | None = None,
    callers: Callers | None = None,
    desk: "Desk | None" = None,
    operator_routes: ASGIApp | None = None,
    languages: Languages | None = None,
) -> "ChatApp":
    """The ASGI app: POST /chatkit and its other routes (chat_routes.py), GET /chat/health, and the routes of `page`.

    `endpoint` belongs to the default assistant, `named` to the others. `middleware` runs before every route, the
    outermost first. The bearer token is in `token_header`. `prewarm` runs before the first request. `callers` hashes
    addresses for the log; the default uses a key of this app alone. With `desk`, users may ask for a person, and
    `operator_routes` answers under /operator. Errors are in the caller's language of `languages`, by default of all
    that are shipped.
    """

    async def within_limits(request: Request) -> None:
        request_limits.check_head(request)

    callers, languages = callers or Callers(MemoryDayKeys()), languages or Languages()
    app = ChatApp(middleware, prewarm, callers, languages, dependencies=[Depends(within_limits)])
    for error in (ChatError, NotFoundError, HTTPException, Exception):
        app.add_exception_handler(error, refuse)

    chat = chat_router(
        endpoint,
        named,
        authenticate=authenticate,
        token_header=token_header,
        sweeps=sweeps,
        max_body_bytes=max_body_bytes,
        callers=callers,
        languages=languages,
        guests=guests,
        account_linking=account_linking,
        desk=desk,
    )
    allow_head(chat.routes)
    app.include_router(chat, prefix="/chatkit")
    app.include_router(chat, prefix="/chatkit/{assistant}")

    if guests is not None:

        @app.post("/auth/guest")
        async def guest(request: Request) -> JSONResponse:
            address = request.client.host if request.client else ""
            body = b"".join(
                [chunk async for chunk in request_limits.limited(request, max_bytes=request_limits.MAX_GUEST_BYTES)]
            )
            minted = await guests.welcome(address, request_parsing.parse_guest(body).captcha)
            headers = {"cache-control": "no-store"}
            answer = {"token": minted.token, "expires_at": minted.expires_at, "counted_as": network_of(address)}
            return JSONResponse(answer, headers=headers)

    @app.get("/chat/health")
    async def health() -> JSONResponse:
        return JSONResponse({"status": "healthy", "service": "chat"})

    if operator_routes is not None:
        if page is not None:
            serve_html(app, "/operator", page.for_operators())
        # Not "/operator/{...}": the router would redirect /operator there, and so tell everybody that it exists.
        app.router.routes.append(Route("/operator{path:path}", operator_routes))
    if page is not None:
        serve(app, page)
    allow_head(app.routes)
    return app


def allow_head(routes: Iterable[BaseRoute]) -> None:
    """Accept HEAD wherever GET is, as Starlette's routes do and FastAPI's do not. Uptime checkers use it."""
    for route in routes:
        if isinstance(route, Route) and route.methods and "GET" in route.methods:
            route.methods.add("HEAD")


def answered(request: Request, served: Served | None) -> Response:
    """A file, which is always sent in full, even if the browser has it in its cache; 404 for None."""
    if served is None:
        raise HTTPException(404)
    encoded = served.encoded(request.headers.get("accept-encoding", ""))
    return Response(encoded.body, media_type=encoded.media_type, headers=encoded.headers)


def serve_html(app: FastAPI, path: str, page: Page) -> None:
    """Add the route of the page itself, in the language that the user wants."""

    @app.get(path)
    def html(request: Request) -> Response:
        wishes = request.query_params.get("lang"), request.headers.get("accept-language")
        if (built := page.html(page.languages.best(*wishes))) is None:
            raise HTTPException(404, "The page is not built here: run `make page`, then reload.")
        return answered(request, built)


def serve(app: FastAPI, page: Page) -> None:
    """Add the page's routes."""
    serve_html(app, "/", page)

    @app.get("/static/{name}")
    def static(request: Request) -> Response:
        return answered(request, page.static(request.path_params["name"]))

    @app.get("/languages/{code}")
    def texts(request: Request) -> Response:
        return answered(request, page.texts(request.path_params["code"]))

    @app.get("/logo")
    def logo(request: Request) -> Response:
        return answered(request, page.logo())

    @app.get("/embed.js")
    def embed(request: Request) -> Response:
        language = page.languages.best(request.headers.get("accept-language"))
        return answered(request, page.embed(language))

    @app.get("/chat-client.js")
    def client(request: Request) -> Response:
        return answered(request, page.helper("chat-client.js"))

    @app.get("/chat-client.d.ts")
    def client_types(request: Request) -> Response:
        return answered(request, page.helper("chat-client.d.ts"))


class ChatApp(FastAPI):
    """FastAPI with middleware outside Starlette's error handler, so it sees a 500 like any other response."""

    def __init__(
        self,
        middleware: Sequence[Middleware],
        prewarm: Prewarm | None,
        callers: Callers,
        languages: Languages,
        *,
        dependencies: Sequence[params.Depends],
    ) -> None:
        @asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            if prewarm is not None:
                await prewarm()
            yield

        super().__init__(
            title="chatkit-lambda",
            docs_url=None,
            redoc_url=None,
            openapi_url=None,
            dependencies=dependencies,
            lifespan=lifespan,
        )
        self._middleware, self._callers, self.languages = middleware, callers, languages

    def build_middleware_stack(self) -> ASGIApp:
        """Overrides Starlette's: its own stack inside `middleware`, all of it inside the request log."""
        app: ASGIApp = Utf8Paths(super().build_middleware_stack())
        for wrap in reversed(self._middleware):
            app = wrap(app)
        return RequestLog(app, self._callers)


def language_of(request: Request) -> Language:
    """The language that the caller reads."""
    languages: Languages = request.app.languages
    return languages.best(request.headers.get("accept-language"))


async def refuse(request: Request, error: Exception) -> Response:
    """Exception handler: the only place where an error becomes a response. Unexpected errors reveal no details."""
    headers: dict[str, str] = {}
    language = language_of(request)
    message = language.text_of(error)
    match error:
        case NotFoundError():
            status, code, message = 404, "not_found", language.text(MISSING)
        case UnknownKeyError():
            status, code = 503, "sign_in_unavailable"
            headers["retry-after"] = str(error.retry_after_s)
            request.scope["chat.reason"] = UNKNOWN_KEY
        case AuthError():
            status, code = 401, "unauthorized"
            headers["www-authenticate"] = "Bearer"
        case ForbiddenError():
            status, code = 403, "refused"
        case RequestError():
            status, code = 422, "invalid_request"
        case TooLargeError():
            status, code = 413, "too_large"
        case NoAssistantError():
            status, code = 404, "not_found"
        case ConflictError():
            status, code = 409, "conflict"
        case QuotaError():
            status, code = 429, "quota"
            headers["retry-after"] = str(error.retry_after_s)
            request.scope["chat.limit"] = error.limit
        case SignInUnavailableError():
            status, code = 503, "sign_in_unavailable"
            headers["retry-after"] = str(error.retry_after_s)
        case UnavailableError():
            status, code = 503, "unavailable"
            headers["retry-after"] = str(RETRY_AFTER_S)
        case HTTPException():
            status, code, message = error.status_code, "http_error", language.text(error.detail)
            headers |= dict(error.headers or {})
        case _:
            status, code, message = 500, "internal", language.text(INTERNAL)
    request.scope["chat.code"] = code
    return JSONResponse({"error": code, "message": message}, status_code=status, headers=headers)
