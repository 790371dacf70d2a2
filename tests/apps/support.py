"""In-process app of a stage with operators, from the composition root. No sockets, no Lambda.

`Bearer olga` and `Bearer otto` are operators of the assistant without a name, `Bearer sally` of "sales"; a name that
begins with "guest" is a guest's, any other a user's.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents import Agent, Model, RunConfig, Tool
from fastapi import FastAPI

from lambda_src.composition.app import Parts, build_app
from lambda_src.composition.aws import Clients
from lambda_src.context import User
from lambda_src.json_settings import OperatorSettings
from lambda_src.models.demo_model import DemoModel
from lambda_src.runs.assistants import Assistant
from lambda_src.runs.widget_actions import Actions
from lambda_src.settings import Settings
from lambda_src.store.memory.store import MemoryStore
from lambda_src.store.ports import TurnLedger
from tests.apps.chat import Answer, Chat, known_by_name, message, no_pause

OPERATES = {"olga": frozenset({""}), "otto": frozenset({""}), "sally": frozenset({"sales"})}
OPERATORS = OperatorSettings(claim="groups", value="support", assistants=("", "sales"))


class CountingModel(DemoModel):
    """The demo model; counts its requests."""

    def __init__(self) -> None:
        super().__init__(sleep=no_pause)
        self.inputs: list[Any] = []

    async def stream_response(self, system_instructions: Any, input: Any, *more: Any, **named: Any) -> Any:
        """Count, then answer."""
        self.inputs.append(input)
        async for event in super().stream_response(system_instructions, input, *more, **named):
            yield event


@dataclass
class SupportApp:
    """The app with its store, its model, and who has which role. `withdraw` an operator's role by emptying it."""

    store: Any = field(default_factory=MemoryStore)
    model: Model = field(default_factory=CountingModel)
    tools: Sequence[Tool] = ()
    settings: Settings = field(default_factory=lambda: Settings(store="memory", operators=OPERATORS))
    operates: dict[str, frozenset[str]] = field(default_factory=lambda: dict(OPERATES))
    clock: Callable[[], int] | None = None
    until_s: int = 0  # when the operators' tokens expire; 0: unknown
    aws: Clients = field(default_factory=Clients)
    app: FastAPI = field(init=False)

    def __post_init__(self) -> None:
        def agent() -> Agent[Any]:
            return Agent(name="Test", tools=list(self.tools))

        async def authenticate(authorization: str | None) -> User:
            name = (await known_by_name(authorization)).id
            operates = self.operates.get(name, frozenset())
            return User(name, is_guest=name.startswith("guest"), operates=operates, until_s=self.until_s)

        ledger: TurnLedger = self.store.ledger
        parts: dict[str, Any] = {} if self.clock is None else {"clock": self.clock}
        self.app = build_app(
            self.settings,
            self.store,
            ledger,
            Parts(
                authenticate=authenticate,
                build_run_config=lambda: RunConfig(model=self.model, tracing_disabled=True),
                build_agent=agent,
                build_actions=Actions,
                load_assistants=lambda: {"": Assistant(agent), "sales": Assistant(agent)},
                **parts,
            ),
            aws=self.aws,
        )

    def chat(self, name: str) -> Chat:
        """A user's client."""
        return Chat(self.app, name)

    def operator(self, name: str | None) -> "Operator":
        """A client of the routes under /operator."""
        return Operator(Chat(self.app, name))

    async def thread(self, user: str = "ann", text: str = "hello") -> str:
        """Begin a thread; return its id."""
        answer = await self.chat(user)("threads.create", input=message(text))
        thread_id: str = answer.of("thread.created")[0]["thread"]["id"]
        return thread_id

    async def waiting(self, user: str = "ann") -> str:
        """Begin a thread that waits for a person; return its id."""
        thread_id = await self.thread(user)
        answer = await self.ask(user, thread_id)
        assert (answer.status, answer.json) == (200, {"held": "waiting"})
        return thread_id

    async def ask(self, user: str, thread_id: str) -> Answer:
        """Ask for a person."""
        return await self.chat(user).post(json.dumps({"thread_id": thread_id}).encode(), "/chatkit/handoff")

    async def say(self, user: str, thread_id: str, text: str, **headers: str) -> Answer:
        """Send a message."""
        params = {"thread_id": thread_id, "input": message(text)}
        body = json.dumps({"type": "threads.add_user_message", "params": params}).encode()
        return await self.chat(user).post(body, **headers)

    async def texts(self, user: str, thread_id: str) -> list[str]:
        """The texts of a thread's visible messages."""
        page = (await self.chat(user)("items.list", thread_id=thread_id, order="asc", limit=100)).json
        return ["".join(part["text"] for part in item["content"]) for item in page["data"] if "content" in item]


@dataclass
class Operator:
    """A client of the routes under /operator."""

    chat: Chat

    async def get(self, path: str) -> Answer:
        """GET /operator/..."""
        return await self.chat.post(b"", f"/operator/{path}", "GET")

    async def post(self, user: str, thread_id: str, change: str, body: Any = None, **headers: str) -> Answer:
        """POST /operator/threads/{user}/{thread}/..."""
        sent = b"" if body is None else json.dumps(body).encode()
        return await self.chat.post(sent, f"/operator/threads/{user}/{thread_id}/{change}", **headers)

    async def write(self, user: str, thread_id: str, text: str, **headers: str) -> Answer:
        """Send the operator's message."""
        return await self.post(user, thread_id, "messages", {"text": text, "author": "Olga"}, **headers)

    async def matters(self, query: str = "") -> list[dict[str, Any]]:
        """The inbox."""
        answer = await self.get(f"inbox{query}")
        assert answer.status == 200, answer.body
        matters: list[dict[str, Any]] = answer.json["matters"]
        return matters
