"""The whole app in this process, on any store: what most tests of behaviour talk to. Knows no socket and no Lambda."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

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

SLOW_INIT_S = 120.0  # for the emulator: a machine that runs many suites at once takes its time to load the chat


async def known_by_name(authorization: str | None) -> User:
    """A fake Authenticate that works: `Bearer ann` is ann, nothing is nobody."""
    scheme, _, name = (authorization or "").partition(" ")
    if scheme != "Bearer" or not name:
        raise AuthError("Sign in first.")
    return User(id=name)


async def no_pause(_: float) -> None:
    """A sleep that only lets others run."""
    await asyncio.sleep(0)


def dispatcher_with(
    *,
    model: Model | None = None,
    tools: Sequence[Tool] = (),
    run_config: RunConfig | None = None,
    actions: Actions | None = None,
) -> AgentDispatcher:
    """An agent of the tests, run by `model` (the demo model) or as `run_config` says."""
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
    """The chat server with such an agent."""
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
    """The server behind validation, as deployments have it; `checks` are options of Checks."""

    async def prepare() -> None:
        """The agent is built with the first message."""

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
    """The app around it; `services` brings a clock of the test's own."""
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
    """What a client sends as `input`."""
    return {"content": [{"type": "input_text", "text": text}], "attachments": [], "inference_options": {}, **extra}


@dataclass(slots=True)
class Answer:
    """One answer, read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The events of one type."""
        return [event for event in self.events if event["type"] == kind]


def read_events(body: bytes) -> list[dict[str, Any]]:
    """The events of a text/event-stream; every block must be one `data:` line, and in a named turn its `id:`."""
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
        """The same server, as somebody else (None: without a token)."""
        return Chat(self.app, user)

    async def __call__(self, operation: str, /, **params: Any) -> Answer:
        return await self.post(content_markers.request_body(operation, params))

    async def post(self, body: bytes, path: str = "/chatkit", method: str = "POST", **headers: str) -> Answer:
        """The raw request; a header's dashes are underscores."""
        headers = content_markers.HEADERS | {name.replace("_", "-"): value for name, value in headers.items()}
        headers |= {} if self.user is None else {"authorization": f"Bearer {self.user}"}
        transport = httpx2.ASGITransport(app=self.app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://chat.test") as client:
            answer = await client.request(method, path, content=body, headers=headers, params=content_markers.QUERY)
        streamed = answer.headers.get("content-type", "").startswith("text/event-stream")
        events = read_events(answer.content) if streamed else []
        return Answer(answer.status_code, dict(answer.headers), answer.content, events)
