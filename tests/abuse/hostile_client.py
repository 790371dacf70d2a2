"""Simulation for the hostile client test: several processes on one table, a vendor that counts tokens, virtual time.

The product is real and built by the composition: app, Agents SDK, store, counters. Lambda, DynamoDB and the vendor are
working fakes. The client's behavior is in test_hostile_client.py.
"""

import asyncio
import json
import selectors
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, Future
from contextvars import ContextVar
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from agents import (
    Agent,
    Model,
    ModelProvider,
    ModelResponse,
    ModelSettings,
    RunConfig,
    Tool,
    TResponseInputItem,
    Usage,
    function_tool,
)
from agents.items import TResponseStreamEvent
from botocore.exceptions import EndpointConnectionError
from chatkit.types import AudioInput
from openai.types import responses as r
from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails, ResponseUsage

from lambda_src.auth import FirstOf, GuestTokens
from lambda_src.composition.app import Parts, build_app
from lambda_src.context import RequestContext, Turn
from lambda_src.models.demo_model import events_of, message_of, tool_call_of
from lambda_src.models.transcription import Transcript
from lambda_src.quotas.turn_quota import Quotas
from lambda_src.rotating_secret import Secret
from lambda_src.runs.widget_actions import Actions
from lambda_src.settings import Settings
from lambda_src.store import keys
from lambda_src.store.counters import day_of
from lambda_src.store.dynamodb import DynamoDBStore
from tests.apps.chat import known_by_name
from tests.quotas.tokenizer import count_tokens
from tests.store.engine.engine import Engine

STAGE, PERCENT, OF_A_USER = 60_000, 75, 15_000  # tokens per day: about ten turns, so that every day reaches its limit
SETTINGS = Settings.from_env(
    {
        "CHAT_STORE": "dynamodb",
        "CHAT_TABLE": "table",
        "CHAT_AUTH_ISSUER": "https://issuer.test/",
        "CHAT_AUTH_AUDIENCE": "chat",
        "CHAT_GUEST_SECRET": "/guest-secret",
        "CHAT_DICTATION_MODEL": "gpt-transcribe",
        "CHAT_QUOTAS": json.dumps(
            {"stage_tokens_per_day": STAGE, "tokens_per_day": OF_A_USER, "max_output_tokens": 3000}
        ),
        "CHAT_GUEST_QUOTAS": json.dumps({"tokens_percent": PERCENT}),
    }
)
DEADLINE_S = 60.0  # per invocation
WORDS = 3  # per answer; most generated tokens here are reasoning


class Selector(selectors.DefaultSelector):
    """A selector that advances virtual time instead of waiting, but really waits while threads work."""

    now_s = 0.0
    threads = 0

    def select(self, timeout: float | None = None) -> Any:
        """Return the events that are ready."""
        ready = super().select(0.001 if self.threads else 0)
        if not ready and not self.threads:
            assert timeout is not None, "deadlock: every task waits forever"
            self.now_s += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time: when every task waits, time jumps to the next wake-up."""

    def __init__(self) -> None:
        self.selector = Selector()
        super().__init__(self.selector)

    def time(self) -> float:
        """The loop's clock."""
        return self.selector.now_s

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]  # passes everything on
        """Run in a thread, with virtual time stopped until it is done."""
        future = super().run_in_executor(executor, func, *args)
        if executor is None:  # a Connection has answered already, or never will
            self.selector.threads += 1
            future.add_done_callback(self._leave)
        return future

    def _leave(self, _: object) -> None:
        self.selector.threads -= 1


