"""Middleware before every route: CloudFront's origin secret, the viewer's address, the token's header, and CORS."""

import httpx2
import pytest
from fastapi import FastAPI
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from lambda_src.chat.registry import AssistantEndpoint
from lambda_src.composition import access
from lambda_src.errors import UnavailableError
from lambda_src.http import edge
from lambda_src.http.app import create_app
from lambda_src.http.edge import (
    ORIGIN_HEADER,
    PREFLIGHT_S,
    Middleware,
    cloudfront_secret_middleware,
    cors_middleware,
    viewer_of,
)
from lambda_src.http.page import SECURITY_HEADERS
from lambda_src.rotating_secret import REREAD_S, Secret
from lambda_src.settings import Settings
from lambda_src.store.memory.store import MemoryStore
from lambda_src.turns.lifecycle import Turns
from lambda_src.turns.persistence import AnswerStore
from lambda_src.turns.turn_task import TurnServices
from tests.apps.chat import MAX_BODY_BYTES, known_by_name, served, server_with

SITE = "https://www.example.org"
ROUTES = [("GET", "/"), ("GET", "/chat/health"), ("POST", "/chatkit"), ("OPTIONS", "/chatkit"), ("GET", "/nothing")]


class SecretStore:
    """A fake store of two secrets with a clock; `down` names those that cannot be read."""

    def __init__(self) -> None:
        self.values = {"newest": "n" * 48, "before": "b" * 48}
        self.down: set[str] = set()
        self.reads: list[str] = []
        self.now_s = 0.0

    def secrets(self) -> list[Secret]:
        """Return one process's cached secrets."""
        return [Secret(lambda name=name: self._read(name), now=lambda: self.now_s) for name in self.values]  # type: ignore[misc] # mypy cannot type a lambda's default

    def _read(self, name: str) -> str:
        self.reads.append(name)
        if name in self.down:
            raise UnavailableError("It cannot be read.")
        return self.values[name]


@pytest.fixture
def secret_store() -> SecretStore:
    return SecretStore()


def app_behind(*middleware: Middleware, token_header: str = "authorization") -> FastAPI:
    """Return the app behind this middleware."""
    store = MemoryStore()
    return create_app(
        AssistantEndpoint(served(server_with(store)), Turns(TurnServices(store.ledger, AnswerStore(store)))),
        authenticate=known_by_name,
        sweeps=store,
        max_body_bytes=MAX_BODY_BYTES,
        token_header=token_header,
        middleware=middleware,
    )


async def ask(app: FastAPI, method: str, path: str, body: str = "", **headers: str) -> httpx2.Response:
    """Send a request. In header names, write underscores for dashes."""
    named = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://chat.test") as client:
        return await client.request(method, path, content=body, headers=named)


LIST = '{"type": "threads.list", "params": {}}'


# The origin secret


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("sent", [None, "", "n", "n" * 47, "n" * 49, "é" * 24], ids=repr)
async def test_without_the_origin_secret_every_route_is_a_403(
    secret_store: SecretStore, method: str, path: str, sent: str | None
) -> None:
    app = app_behind(cloudfront_secret_middleware(*secret_store.secrets()))
    headers = {} if sent is None else {"x_origin_secret": sent}
    answer = await ask(app, method, path, authorization="Bearer ann", **headers)
    assert (answer.status_code, answer.json()["error"]) == (403, "forbidden")
    assert {**SECURITY_HEADERS, "x-request-id": answer.headers["x-request-id"]}.items() <= answer.headers.items()


async def test_a_request_without_the_origin_secret_reads_no_secret(secret_store: SecretStore) -> None:
    await ask(app_behind(cloudfront_secret_middleware(*secret_store.secrets())), "GET", "/chat/health")
    assert secret_store.reads == []


@pytest.mark.parametrize("name", ["newest", "before"])
async def test_both_generations_of_the_secret_are_accepted_during_a_rotation(
    secret_store: SecretStore, name: str
) -> None:
    app = app_behind(cloudfront_secret_middleware(*secret_store.secrets()))
    for _ in range(3):
        assert (await ask(app, "GET", "/chat/health", x_origin_secret=secret_store.values[name])).status_code == 200
    assert len(secret_store.reads) == len(set(secret_store.reads))


