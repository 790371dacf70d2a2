"""Fixtures for tests of your agent: the real server, turns and store in this process, with a scripted model.

    from lambda_src.sdk.testing import AgentChat, calls, chat, says

    async def test_it_tells_the_time(chat: AgentChat) -> None:
        reply = await chat.say("What time is it?", script=[calls("current_time"), says("Noon.")])
        assert reply.tools == ["current_time"]
        assert reply.text == "Noon."

Import the fixture `chat` in your test or in a conftest.py. With REAL_MODEL=1, the real model answers (set
OPENAI_API_KEY or CHAT_MODEL_BASE_URL) and scripts are ignored. More: docs/how-to/testing.md.
"""

import asyncio
import json
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from types import MappingProxyType
from typing import Any, Literal, Self, TypeGuard

import httpx2
import pytest
import uvicorn
from agents import Agent, FunctionTool, Model, ModelResponse, RunConfig
from agents.items import TResponseOutputItem, TResponseStreamEvent
from agents.testing import ScriptedModel, assistant_message, function_call
from agents.tool_context import ToolContext
from chatkit.actions import Action
from chatkit.types import (
    StructuredInputItem,
    ThreadItem,
    ThreadMetadata,
    ThreadStreamEvent,
    UserMessageItem,
    WidgetItem,
)
from starlette.types import ASGIApp

from lambda_src import sse
from lambda_src.chat.lazy_server import LazyChatServer
from lambda_src.chat.registry import AssistantEndpoint, AssistantRegistry
from lambda_src.chat.server import ChatServer
from lambda_src.chat.store_requests import StoreRequests
from lambda_src.chat.validation import Checks
from lambda_src.context import Claim, RequestContext, Turn, User
from lambda_src.dev.local_settings import local_run_config, local_settings
from lambda_src.errors import AuthError, SettingsError
from lambda_src.http.app import create_app
from lambda_src.http.operator_routes import OperatorRoutes
from lambda_src.models.demo_model import DemoModel
from lambda_src.runs import assistants, tool_secrets
from lambda_src.runs.approvals import APPROVE, DENY, title_of
from lambda_src.runs.assistants import Assistant, BuildAgent, shipped_actions, shipped_agent, shipped_tool_titles
from lambda_src.runs.dispatcher import AgentDispatcher, BuildActions, ReadToolTitles
from lambda_src.runs.hooks import LoadHooks, Screening, no_hooks, shipped_hooks
from lambda_src.runs.mcp_servers import agents_of
from lambda_src.runs.tool_secrets import SecretReadError, ToolSecrets
from lambda_src.settings import MAX_BODY_BYTES, MESSAGE_CHARS
from lambda_src.store.counters import MemoryCounters
from lambda_src.store.memory.store import MemoryStore
from lambda_src.support.desk import Desk
from lambda_src.turns.lifecycle import Turns
from lambda_src.turns.persistence import AnswerStore
from lambda_src.turns.turn_task import TurnServices

Step = Sequence[TResponseOutputItem]
Ask = Callable[[str, dict[str, Any]], Awaitable["Reply"]]
SendChange = Callable[[str, str, str, dict[str, str] | None], Awaitable[dict[str, Any]]]
OPERATOR = "Operator "  # before an operator's name in the authorization header
ISSUER = "urn:chatkit-lambda:test"  # `context.user.issuer` of every user of a test
_numbers = count(1)


def says(text: str) -> Step:
    """A step of the scripted model: an answer."""
    return [assistant_message(text, item_id=f"scripted-{next(_numbers)}")]