class Connection(Executor):
    """A process's connection to the table. A failing request either does not take effect, or does without an answer."""

    def __init__(self) -> None:
        self.is_dead = False
        self.fault: Literal["before", "after"] | None = None

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Answer at once, or never if the process has died."""
        future: Future[Any] = Future()
        if self.is_dead:
            return future
        fault, self.fault = self.fault, None
        try:
            answer = None if fault == "before" else fn(*args, **kwargs)
            if fault is not None:
                raise EndpointConnectionError(endpoint_url="https://table.test")
            future.set_result(answer)
        except Exception as error:  # noqa: BLE001 - any refusal of the engine
            future.set_exception(error)
        return future


@dataclass(eq=False)
class Attempt:
    """A request of the client: how the model will behave if it is called, and for whom it was admitted."""

    random: Random
    lasts_s: float = 0.0
    calls: float = 0.3  # probability of a tool call per model call
    context: RequestContext | None = None  # set once it was admitted
    day: int = 0


ATTEMPT: ContextVar[Attempt] = ContextVar("attempt")


@dataclass(eq=False)
class Process:
    """One process of the stage."""

    app: Any
    connection: Connection
    streams: "set[Stream]" = field(default_factory=set)

    @property
    def is_dead(self) -> bool:
        """Whether the process was killed."""
        return self.connection.is_dead


@dataclass(eq=False)
class Stream:
    """An HTTP answer that the client is reading."""

    process: Process
    attempt: Attempt
    began_s: float
    token: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    is_over: bool = False

    @property
    def turn_id(self) -> str:
        """The turn that it streams, or ""."""
        return self.headers.get("x-chat-turn", "")

    @property
    def follows(self) -> bool:
        """Whether it streams a turn that another request runs."""
        own = self.attempt.context
        return bool(self.turn_id) and (own is None or own.turn is None or own.turn.id != self.turn_id)


class Vendor(Model):
    """A fake vendor that bills the whole input and answer when a request arrives, even if the client leaves."""

    def __init__(self, stage: "Stage", process: Process) -> None:
        self._stage, self._process = stage, process

    async def get_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],
        model_settings: ModelSettings,
        tools: list[Tool],
        *_: Any,
        **__: Any,
    ) -> ModelResponse:
        """Answer a request for a title."""
        sent, answered = self._bill(system_instructions, input, model_settings, tools)
        await asyncio.sleep(ATTEMPT.get().random.choice([0.1, 1.0, 5.0]))
        await self._require_alive()
        usage = Usage(requests=1, input_tokens=sent, output_tokens=answered, total_tokens=sent + answered)
        return ModelResponse(output=[message_of("A title")], usage=usage, response_id=None)

    async def stream_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],
        model_settings: ModelSettings,
        tools: list[Tool],
        *_: Any,
        **__: Any,
    ) -> AsyncIterator[TResponseStreamEvent]:
        """Stream an answer or a tool call; sometimes it breaks off, sometimes without usage."""
        random = ATTEMPT.get().random
        sent, answered = self._bill(system_instructions, input, model_settings, tools)
        calls = bool(tools) and random.random() < ATTEMPT.get().calls
        output = tool_call_of("look_up") if calls else message_of("7 3 1 " * WORDS)
        breaks, counts = random.random() < 0.1, random.random() < 0.8
        for number, event in enumerate(events_of(output)):
            if isinstance(event, r.ResponseTextDeltaEvent):
                await asyncio.sleep(ATTEMPT.get().lasts_s / WORDS)
                await self._require_alive()
            if isinstance(event, r.ResponseCompletedEvent):
                if breaks:
                    raise ConnectionError("broken off")
                if counts:
                    event.response.usage = _usage(sent, answered)
            event.sequence_number = number
            yield event

    def _bill(self, *sent: Any) -> tuple[int, int]:
        """Bill a request; return its input and output tokens."""
        instructions, items, settings, tools = sent
        schemas = [(tool.name, tool.description, tool.params_json_schema) for tool in tools]
        text = json.dumps([instructions, items, schemas], ensure_ascii=False, default=str)
        tokens_in = count_tokens(text)
        limit = settings.max_tokens
        assert limit is not None, "an answer without a limit"
        tokens_out = limit if ATTEMPT.get().random.random() < 0.8 else max(1, limit // 10)
        attempt = ATTEMPT.get()
        assert attempt.context is not None, "a model call in a turn that was not admitted"
        self._stage.bill(attempt.context, attempt.day, tokens_in + tokens_out)
        return tokens_in, tokens_out

    async def _require_alive(self) -> None:
        if self._process.is_dead:
            await asyncio.get_running_loop().create_future()


def _usage(tokens_in: int, tokens_out: int) -> ResponseUsage:
    return ResponseUsage(
        input_tokens=tokens_in,
        input_tokens_details=InputTokensDetails(cached_tokens=0, cache_write_tokens=0),
        output_tokens=tokens_out,
        output_tokens_details=OutputTokensDetails(reasoning_tokens=0),
        total_tokens=tokens_in + tokens_out,
    )


class Provider(ModelProvider):
    """Provides the fake vendor's model."""

    def __init__(self, vendor: Vendor) -> None:
        self._vendor = vendor

    def get_model(self, model_name: str | None) -> Model:
        """Return the vendor's model."""
        return self._vendor


@function_tool
def look_up() -> str:
    """Look something up."""
    return "9 9 4 2"


INSTRUCTIONS = "8 5 3 7 " * 50  # digits: the estimate has the smallest margin for them


