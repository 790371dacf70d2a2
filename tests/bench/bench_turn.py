"""What a request, a model call, a word and a whole turn cost, beside the unmodified SDKs and as a thread grows.

    .venv/bin/python -m tests.bench.bench_turn [--quick]

writes its section of docs/benchmarks.md. CPU is this process's; the model answers over a transport without a network,
so that none of it is a socket's. Each pair takes turns: medians of rounds. For growth the store is on MiniStack.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
from agents import Agent, FunctionTool, ModelSettings, ModelTracing, OpenAIProvider, RunConfig, Runner, function_tool
from chatkit.agents import AgentContext, ThreadItemConverter, stream_agent_response
from chatkit.server import ChatKitServer
from chatkit.types import StreamingReq, ThreadMetadata, ThreadsAddUserMessageReq, ThreadsCreateReq, ThreadsListReq
from openai import AsyncOpenAI

from lambda_src import models
from lambda_src.context import RequestContext, Turn, User
from lambda_src.converter import HistoryConverter
from lambda_src.demo_model import events_of, message_of, tool_call_of
from lambda_src.dev.local_aws import TABLE, LocalAws, local_aws
from lambda_src.dev.store_contract.samples import answer_of, thread_of
from lambda_src.dev.store_contract.samples import message_of as user_message_of
from lambda_src.dispatcher import AgentDispatcher
from lambda_src.model_client import Client
from lambda_src.server import ChatServer
from lambda_src.store.dynamodb import DynamoDBStore
from lambda_src.store.memory import MemoryStore
from lambda_src.turns.keeping import Keeper
from lambda_src.turns.running import Surroundings
from lambda_src.turns.turns import Asked, Turns
from tests.bench import report
from tests.chat import message, server_with

MARK = "bench-turn"
WORDS = 2_000  # of the answer whose CPU is taken
SIZES = (10, 100, 1_000, 10_000)
HISTORY_ITEMS = 40  # the default
MakeClient = Callable[..., AsyncOpenAI]
ANN = User("ann")


def context() -> RequestContext:
    """A request of its own."""
    return RequestContext(user=ANN, request_id="r", turn=Turn(id=uuid.uuid4().hex))


class Bytes(httpx2.AsyncByteStream):
    """An answer's bytes, event by event, as they come from a socket."""

    def __init__(self, lines: list[bytes]) -> None:
        self._lines = lines

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for line in self._lines:
            await asyncio.sleep(0)
            yield line


def run_config(make: MakeClient, *answers: Any, asked: list[float] | None = None) -> RunConfig:
    """Agents run by a model that gives `answers` in turn, over and over; `asked` notes when it is asked."""
    scripts = [
        [f"event: {event.type}\ndata: {event.model_dump_json()}\n\n".encode() for event in events_of(answer)]
        for answer in answers
    ]
    calls = 0

    async def respond(request: httpx2.Request) -> httpx2.Response:
        nonlocal calls
        if asked is not None:
            asked.append(time.perf_counter())
        if not json.loads(request.content).get("stream"):
            return httpx2.Response(400, json={})
        calls += 1
        lines = scripts[(calls - 1) % len(scripts)]
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Bytes(lines))

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(respond))
    client = make(api_key="none", http_client=http, max_retries=0)
    return RunConfig(model_provider=OpenAIProvider(openai_client=client), tracing_disabled=True)


class Plain(ChatKitServer[RequestContext]):
    """ChatKit's own example."""

    def __init__(self, store: MemoryStore, config: RunConfig) -> None:
        super().__init__(store)
        self._config = config

    async def respond(self, thread: ThreadMetadata, input_user_message: Any, context: RequestContext) -> Any:
        page = await self.store.load_thread_items(thread.id, None, HISTORY_ITEMS, "desc", context)
        shown = await ThreadItemConverter().to_agent_input(page.data[::-1])
        around = AgentContext(thread=thread, store=self.store, request_context=context)
        run = Runner.run_streamed(Agent(name="Plain", model="m"), shown, context=around, run_config=self._config)
        async for event in stream_agent_response(around, run):
            yield event


def body_of(request: Any) -> bytes:
    return bytes(request.model_dump_json().encode())


CREATE = ThreadsCreateReq.model_validate({"params": {"input": message("hi")}})


