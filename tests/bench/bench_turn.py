"""Benchmark of the CPU cost of requests, model calls, words and turns, against the plain SDKs and as a thread grows.

    .venv/bin/python -m tests.bench.bench_turn [--quick]

writes its section of docs/reference/benchmarks.md. CPU is that of this process; the model answers over an in-process
transport, so that no socket is measured. The two sides of a comparison take turns; results are medians. The
measurements of growing threads use DynamoDB Local, which needs Java and npm.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from agents import Agent, ModelSettings, ModelTracing, RunConfig, Runner
from chatkit.agents import AgentContext, ThreadItemConverter, stream_agent_response
from chatkit.server import ChatKitServer
from chatkit.types import ThreadMetadata, ThreadsCreateReq, ThreadsListReq
from openai import AsyncOpenAI

from lambda_src.context import RequestContext
from lambda_src.dev.store_contract.samples import answer_of, thread_of
from lambda_src.dev.store_contract.samples import message_of as user_message_of
from lambda_src.models import providers
from lambda_src.models.demo_model import message_of
from lambda_src.models.openai_client import Client
from lambda_src.runs.conversion import HistoryConverter
from lambda_src.store.memory.store import MemoryStore
from lambda_src.turns.lifecycle import Turns
from tests.apps.chat import message, served, server_with
from tests.bench import report
from tests.bench.growing_threads import SIZES, growth
from tests.bench.in_process_turn import HISTORY_ITEMS, body_of, context, services, turn
from tests.bench.scripted_model import MakeClient, run_config

MARK = "bench-turn"
WORDS = 2_000  # of the answer whose CPU time is measured


class Plain(ChatKitServer[RequestContext]):
    """The server in ChatKit's own example."""

    def __init__(self, store: MemoryStore, config: RunConfig) -> None:
        super().__init__(store)
        self._config = config

    async def respond(self, thread: ThreadMetadata, input_user_message: Any, context: RequestContext) -> Any:
        page = await self.store.load_thread_items(thread.id, None, HISTORY_ITEMS, "desc", context)
        history = await ThreadItemConverter().to_agent_input(page.data[::-1])
        services = AgentContext(thread=thread, store=self.store, request_context=context)
        run = Runner.run_streamed(Agent(name="Plain", model="m"), history, context=services, run_config=self._config)
        async for event in stream_agent_response(services, run):
            yield event


CREATE = ThreadsCreateReq.model_validate({"params": {"input": message("hi")}})


