"""Requests that schemathesis generates from the OpenAPI document: no 5xx, and refusals in one format.

CHAT_SCHEMATHESIS sets the number of requests (CI sends 100, `make fuzz` 1,000).
"""

import asyncio
import json
import os
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import requests
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lambda_src.attachments.files import Files
from lambda_src.attachments.presigned_urls import PresignedUrls
from lambda_src.auth import GuestTokens
from lambda_src.auth.account_linking import AccountLinking
from lambda_src.auth.guest_access import Guests
from lambda_src.chat.registry import AssistantEndpoint
from lambda_src.chat.server import ChatServer
from lambda_src.http.app import create_app
from lambda_src.rotating_secret import Secret
from lambda_src.store.counters import MemoryCounters
from lambda_src.store.memory.store import MemoryStore
from lambda_src.turns.lifecycle import Turns
from lambda_src.turns.persistence import AnswerStore
from lambda_src.turns.turn_task import TurnServices
from tests.apps.chat import MAX_BODY_BYTES, dispatcher_with, known_by_name, served
from tests.apps.full import full_app_on_moto
from tests.fuzz import openapi

if TYPE_CHECKING:
    from schemathesis import Case

CASES = int(os.environ.get("CHAT_SCHEMATHESIS", "100"))
REFUSED = {400, 401, 404, 405, 409, 413, 422, 429}
HOST = "http://chat.test"


def app_with_every_route(files: Files | None = None) -> FastAPI:
    """Return an app with every route except the page's."""
    store = MemoryStore()
    urls = None if files is None else PresignedUrls(files)
    turns = Turns(TurnServices(store.ledger, AnswerStore(store), urls=urls))
    return create_app(
        AssistantEndpoint(served(ChatServer(store, dispatcher_with(), feedback=store, files=files)), turns),
        authenticate=known_by_name,
        sweeps=store,
        max_body_bytes=MAX_BODY_BYTES,
        guests=Guests(GuestTokens(Secret(lambda: "s" * 64)), MemoryCounters()),
        account_linking=AccountLinking(store, turns, files=files),
    )


@cache
def document() -> dict[str, Any]:
    """The OpenAPI document."""
    return openapi.document(app_with_every_route())


@cache
def operations() -> list[Any]:
    """The operations in the document. Not made at import, which would take every worker some seconds."""
    import schemathesis
    from schemathesis.core.result import Ok

    schema = schemathesis.openapi.from_dict(document())
    return [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]


def test_the_document_has_every_route_and_a_schema_for_every_body() -> None:
    routes = {(method, path) for path, methods in document()["paths"].items() for method in methods}
    assert ("post", "/chatkit") in routes
    assert ("post", "/chatkit/{assistant}/stop") in routes
    assert len(routes) == len(operations()) == 16
    bodiless = {path for path, methods in document()["paths"].items() if "requestBody" not in methods.get("post", {})}
    assert {path for path in bodiless if "post" in document()["paths"][path]} == set()
    schemas = document()["components"]["schemas"]
    references = {
        word.rpartition("/")[2] for word in json.dumps(document()).split('"') if word.startswith("#/components/")
    }
    assert references <= schemas.keys()


@pytest.fixture(scope="module")
def files() -> Iterator[Files]:
    """An attachment store on moto's S3."""
    with full_app_on_moto() as full_app:
        assert full_app.files is not None
        yield full_app.files


async def send(case: "Case[Any]", files: Files) -> httpx2.Response:
    """Send a case as ann; return the answer."""
    arguments: dict[str, Any] = case.as_transport_kwargs(base_url=HOST)
    supported = {
        name: arguments[name]
        for name in ("method", "url", "headers", "json", "data", "files", "params")
        if name in arguments
    }
    prepared = requests.Request(**supported).prepare()  # schemathesis' arguments are those of requests
    headers = httpx2.Headers(
        [(name, str(value)) for name, value in prepared.headers.items() if name.lower() != "authorization"]
    )
    headers["authorization"] = "Bearer ann"
    body = prepared.body or b""
    assert isinstance(body, bytes | str), "no request body is streamed"
    transport = httpx2.ASGITransport(app=app_with_every_route(files), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url=HOST) as client:
        return await client.request(case.method, prepared.url or HOST, headers=headers, content=body)


@settings(
    max_examples=CASES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(st.deferred(lambda: st.one_of([operation.as_strategy() for operation in operations()])))
def test_no_request_causes_a_server_error(files: Files, case: "Case[Any]") -> None:
    answer = asyncio.run(send(case, files))
    assert answer.status_code == 200 or answer.status_code in REFUSED, (answer.status_code, case.as_curl_command())
    if answer.status_code != 200:
        assert set(answer.json()) == {"error", "message"}