def calls(tool: str, /, **arguments: Any) -> Step:  # noqa: ANN401 - a tool's own arguments
    """A step of the scripted model: a call of one tool."""
    return [function_call(tool, json.dumps(arguments), call_id=f"call-{next(_numbers)}")]


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply to a message or an action.

    `tools` are the names of the tools that ran, in order, including those of MCP servers and of agents that took over.
    `events` are ChatKit's events, `items` the thread's items afterwards. `tokens_in` and `tokens_out` are the model's
    counts, None for a script. `cause` is the exception that your code or the model raised, whether the user saw an
    error or a tool failed. `held` is "waiting" if the thread waits for a person now, "person" if one has it.
    """

    thread_id: str
    text: str
    tools: list[str]
    widgets: list[dict[str, Any]]
    events: list[dict[str, Any]]
    items: list[ThreadItem]
    tokens_in: int | None = None
    tokens_out: int | None = None
    cause: BaseException | None = None
    held: Literal["waiting", "person"] | None = None
    _ask: Ask | None = field(default=None, repr=False, compare=False)

    @property
    def approvals(self) -> list[str]:
        """The questions that the user must answer: one for each tool call that waits for approval."""
        return [question.question for form in self.items if _waits(form) for question in form.inputs]

    async def approve(self) -> "Reply":
        """Approve every waiting tool call and return the reply. The script continues with its next step.

        RefusedError: no tool call is waiting, or it was answered before.
        """
        return await self._decide(APPROVE)

    async def deny(self, why: str = "") -> "Reply":
        """Deny every waiting tool call, with the reason `why` if given. Otherwise like `approve`."""
        return await self._decide(why or DENY)

    async def _decide(self, word: str) -> "Reply":
        form = next((item for item in reversed(self.items) if _waits(item)), None)
        if form is None or self._ask is None:
            raise RefusedError("No tool call waits for an approval.")
        answers = {question.id: {"values": [word]} for question in form.inputs}
        params = {"thread_id": self.thread_id, "item_id": form.id, "input": {"status": "answered", "answers": answers}}
        return await self._ask("threads.add_structured_input", params)

    @property
    def error(self) -> str | None:
        """The error that the user saw; if none, the first exception of a tool, such as `LookupError: no order`."""
        message = next((event.get("message", event["code"]) for event in self.events if event["type"] == "error"), None)
        return message or (None if self.cause is None else f"{type(self.cause).__name__}: {self.cause}")


def _waits(item: ThreadItem) -> TypeGuard[StructuredInputItem]:
    return isinstance(item, StructuredInputItem) and item.status == "pending"


@dataclass(slots=True)
class _Player(Model):
    """A model that delegates to another one, which each message replaces."""

    now: Model = field(default_factory=DemoModel)

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:  # noqa: ANN401 - Model's own
        return await self.now.get_response(*args, **kwargs)

    def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[TResponseStreamEvent]:  # noqa: ANN401 - as above
        return self.now.stream_response(*args, **kwargs)


class RefusedError(AssertionError):
    """The server answered with an error instead of a stream, for instance because the thread is locked."""


class _WatchedServer(ChatServer):
    """The server, which also records the turn and the exception for the Reply."""

    turn: Turn | None = None
    cause: BaseException | None = None

    async def respond(
        self, thread: ThreadMetadata, input_user_message: UserMessageItem | None, context: RequestContext
    ) -> AsyncIterator[ThreadStreamEvent]:
        self.turn = context.turn
        try:
            async with aclosing(super().respond(thread, input_user_message, context)) as events:  # type: ignore[type-var] # a generator, though typed as an iterator
                async for event in events:
                    yield event
        except Exception as error:
            self.cause = error.__cause__ or error
            raise

    async def action(
        self,
        thread: ThreadMetadata,
        action: Action[str, Any],
        sender: WidgetItem | None,
        context: RequestContext,
    ) -> AsyncIterator[ThreadStreamEvent]:
        try:
            async with aclosing(super().action(thread, action, sender, context)) as events:  # type: ignore[type-var] # as above
                async for event in events:
                    yield event
        except Exception as error:
            self.cause = self.cause or error.__cause__ or error
            raise


class Operator:
    """A person who answers instead of your agent: `chat.operator("olga")`. Each method is about a user's thread.

    RefusedError: the server refused it, for instance because another operator has the thread.
    """

    def __init__(self, name: str, send: SendChange) -> None:
        self.name, self._send = name, send

    async def take(self, *, user: str = "ann") -> None:
        """Take the thread, whether it waits for a person or not. It ends a running answer."""
        await self._send(self.name, user, "take", None)

    async def write(self, text: str, *, user: str = "ann", author: str | None = None) -> str:
        """Write a message into a thread that this operator has; return it as the user sees it."""
        body = {"text": text} if author is None else {"text": text, "author": author}
        item = await self._send(self.name, user, "messages", body)
        return "".join(part["text"] for part in item["content"])

    async def give_back(self, *, user: str = "ann") -> None:
        """Return the thread to your agent."""
        await self._send(self.name, user, "return", None)

    async def close(self, *, user: str = "ann") -> None:
        """Close the thread; one that only waits goes back to your agent."""
        await self._send(self.name, user, "close", None)


class AgentChat:
    """A chat with your agent and its actions, on a new store. A user's messages go to one thread until `new_thread()`.
    People can answer in it, as in a stage with operators.

    Raises what building the agent raises. `real_model` configures runs with a real model instead of scripts.
    `assistant` is the name of the agent in AGENTS (`context.user.assistant`).
    """

    def __init__(
        self,
        build_agent: BuildAgent = shipped_agent,
        *,
        build_actions: BuildActions = shipped_actions,
        tool_titles: ReadToolTitles | None = None,
        real_model: RunConfig | None = None,
        load_hooks: LoadHooks = no_hooks,
        assistant: str = "",
    ) -> None:
        self._player, self._assistant = _Player(), assistant
        self._threads: dict[str, str] = {}
        self.store = MemoryStore()
        self.claims: dict[str, dict[str, Claim]] = {}  # by user: `context.user.claims`
        self.secrets: dict[str, str] = {}
        self.recorded: dict[str, list[str]] = {}  # by tool: what its next calls return, instead of running it
        run_config = real_model or RunConfig(model=self._player, tracing_disabled=True)
        first = build_agent()  # raises its exceptions here; the server builds others, with MCP servers one per turn
        self._tool_names = [tool.name for agent in agents_of(first) for tool in agent.tools]
        if tool_titles is None:
            tool_titles = shipped_tool_titles if build_agent is shipped_agent else dict
        self._tool_titles = tool_titles()
        dispatcher = AgentDispatcher(
            lambda: self._with_recorded(build_agent()),
            build_run_config=lambda: run_config,
            build_actions=build_actions,
            tool_titles=tool_titles,
        )
        turns = Turns(TurnServices(self.store.ledger, AnswerStore(self.store), has_operators=True))
        inbox, counters = self.store.ledger.inbox(), MemoryCounters()
        desk = Desk(self.store, inbox, turns, counters, assistants=(assistant,), clock=time.time_ns)
        self._server = _WatchedServer(self.store, dispatcher, feedback=self.store, desk=desk)
        served = LazyChatServer(
            lambda: self._server,
            dispatcher.prepare,
            checks=Checks(self.store, screening=Screening(load_hooks)),
            store_requests=StoreRequests(self.store, self.store, desk=desk),
        )
        endpoint = AssistantEndpoint(served, turns)
        self._app = create_app(
            endpoint,
            named=AssistantRegistry(lambda: {assistant: Assistant(build_agent)}, lambda _: endpoint),
            authenticate=self._user,
            sweeps=self.store,
            max_body_bytes=MAX_BODY_BYTES,
            desk=desk,
            operator_routes=OperatorRoutes(
                desk,
                authenticate=self._user,
                token_header="authorization",  # noqa: S106 - a header's name
                max_body_bytes=MAX_BODY_BYTES,
                message_chars=MESSAGE_CHARS,
                urls=None,
            ),
        )

    @classmethod
    def at(cls, assistant: str, *, real_model: RunConfig | None = None, load_hooks: LoadHooks = shipped_hooks) -> Self:
        """A chat with the agent and actions of one of your AGENTS. SettingsError: there is none."""
        shipped = assistants.shipped()
        if (chosen := shipped.get(assistant)) is None:
            names = ", ".join(name for name in shipped if name) or "none"
            raise SettingsError([f"There is no assistant {assistant!r} in AGENTS. Its named assistants: {names}."])
        actions, titles = chosen.actions, chosen.tool_titles
        return cls(
            chosen.built,
            build_actions=lambda: actions,
            tool_titles=lambda: titles,
            real_model=real_model,
            load_hooks=load_hooks,
            assistant=assistant,
        )

    def tool_named(self, name: str) -> str:
        """The name of the tool that has this name or this title, its own or "Look up order" for `look_up_order`; else
        `name`.
        """
        if name in self._tool_names:
            return name
        named = (tool for tool in self._tool_names if name in (self._tool_titles.get(tool), title_of(tool)))
        return next(named, name)

    def _with_recorded(self, agent: Agent[Any]) -> Agent[Any]:
        """The agent with tools that return what is recorded for them, as long as there is something."""
        if not self.recorded:
            return agent

        def replayed(tool: FunctionTool) -> FunctionTool:
            async def invoke(context: ToolContext[Any], arguments: str) -> object:
                results = self.recorded.get(tool.name)
                return results.pop(0) if results else await tool.on_invoke_tool(context, arguments)

            return replace(tool, on_invoke_tool=invoke, needs_approval=False)

        tools = [
            replayed(tool) if isinstance(tool, FunctionTool) and tool.name in self.recorded else tool
            for tool in agent.tools
        ]
        return agent.clone(tools=tools)

    async def say(self, text: str, *, user: str = "ann", script: Sequence[Step] | Model | None = None) -> Reply:
        """Send a message of `user`. The steps of `script` answer it; without a script, the demo model does.

        RefusedError: the server refused the message.
        """
        self._player.now = _model_of(script)
        content = [{"type": "input_text", "text": text}]
        params: dict[str, Any] = {"input": {"content": content, "attachments": [], "inference_options": {}}}
        if user in self._threads:
            params["thread_id"] = self._threads[user]
        return await self._ask(
            "threads.add_user_message" if user in self._threads else "threads.create", params, user=user
        )

    async def press(
        self, action: str, payload: object = None, *, user: str = "ann", item_id: str | None = None
    ) -> Reply:
        """Trigger an action of a widget in the user's thread: of the item `item_id`, or of the newest widget."""
        if user not in self._threads:
            raise RefusedError(f"{user} has no thread yet: say something first.")
        items = await self._items(self._threads[user], user)
        sender = item_id or next((item.id for item in reversed(items) if item.type == "widget"), None)
        params = {"thread_id": self._threads[user], "action": {"type": action, "payload": payload}}
        return await self._ask("threads.custom_action", params | ({"item_id": sender} if sender else {}), user=user)

    def operator(self, name: str = "olga") -> Operator:
        """A person who can take a user's thread, answer in it, and return it to your agent."""
        return Operator(name, self._change)

    def new_thread(self, *, user: str = "ann") -> None:
        """Start a new thread with the user's next message."""
        self._threads.pop(user, None)

    async def _ask(self, operation: str, params: dict[str, Any], *, user: str) -> Reply:
        self._server.turn = self._server.cause = None
        tool_secrets.install(ToolSecrets(self._secret))
        path = f"/chatkit/{self._assistant}".rstrip("/")
        answer = await self._post(path, {"type": operation, "params": params}, f"Bearer {user}", operation)
        events: list[dict[str, Any]] = [json.loads(message.data) for message in sse.read(answer.content)]
        created = next((event["thread"]["id"] for event in events if event["type"] == "thread.created"), None)
        thread_id = self._threads[user] = created or self._threads[user]
        done = [e["item"] for e in events if e["type"] in ("thread.item.done", "thread.item.replaced")]
        texts = [part["text"] for item in done if item["type"] == "assistant_message" for part in item["content"]]
        widgets = [item["widget"] for item in done if item["type"] == "widget"]
        items = await self._items(thread_id, user)
        turn, lease = self._server.turn, await self.store.ledger.load_turn(thread_id, context=self._context(user))
        return Reply(
            thread_id,
            "\n".join(texts),
            list(turn.tools) if turn else [],
            widgets,
            events,
            items,
            tokens_in=turn and turn.tokens_in,
            tokens_out=turn and turn.tokens_out,
            cause=self._server.cause or next(iter(turn.tool_errors if turn else []), None),
            held=lease.hold.state if lease is not None and lease.hold is not None else None,
            _ask=partial(self._ask, user=user),
        )

    async def _change(self, name: str, user: str, change: str, body: dict[str, str] | None) -> dict[str, Any]:
        """Have an operator change the user's thread."""
        if user not in self._threads:
            raise RefusedError(f"{user} has no thread yet: say something first.")
        path = f"/operator/threads/{self._context(user).user.id}/{self._threads[user]}/{change}"
        answer = await self._post(path, body, f"{OPERATOR}{name}", change)
        changed: dict[str, Any] = answer.json()
        return changed

    async def _post(self, path: str, body: object, authorization: str, operation: str) -> httpx2.Response:
        transport = httpx2.ASGITransport(app=self._app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://agent.test", timeout=None) as client:
            headers = {"authorization": authorization, "content-type": "application/json"}
            headers["x-chat-turn"] = f"test-turn-{next(_numbers):012}"
            content = b"" if body is None else json.dumps(body).encode()
            answer = await client.post(path, content=content, headers=headers)
        if answer.status_code != 200:
            raise RefusedError(f"{operation} was refused ({answer.status_code}): {answer.json()['message']}")
        return answer

    async def _user(self, authorization: str | None) -> User:
        """Authenticate `Bearer ann` as the user ann, and `Operator olga` as the operator olga."""
        authorization = authorization or ""
        if authorization.startswith(OPERATOR):
            return User(id=authorization.removeprefix(OPERATOR), operates=frozenset({self._assistant}))
        name = authorization.removeprefix("Bearer ")
        if not name:
            raise AuthError("Sign in first.")
        claims = MappingProxyType(dict(self.claims.get(name, {})))
        return User(id=name, issuer=ISSUER, subject=name, claims=claims)

    def _secret(self, name: str) -> str:
        if name not in self.secrets:
            raise SecretReadError(f'set it in the test: chat.secrets["{name}"] = "..."')
        return self.secrets[name]

    async def _items(self, thread_id: str, user: str) -> list[ThreadItem]:
        return (await self.store.load_thread_items(thread_id, None, 100, "asc", self._context(user))).data

    def _context(self, user: str) -> RequestContext:
        return RequestContext(user=User(id=user).at(self._assistant), request_id="test")


def _model_of(script: Sequence[Step] | Model | None) -> Model:
    match script:
        case None:
            return DemoModel(sleep=_at_once)
        case Model():
            return script
        case _:
            return ScriptedModel([list(step) for step in script])


async def _at_once(_: float) -> None:
    """The demo model's pause, left out."""


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    """The URL of `app` (FastAPI, Starlette, an MCP server's app), served on this machine until the block ends.

    For fakes of the services that your tools call: any HTTP client reaches them, so nothing has to be patched.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await asyncio.to_thread(thread.join)


def real_model(environ: Mapping[str, str] = os.environ) -> RunConfig | None:
    """The configuration of runs with REAL_MODEL=1, the same as for `make dev`; None otherwise.

    SettingsError: REAL_MODEL=1, but no model is configured.
    """
    if environ.get("REAL_MODEL") != "1":
        return None
    settings = local_settings({**environ, "CHAT_STORE": "memory"})
    config = local_run_config(settings, environ)
    if config is None:
        raise SettingsError(["REAL_MODEL=1 needs OPENAI_API_KEY, or a CHAT_MODEL_BASE_URL on this machine."])
    return config


@pytest.fixture
def chat() -> AgentChat:
    """A chat with the agent of lambda_src/agent/."""
    return AgentChat(real_model=real_model(), load_hooks=shipped_hooks)