class Stage:
    """A deployed stage: its table, its processes, and the tokens that the vendor billed."""

    def __init__(self, loop: VirtualLoop, processes: int) -> None:
        self._loop, self._epoch_ns = loop, time.time_ns()
        self._engine: Any = Engine()
        self.billed: Counter[tuple[int, str]] = Counter()
        self.requests = 0
        self.worst: Counter[str] = Counter()  # per kind of limit, the most tokens billed in a day
        self.processes = [self.process() for _ in range(processes)]
        self.all_streams: list[Stream] = []

    def now_ns(self) -> int:
        """The wall clock of every process, in epoch nanoseconds."""
        return self._epoch_ns + int(self._loop.time() * 1e9)

    def process(self) -> Process:
        """Start a new process."""
        connection = Connection()
        store = DynamoDBStore(self._engine, "table", clock=self.now_ns, executor=connection)
        process = Process(None, connection)
        vendor = Vendor(self, process)
        tokens = GuestTokens(Secret(lambda: "s" * 64), now=lambda: self.now_ns() / 1e9)

        async def transcribe(audio: AudioInput) -> Transcript:
            attempt = ATTEMPT.get()
            assert attempt.context is not None, "a recording that was not admitted"
            seconds = len(audio.data) / 750  # at 6 kbit/s
            self.bill(attempt.context, attempt.day, int(seconds * 15))
            return Transcript("hello")

        parts = Parts(
            authenticate=FirstOf(tokens, known_by_name),
            build_agent=lambda: Agent(name="Test", instructions=INSTRUCTIONS, tools=[look_up]),
            build_run_config=lambda: RunConfig(model_provider=Provider(vendor), tracing_disabled=True),
            build_actions=Actions,
            transcribe=transcribe,
            guest_tokens=tokens,
            clock=self.now_ns,
        )
        process.app = build_app(SETTINGS, store, store.ledger, parts)
        return process

    def bill(self, context: RequestContext, day: int, tokens: int) -> None:
        """Bill tokens to a user, in a turn that began on `day`."""
        self.requests += 1
        names = ["stage", f"user {context.user.id}"]
        if context.user.is_guest:
            names = ["stage", "guests", f"guest {context.user.id}", f"network {context.source}"]
        for name in names:
            self.billed[day, name] += tokens
            kind = name.split()[0]
            self.worst[kind] = max(self.worst[kind], self.billed[day, name])

    async def request(
        self, process: Process, attempt: Attempt, path: str, *, body: bytes = b"", method: str = "POST",
        token: str = "", address: str = "203.0.113.1", **headers: str,
    ) -> Stream:  # fmt: skip
        """Send a request to a process and read the answer to its end, or until the process dies."""
        ATTEMPT.set(attempt)
        stream = Stream(process, attempt, self._loop.time(), token)
        if process.is_dead:
            stream.is_over = True
            return stream
        process.streams.add(stream)
        self.all_streams.append(stream)
        sent = {"content-type": "application/json", "content-length": str(len(body)), **headers}
        if token:
            sent["authorization"] = f"Bearer {token}"
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.0"}, "http_version": "1.1",
            "method": method, "scheme": "https", "path": path, "raw_path": path.encode(), "query_string": b"",
            "root_path": "", "client": (address, 1), "server": ("chat.test", 443),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in sent.items()],
            "aws.context": Invocation(self),
        }  # fmt: skip
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Any:
            if messages:
                return messages.pop()
            return await asyncio.get_running_loop().create_future()

        async def send(message: Any) -> None:
            if process.is_dead:
                await asyncio.get_running_loop().create_future()
            if message["type"] == "http.response.start":
                stream.status = message["status"]
                stream.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                stream.body += message.get("body", b"")
                stream.is_over = not message.get("more_body", False)

        try:
            await process.app(scope, receive, send)
        except Exception:  # a stream reports its own errors
            if stream.status != 200:
                raise
        finally:
            stream.is_over = True
            process.streams.discard(stream)
        return stream

    def expire(self) -> None:
        """Remove expired rows, as DynamoDB does eventually."""
        now_s = self.now_ns() // 10**9
        for key, row in list(self._engine.rows.items()):
            if int(row.get(keys.TTL_ATTRIBUTE, {}).get("N", now_s + 1)) <= now_s:
                del self._engine.rows[key]
        self._engine.requests.clear()

    def kill(self, process: Process) -> None:
        """Kill a process and start another in its place."""
        process.connection.is_dead = True
        for stream in process.streams:
            stream.is_over = True
        self.processes[self.processes.index(process)] = self.process()


class Invocation:
    """Lambda's context of an invocation, on the stage's clock. The app adds the real time to the remaining time."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._until_ns = stage.now_ns() + int(DEADLINE_S * 1e9)
        self.aws_request_id, self.function_version = f"request-{id(self)}", "1"

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the deadline."""
        return (self._until_ns - time.time_ns()) // 1_000_000


def record_admissions(monkeypatch: Any) -> None:
    """Record in each attempt for which user and day it was admitted; the vendor bills by these."""
    admit, spend = Quotas.admit, Quotas.spend

    async def admitted(self: Quotas, context: RequestContext) -> None:
        await admit(self, context)
        turn = context.turn
        assert isinstance(turn, Turn)
        assert turn.meter is not None
        ATTEMPT.get().context, ATTEMPT.get().day = context, turn.meter.day

    async def spent(self: Quotas, context: RequestContext, *, tokens: int) -> None:
        day = day_of(self._clock())
        await spend(self, context, tokens=tokens)
        ATTEMPT.get().context, ATTEMPT.get().day = context, day

    monkeypatch.setattr(Quotas, "admit", admitted)
    monkeypatch.setattr(Quotas, "spend", spent)