async def test_a_changed_secret_is_read_again_but_not_for_every_wrong_value(secret_store: SecretStore) -> None:
    app = app_behind(cloudfront_secret_middleware(*secret_store.secrets()))
    old = secret_store.values["newest"]
    assert (await ask(app, "GET", "/chat/health", x_origin_secret=old)).status_code == 200
    secret_store.values["newest"] = "m" * 48
    secret_store.now_s += REREAD_S
    assert (await ask(app, "GET", "/chat/health", x_origin_secret="m" * 48)).status_code == 200
    secret_store.reads.clear()
    for _ in range(20):
        assert (await ask(app, "GET", "/chat/health", x_origin_secret=old)).status_code == 403
    assert secret_store.reads == []


async def test_a_secret_that_cannot_be_read_is_a_503_until_it_can(secret_store: SecretStore) -> None:
    secret_store.down = {"newest", "before"}
    app = app_behind(cloudfront_secret_middleware(*secret_store.secrets()))
    answer = await ask(app, "GET", "/chat/health", x_origin_secret=secret_store.values["newest"])
    assert (answer.status_code, answer.json()["error"]) == (503, "unavailable")
    secret_store.down = {"before"}
    assert (await ask(app, "GET", "/chat/health", x_origin_secret=secret_store.values["newest"])).status_code == 200


# The viewer's address


@pytest.mark.parametrize(
    ("forwarded", "viewer"),
    [
        ("", "edge"),
        ("edge", "edge"),
        ("viewer", "viewer"),
        ("viewer, edge", "viewer"),
        ("forged, viewer, edge", "viewer"),
        ("forged,viewer", "viewer"),
        (" , ", "edge"),
    ],
)
def test_the_viewers_address_is_the_one_cloudfront_saw_not_a_forged_one(forwarded: str, viewer: str) -> None:
    assert viewer_of(forwarded, "edge") == viewer


async def client_address(settings: Settings, *, forwarded: str) -> str:
    """Return the client address that the app sees for a request from CloudFront's edge."""
    addresses: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        addresses.append(scope["client"][0])
        await JSONResponse({})(scope, receive, send)

    stack: ASGIApp = app
    for before in access.middleware(settings, lambda name: "never read"):
        stack = before(stack)
    transport = httpx2.ASGITransport(stack, client=("edge", 1))
    async with httpx2.AsyncClient(transport=transport, base_url="https://chat.test") as client:
        await client.get("/", headers={"x-forwarded-for": forwarded})
    [address] = addresses
    return address


async def test_with_signed_origin_requests_the_address_is_the_viewers_without_a_secret() -> None:
    env = {"CHAT_STORE": "memory", "CHAT_AUTH_ISSUER": "https://i.test/", "CHAT_AUTH_AUDIENCE": "chat"}
    signed = Settings.from_env({**env, "CHAT_ORIGIN_SIGNED": "true"})
    assert await client_address(signed, forwarded="forged, viewer, edge") == "viewer"
    assert await client_address(Settings.from_env(env), forwarded="forged") == "edge"


# The token's header


async def test_the_token_is_read_only_from_the_configured_header() -> None:
    app = app_behind(token_header="x-chat-authorization")
    assert (await ask(app, "POST", "/chatkit", LIST, x_chat_authorization="Bearer ann")).status_code == 200
    assert (await ask(app, "POST", "/chatkit", LIST, authorization="Bearer ann")).status_code == 401


# CORS


async def preflight(app: FastAPI, origin: str, *, method: str = "POST", headers: str) -> httpx2.Response:
    return await ask(
        app,
        "OPTIONS",
        "/chatkit",
        origin=origin,
        access_control_request_method=method,
        access_control_request_headers=headers,
    )