async def words_by_the_sdk() -> float:
    """CPU us a word of ChatKitServer.process() with openai's own client."""
    server = Plain(MemoryStore(), run_config(AsyncOpenAI, message_of("of words " * (WORDS // 2))))
    events: Any = await server.process(body_of(CREATE), context())
    began_s = time.process_time()
    words = sum([b"text_delta" in event async for event in events])
    return (time.process_time() - began_s) / words * 1e6


async def words_by_us() -> float:
    """CPU us a word of the whole path: the shortened client, the server, lease, guard and journal."""
    store = MemoryStore()
    server = server_with(store, run_config=run_config(Client, message_of("of words " * (WORDS // 2))))
    began_s = time.process_time()
    words = sum([b"text_delta" in event async for event in await turn(server, Turns(around(store)), CREATE, context())])
    return (time.process_time() - began_s) / words * 1e6


def around(store: Any) -> Surroundings:
    return Surroundings(store.ledger, Keeper(store))


async def turn(server: ChatServer, turns: Turns, request: StreamingReq, who: RequestContext) -> AsyncIterator[bytes]:
    """The events of one turn, as routes.py has it run."""
    thread_id = None if isinstance(request, ThreadsCreateReq) else request.params.thread_id
    asked = Asked(request.type, thread_id=thread_id, body=body_of(request), named=None)

    async def begin() -> Any:
        return await server.events(request, who)

    running = await turns.open(asked, lambda: server.check(request, who), begin, context=who)

    async def events() -> AsyncIterator[bytes]:
        async for event in running:
            yield event
        await running.stop()

    return events()


async def list_cpu(*, ours: bool) -> float:
    """CPU ms of a warm threads.list of 20 threads."""
    store = MemoryStore()
    who = context()
    for number in range(20):
        await store.save_thread(thread_of(f"thr_{number}"), who)
    server = server_with(store)
    request = ThreadsListReq.model_validate({"params": {}})
    body = body_of(request)
    began_s = time.process_time()
    for _ in range(20):
        await (server.answer(request, who) if ours else server.process(body, who))
    return (time.process_time() - began_s) / 20 * 1e3


async def call_cpu(make: MakeClient, shown: list[Any]) -> float:
    """CPU ms of one model call, from the SDK's model to its first event."""
    model = run_config(make, message_of("ok")).model_provider.get_model("m")
    settings, tracing = ModelSettings(), ModelTracing.DISABLED
    began_s = time.process_time()
    for _ in range(5):
        stream = model.stream_response(
            None, shown, settings, [], None, [], tracing, previous_response_id=None, conversation_id=None, prompt=None
        )
        await anext(aiter(stream))
        await stream.aclose()  # type: ignore[attr-defined]  # a generator
    return (time.process_time() - began_s) / 5 * 1e3


async def history(items: int) -> list[Any]:
    """What a model is shown of so many items."""
    made: list[Any] = [
        user_message_of(f"m_{n}", "What is the weather like?") if n % 2 else answer_of(f"m_{n}", "It is raining. " * 20)
        for n in range(items)
    ]
    return list(await HistoryConverter(max_tokens=10**9).history_to_input(made))


async def paired(rounds: int, *measures: Callable[[], Awaitable[float]]) -> list[float]:
    """The medians, taken in turn; the first round warms."""
    found: list[list[float]] = [[] for _ in measures]
    for number in range(rounds + 1):
        for index, measure in enumerate(measures):
            value = await measure()
            if number:
                found[index].append(value)
    return [statistics.median(values) for values in found]


@function_tool
def look() -> str:
    """Look."""
    return "seen"


@dataclass(frozen=True, slots=True)
class Cost:
    """One turn: CPU; DynamoDB's requests, all and before the model was asked; when it was asked; the first word."""

    cpu_ms: float
    requests: float
    before_model: float
    asked_ms: float
    first_word_ms: float


class Grown:
    """A thread of so many items in the table, and turns in it."""

    def __init__(self, aws: LocalAws, size: int) -> None:
        self.size, self.thread_id = size, f"thr_{size}"
        self.sent: list[float] = []
        client = aws.client("dynamodb")
        client.meta.events.register("before-send", lambda **_: self.sent.append(time.perf_counter()))
        self.store = DynamoDBStore(client, TABLE, executor=ThreadPoolExecutor(32))

    async def fill(self) -> None:
        who = context()
        await self.store.save_thread(thread_of(self.thread_id), who)
        for start in range(0, self.size, 50):
            numbers = range(start, min(self.size, start + 50))
            await asyncio.gather(
                *(
                    self.store.add_thread_item(
                        self.thread_id, answer_of(f"msg_{n}", "It is raining.", thread_id=self.thread_id), who
                    )
                    for n in numbers
                )
            )

    async def turn(self, *, tools: bool) -> Cost:
        asked: list[float] = []
        answers = [tool_call_of("look"), message_of("Done now.")] if tools else [message_of("Done now.")]
        config = run_config(Client, *answers, asked=asked)
        used: list[FunctionTool] = [look] if tools else []
        dispatcher = AgentDispatcher(lambda: Agent(name="T", tools=list(used)), build_run_config=lambda: config)
        await dispatcher.ensure_initialized()
        server = ChatServer(self.store, dispatcher, feedback=self.store, history_items=HISTORY_ITEMS)
        params = {"thread_id": self.thread_id, "input": message(uuid.uuid4().hex)}
        request = ThreadsAddUserMessageReq.model_validate({"params": params})
        self.sent.clear()
        began_s, cpu_s, first_s = time.perf_counter(), time.process_time(), 0.0
        async for event in await turn(server, Turns(around(self.store)), request, context()):
            if not first_s and b"text_delta" in event:
                first_s = time.perf_counter()
        cpu_ms = (time.process_time() - cpu_s) * 1e3
        assert len(asked) == (2 if tools else 1), "the turn was replayed, or did not call its tool"
        before = sum(at < asked[0] for at in self.sent)
        return Cost(cpu_ms, len(self.sent), before, (asked[0] - began_s) * 1e3, (first_s - began_s) * 1e3)


async def growth(rounds: int) -> dict[tuple[int, bool], Cost]:
    """The medians of turns in threads of every size, in turn."""
    with tempfile.TemporaryDirectory() as folder:
        async with local_aws(Path(folder)) as aws:
            threads = [Grown(aws, size) for size in SIZES]
            for thread in threads:
                await thread.fill()
            found: dict[tuple[int, bool], list[Cost]] = {}
            for number in range(rounds + 1):
                for thread in threads:
                    for tools in (False, True):
                        cost = await thread.turn(tools=tools)
                        if number:
                            found.setdefault((thread.size, tools), []).append(cost)
    return {
        key: Cost(*(statistics.median(getattr(cost, name) for cost in costs) for name in Cost.__slots__))
        for key, costs in found.items()
    }


def ratio(pair: list[float], unit: str) -> str:
    """`ours` to the other."""
    return f"{pair[0] / pair[1]:.2f}x ({pair[0]:.3g} / {pair[1]:.3g} {unit})"


async def measured(rounds: int) -> list[str]:
    """The section's lines."""
    models.trace_nothing()
    shown = {items: await history(items) for items in (1, 100, 500)}
    listed = await paired(rounds, lambda: list_cpu(ours=True), lambda: list_cpu(ours=False))
    rows = [("CPU of a warm threads.list, to ChatKitServer.process()", ratio(listed, "ms"), "0.2x")]
    for items, about in shown.items():
        pair = await paired(rounds, partial(call_cpu, Client, about), partial(call_cpu, AsyncOpenAI, about))
        target = "0.2x" if items == 100 else "-"
        rows.append((f"CPU of a model call at {items} items, to openai's own", ratio(pair, "ms"), target))
    words = await paired(rounds, words_by_us, words_by_the_sdk)
    rows.append(
        ("CPU a word, the whole path with lease, guard and journal, to the plain SDKs", ratio(words, "us"), "0.6x")
    )
    grown = await growth(rounds)
    for tools in (False, True):
        pair = [grown[SIZES[-1], tools].cpu_ms, grown[SIZES[0], tools].cpu_ms]
        what = "with a tool" if tools else "without tools"
        rows.append((f"CPU of a turn {what} at {SIZES[-1]:,} items, to one at {SIZES[0]}", ratio(pair, "ms"), "1.2x"))
    sizes = [
        (
            f"{size:,}{', with a tool' if tools else ''}",
            f"{cost.cpu_ms:.0f}",
            f"{cost.requests:.0f}",
            f"{cost.before_model:.0f}",
            f"{cost.asked_ms:.0f}",
            f"{cost.first_word_ms:.0f}",
        )
        for (size, tools), cost in grown.items()
    ]
    head = ("items", "CPU ms", "DynamoDB requests", "... before the model", "ms until the model", "ms until a word")
    return [*report.table(("", "measured", "aimed at"), rows), "", *report.table(head, sizes)]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round, nothing written")
    options = parser.parse_args()
    lines = asyncio.run(measured(1 if options.quick else 9))
    told = f"`.venv/bin/python -m tests.bench.bench_turn` on {report.machine()}. Medians of 9 rounds in turn."
    text = report.section(MARK, ["## A turn", "", told, "", *lines])
    sys.stdout.write(text)
    if not options.quick:
        report.write(MARK, text)


if __name__ == "__main__":
    main()
