"""In-process chat app on a MemoryStore, and a client for it: the default app of most tests. No sockets, no Lambda."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
from agents import Agent, Model, RunConfig, Tool
from fastapi import FastAPI

from lambda_src import sse
from lambda_src.auth import Authenticate
from lambda_src.chat.lazy_server import LazyChatServer
from lambda_src.chat.registry import AssistantEndpoint
from lambda_src.chat.server import ChatServer
from lambda_src.chat.store_requests import StoreRequests
from lambda_src.chat.validation import Checks
from lambda_src.context import User
from lambda_src.errors import AuthError
from lambda_src.http.app import create_app
from lambda_src.http.page import Page
from lambda_src.models.demo_model import DemoModel
from lambda_src.models.transcription import Transcribe
from lambda_src.runs.dispatcher import AgentDispatcher
from lambda_src.runs.titles import Suggest
from lambda_src.runs.widget_actions import Actions
from lambda_src.settings import HISTORY_ITEMS, Settings
from lambda_src.store.memory.store import MemoryStore
from lambda_src.turns.lifecycle import Turns
from lambda_src.turns.persistence import AnswerStore
from lambda_src.turns.turn_task import TurnServices
from tests import content_markers

MAX_BODY_BYTES = 10_000

SLOW_INIT_S = 120.0  # for the emulator: loading the chat is slow on a machine that runs many tests at once


async def known_by_name(authorization: str | None) -> User:
    """Fake Authenticate: `Bearer ann` signs in ann; without a token, AuthError."""
    scheme, _, name = (authorization or "").partition(" ")
    if scheme != "Bearer" or not name:
        raise AuthError("Sign in first.")
    return User(id=name)


async def no_pause(_: float) -> None:
    """Sleep without waiting: only yield to the event loop."""
    await asyncio.sleep(0)


def dispatcher_with(
    *,
    model: Model | None = None,
    tools: Sequence[Tool] = (),
    run_config: RunConfig | None = None,
    actions: Actions | None = None,
) -> AgentDispatcher:
    """Return a dispatcher with a test agent that uses `run_config`, or else `model` (default: the demo model)."""
    run_config = run_config or RunConfig(model=model or DemoModel(sleep=no_pause), tracing_disabled=True)
    return AgentDispatcher(
        lambda: Agent(name="Test", tools=list(tools)),
        build_run_config=lambda: run_config,
        build_actions=lambda: actions or Actions(),
    )


def server_with(
    store: MemoryStore,
    *,
    model: Model | None = None,
    tools: Sequence[Tool] = (),
    history_items: int = HISTORY_ITEMS,
    run_config: RunConfig | None = None,
    suggest_title: Suggest | None = None,
    transcribe: Transcribe | None = None,
    actions: Actions | None = None,
) -> ChatServer:
    """Return a chat server with an agent from `dispatcher_with`."""
    dispatcher = dispatcher_with(model=model, tools=tools, run_config=run_config, actions=actions)
    return ChatServer(
        store,
        dispatcher,
        feedback=store,
        settings=Settings(history_items=history_items),
        suggest_title=suggest_title,
        transcribe=transcribe,
    )


def served(server: ChatServer, *, dictation: bool = False, **checks: Any) -> LazyChatServer:
    """Put the server behind request validation, as deployments do; `checks` are options of Checks."""

    async def prepare() -> None:
        """Prepare nothing: the first message builds the agent."""

    return LazyChatServer(
        lambda: server,
        prepare,
        checks=Checks(server.store, server.settings, server.files, dictation=dictation, **checks),
        store_requests=StoreRequests(server.store, server.feedback, server.files),
    )


def app_with(
    server: ChatServer,
    *,
    services: TurnServices | None = None,
    authenticate: Authenticate = known_by_name,
    page: Page | None = None,
) -> FastAPI:
    """Return the app around `server`; pass `services` to control the clock."""
    store = server.store
    assert isinstance(store, MemoryStore)
    turns = Turns(services or TurnServices(store.ledger, AnswerStore(store)))
    return create_app(
        AssistantEndpoint(served(server), turns),
        authenticate=authenticate,
        sweeps=store,
        max_body_bytes=MAX_BODY_BYTES,
        page=page,
    )


def message(text: str, **extra: Any) -> dict[str, Any]:
    """Return the `input` of a client's request."""
    return {"content": [{"type": "input_text", "text": text}], "attachments": [], "inference_options": {}, **extra}


@dataclass(slots=True)
class Answer:
    """A complete HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the events of one type."""
        return [event for event in self.events if event["type"] == kind]


def read_events(body: bytes) -> list[dict[str, Any]]:
    """Parse a text/event-stream. Every block must be one `data:` line, plus an `id:` line in a named turn."""
    assert body.endswith(b"\n\n") or not body, "the stream ends with a whole event"
    messages = sse.read(body)
    assert len(messages) == body.count(b"\n\n") == body.count(b"data: {")
    assert all(not message.id or message.id.isdecimal() for message in messages)
    return [json.loads(message.data) for message in messages]


class Chat:
    """One user's client: `await chat("threads.create", input=message("hi"))`."""

    def __init__(self, app: FastAPI, user: str | None = "ann") -> None:
        self.app, self.user = app, user

    def as_(self, user: str | None) -> "Chat":
        """Return a client of the same app for another user (None: without a token)."""
        return Chat(self.app, user)

    async def __call__(self, operation: str, /, **params: Any) -> Answer:
        return await self.post(content_markers.request_body(operation, params))

    async def post(self, body: bytes, path: str = "/chatkit", method: str = "POST", **headers: str) -> Answer:
        """Send a raw request. In header names, write underscores for dashes."""
        headers = content_markers.HEADERS | {name.replace("_", "-"): value for name, value in headers.items()}
        headers |= {} if self.user is None else {"authorization": f"Bearer {self.user}"}
        transport = httpx2.ASGITransport(app=self.app, raise_app_exceptions=False)
        params = content_markers.QUERY | dict(parse_qsl(urlsplit(path).query, keep_blank_values=True))
        async with httpx2.AsyncClient(transport=transport, base_url="http://chat.test") as client:
            answer = await client.request(method, path, content=body, headers=headers, params=params)
        streamed = answer.headers.get("content-type", "").startswith("text/event-stream")
        events = read_events(answer.content) if streamed else []
        return Answer(answer.status_code, dict(answer.headers), answer.content, events)