async def test_a_preflight_from_an_allowed_origin_is_answered() -> None:
    app = app_behind(cors_middleware([SITE], token_header="authorization"))
    answer = await preflight(app, SITE, headers=",".join(edge.REQUEST_HEADERS))
    assert answer.status_code == 200
    assert answer.content  # an empty body would hang a function URL
    assert answer.headers["access-control-allow-origin"] == SITE
    assert answer.headers["access-control-max-age"] == str(PREFLIGHT_S)
    allowed = answer.headers["access-control-allow-headers"].split(", ")
    assert set(edge.REQUEST_HEADERS) <= {name.lower() for name in allowed}
    assert answer.headers["access-control-allow-methods"] == "GET, POST"
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    ["null", "https://example.org", "http://www.example.org", f"{SITE}.evil.test", f"{SITE}:444", "https://evil.test"],
)
async def test_other_origins_are_refused(origin: str) -> None:
    app = app_behind(cors_middleware([SITE], token_header="authorization"))
    refused = await preflight(app, origin, headers="authorization")
    assert refused.status_code == 400
    answer = await ask(app, "POST", "/chatkit", LIST, authorization="Bearer ann", origin=origin)
    assert "access-control-allow-origin" not in refused.headers | answer.headers
    assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize(("method", "headers"), [("DELETE", "authorization"), ("POST", "x-other")])
async def test_other_methods_and_headers_are_refused(method: str, headers: str) -> None:
    app = app_behind(cors_middleware([SITE], token_header="authorization"))
    assert (await preflight(app, SITE, method=method, headers=headers)).status_code == 400


async def test_the_configured_token_header_is_allowed() -> None:
    app = app_behind(cors_middleware([SITE], token_header="x-chat-authorization"), token_header="x-chat-authorization")
    assert (await preflight(app, SITE, headers="x-chat-authorization")).status_code == 200


async def test_pages_of_allowed_origins_can_read_every_answer_including_errors() -> None:
    app = app_behind(cors_middleware([SITE], token_header="authorization"))

    @app.get("/broken")
    async def broken() -> None:
        raise ZeroDivisionError

    answers = [
        await ask(app, "POST", "/chatkit", LIST, authorization="Bearer ann", origin=SITE),
        await ask(app, "POST", "/chatkit", LIST, origin=SITE),
        await ask(app, "POST", "/chatkit", "{", authorization="Bearer ann", origin=SITE),
        await ask(app, "GET", "/nothing", origin=SITE),
        await ask(app, "GET", "/broken", origin=SITE),
    ]
    assert [answer.status_code for answer in answers] == [200, 401, 422, 404, 500]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == SITE
        assert set(answer.headers["access-control-expose-headers"].split(", ")) == set(edge.RESPONSE_HEADERS)
        assert SECURITY_HEADERS.items() <= answer.headers.items()
        assert answer.headers.get_list("x-request-id") == [answer.headers["x-request-id"]]


async def test_without_allowed_origins_the_app_sends_no_cors_headers() -> None:
    answer = await ask(app_behind(), "POST", "/chatkit", LIST, authorization="Bearer ann", origin=SITE)
    assert not any(name.startswith("access-control") for name in answer.headers)


# The settings


async def test_middleware_follows_the_settings_with_the_origin_secret_first() -> None:
    env = {
        "CHAT_STORE": "memory",
        "CHAT_AUTH_ISSUER": "https://i.test/",
        "CHAT_AUTH_AUDIENCE": "chat",
        "CHAT_ORIGIN_SECRETS": "arn:2,arn:1",
        "CHAT_CORS_ORIGINS": SITE,
    }
    secrets = {"arn:2": "two", "arn:1": "one"}
    app = app_behind(*access.middleware(Settings.from_env(env), secrets.__getitem__))
    assert (await preflight(app, SITE, headers="authorization")).status_code == 403
    for value in secrets.values():
        answer = await ask(app, "GET", "/chat/health", origin=SITE, **{ORIGIN_HEADER: value})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, SITE)


def test_where_the_url_answers_cors_the_app_does_not() -> None:
    env = {"CHAT_STORE": "memory", "CHAT_GUEST_SECRET": "arn", "CHAT_CORS_ORIGINS": SITE, "CHAT_CORS_AT_URL": "true"}
    assert access.middleware(Settings.from_env(env), str) == []


def test_without_such_settings_there_is_no_middleware() -> None:
    env = {"CHAT_STORE": "memory", "CHAT_AUTH_ISSUER": "https://i.test/", "CHAT_AUTH_AUDIENCE": "chat"}
    assert access.middleware(Settings.from_env(env), str) == []