async def words_by_the_sdk() -> float:
    """CPU microseconds per word of ChatKitServer.process() with openai's own client."""
    server = Plain(MemoryStore(), run_config(AsyncOpenAI, message_of("of words " * (WORDS // 2))))
    events: Any = await server.process(body_of(CREATE), context())
    began_s = time.process_time()
    words = sum([b"text_delta" in event async for event in events])
    return (time.process_time() - began_s) / words * 1e6


async def words_by_us() -> float:
    """CPU microseconds per word of our whole path: client, server, lease, idempotency key and journal."""
    store = MemoryStore()
    server = server_with(store, run_config=run_config(Client, message_of("of words " * (WORDS // 2))))
    began_s = time.process_time()
    words = sum(
        [
            b"text_delta" in event
            async for event in await turn(served(server), Turns(services(store)), CREATE, context())
        ]
    )
    return (time.process_time() - began_s) / words * 1e6


async def list_cpu(*, ours: bool) -> float:
    """CPU milliseconds of a warm threads.list with 20 threads."""
    store = MemoryStore()
    request_context = context()
    for number in range(20):
        await store.save_thread(thread_of(f"thr_{number}"), request_context)
    server = server_with(store)
    request = ThreadsListReq.model_validate({"params": {}})
    body = body_of(request)
    began_s = time.process_time()
    for _ in range(20):
        await (served(server).answer(request, request_context) if ours else server.process(body, request_context))
    return (time.process_time() - began_s) / 20 * 1e3


async def call_cpu(make: MakeClient, history: list[Any]) -> float:
    """CPU milliseconds of a model call, from the SDK's model to its first event."""
    model = run_config(make, message_of("ok")).model_provider.get_model("m")
    settings, tracing = ModelSettings(), ModelTracing.DISABLED
    began_s = time.process_time()
    for _ in range(5):
        stream = model.stream_response(
            None, history, settings, [], None, [], tracing, previous_response_id=None, conversation_id=None, prompt=None
        )
        await anext(aiter(stream))
        await stream.aclose()  # type: ignore[attr-defined]  # a generator
    return (time.process_time() - began_s) / 5 * 1e3


async def history(items: int) -> list[Any]:
    """The model input for a thread with `items` items."""
    thread_items: list[Any] = [
        user_message_of(f"m_{n}", "What is the weather like?") if n % 2 else answer_of(f"m_{n}", "It is raining. " * 20)
        for n in range(items)
    ]
    return list(await HistoryConverter(max_tokens=10**9).history_to_input(thread_items))


async def paired(rounds: int, *measures: Callable[[], Awaitable[float]]) -> list[float]:
    """The medians of measurements taken in turn. The first round is a warm-up and does not count."""
    results: list[list[float]] = [[] for _ in measures]
    for number in range(rounds + 1):
        for index, measure in enumerate(measures):
            value = await measure()
            if number:
                results[index].append(value)
    return [statistics.median(values) for values in results]


def ratio(pair: list[float], unit: str) -> str:
    """The ratio of the first value to the second, and both values."""
    return f"{pair[0] / pair[1]:.2f}x ({pair[0]:.3g} / {pair[1]:.3g} {unit})"


async def measured(rounds: int) -> list[str]:
    """The lines of the section."""
    providers.trace_nothing()
    histories = {items: await history(items) for items in (1, 100, 500)}
    listed = await paired(rounds, lambda: list_cpu(ours=True), lambda: list_cpu(ours=False))
    rows = [("CPU of a warm threads.list, to ChatKitServer.process()", ratio(listed, "ms"), "0.2x")]
    for items, model_input in histories.items():
        pair = await paired(rounds, partial(call_cpu, Client, model_input), partial(call_cpu, AsyncOpenAI, model_input))
        target = "0.2x" if items == 100 else "-"
        rows.append((f"CPU of a model call at {items} items, to openai's own", ratio(pair, "ms"), target))
    words = await paired(rounds, words_by_us, words_by_the_sdk)
    rows.append(
        (
            "CPU a word, the whole path with lease, idempotency key and journal, to the plain SDKs",
            ratio(words, "us"),
            "0.6x",
        )
    )
    grown = await growth(rounds)
    for tools in (False, True):
        pair = [grown[size, tools, SIZES[0]].cpu_ms for size in (SIZES[-1], SIZES[0])]
        what = f"{'with a tool' if tools else 'without tools'}, {SIZES[0]} items shown"
        rows.append((f"CPU of a turn {what}, at {SIZES[-1]:,} items to one at {SIZES[0]}", ratio(pair, "ms"), "1.2x"))
    sizes = [
        (
            f"{size:,}{', with a tool' if tools else ''}",
            f"{cost.cpu_ms:.0f}",
            f"{cost.requests:.0f}",
            f"{cost.before_model:.0f}",
            f"{cost.model_called_ms:.0f}",
            f"{cost.first_word_ms:.0f}",
        )
        for (size, tools, window), cost in grown.items()
        if window == HISTORY_ITEMS
    ]
    head = ("items", "CPU ms", "DynamoDB requests", "... before the model", "ms until the model", "ms until a word")
    return [*report.table(("", "measured", "aimed at"), rows), "", *report.table(head, sizes)]


def main() -> None:
    """Measure, then print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round, nothing written")
    options = parser.parse_args()
    lines = asyncio.run(measured(1 if options.quick else 9))
    intro = f"`.venv/bin/python -m tests.bench.bench_turn` on {report.machine()}. Medians of 9 interleaved rounds."
    what = "The first table compares the CPU time of this server with that of the libraries alone."
    text = report.section(MARK, ["## A turn", "", intro, "", what, "", *lines])
    sys.stdout.write(text)
    if not options.quick:
        report.write(MARK, text)


if __name__ == "__main__":
    main()
