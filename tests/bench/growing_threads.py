"""Measures the cost of a turn as its thread grows: alternating turns in threads of several sizes on DynamoDB Local.

MiniStack is unsuitable, because its own queries slow down as a table grows. DynamoDB Local needs Java and npm.
The clock that turns and store use advances between two turns of a thread, as if the user were reading and typing.
"""

import asyncio
import statistics
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product

from agents import Agent, FunctionTool, function_tool
from chatkit.types import ThreadsAddUserMessageReq

from lambda_src.chat.server import ChatServer
from lambda_src.dev.store_contract.samples import answer_of, thread_of
from lambda_src.models.demo_model import message_of, tool_call_of
from lambda_src.models.openai_client import Client
from lambda_src.runs.dispatcher import AgentDispatcher
from lambda_src.settings import Settings
from lambda_src.store.dynamodb import DynamoDBStore
from lambda_src.turns.lifecycle import Turns
from tests.apps.chat import message, served
from tests.bench.in_process_turn import HISTORY_ITEMS, context, services, turn
from tests.bench.scripted_model import run_config
from tests.store.dynamodb_local import dynamodb_local
from tests.store.tables import Aws

SIZES = (10, 100, 1_000, 10_000)
WINDOWS = (HISTORY_ITEMS, SIZES[0])  # items in the model's input; the second is the same for every thread
TYPING_NS = 10 * 10**9


@function_tool
def look() -> str:
    """Look."""
    return "seen"


@dataclass(frozen=True, slots=True)
class Cost:
    """A turn's CPU, DynamoDB requests (all, and before the model call), and time to the model call and first word."""

    cpu_ms: float
    requests: float
    before_model: float
    model_called_ms: float
    first_word_ms: float


class GrowingThread:
    """A thread with `size` items in the table, in which turns can be run."""

    def __init__(self, aws: Aws, table: str, size: int) -> None:
        self.size, self.thread_id = size, f"thr_{size}"
        self.sent: list[float] = []
        self.passed_ns = 0
        aws.dynamodb.meta.events.register("before-send", lambda **_: self.sent.append(time.perf_counter()))
        self.store = DynamoDBStore(aws.dynamodb, table, clock=self.now_ns, executor=ThreadPoolExecutor(32))

    def now_ns(self) -> int:
        """The time, including simulated pauses."""
        return time.time_ns() + self.passed_ns

    async def fill(self) -> None:
        request_context = context()
        await self.store.save_thread(thread_of(self.thread_id), request_context)
        for start in range(0, self.size, 50):
            numbers = range(start, min(self.size, start + 50))
            await asyncio.gather(
                *(
                    self.store.add_thread_item(
                        self.thread_id,
                        answer_of(f"msg_{n}", "It is raining.", thread_id=self.thread_id),
                        request_context,
                    )
                    for n in numbers
                )
            )

    async def turn(self, *, tools: bool, window: int) -> Cost:
        model_calls: list[float] = []
        answers = [tool_call_of("look"), message_of("Done now.")] if tools else [message_of("Done now.")]
        config = run_config(Client, *answers, call_times=model_calls)
        used: list[FunctionTool] = [look] if tools else []
        dispatcher = AgentDispatcher(lambda: Agent(name="T", tools=list(used)), build_run_config=lambda: config)
        await dispatcher.ensure_initialized()
        server = ChatServer(self.store, dispatcher, feedback=self.store, settings=Settings(history_items=window))
        params = {"thread_id": self.thread_id, "input": message(uuid.uuid4().hex)}
        request = ThreadsAddUserMessageReq.model_validate({"params": params})
        turns = Turns(replace(services(self.store), clock=lambda: self.now_ns() // 10**6))
        self.passed_ns += TYPING_NS
        self.sent.clear()
        began_s, cpu_s, first_s = time.perf_counter(), time.process_time(), 0.0
        async for event in await turn(served(server), turns, request, context()):
            if not first_s and b"text_delta" in event:
                first_s = time.perf_counter()
        cpu_ms = (time.process_time() - cpu_s) * 1e3
        assert len(model_calls) == (2 if tools else 1), "the turn was replayed or did not call its tool"
        before = sum(at < model_calls[0] for at in self.sent)
        return Cost(cpu_ms, len(self.sent), before, (model_calls[0] - began_s) * 1e3, (first_s - began_s) * 1e3)


async def growth(rounds: int) -> dict[tuple[int, bool, int], Cost]:
    """The median costs of turns, by thread size, tools and window. The threads take turns."""
    with dynamodb_local() as aws:
        table = aws.table()
        threads = [GrowingThread(aws, table, size) for size in SIZES]
        for thread in threads:
            await thread.fill()
        costs_by_case: dict[tuple[int, bool, int], list[Cost]] = {}
        for number in range(rounds + 1):
            for thread, tools, window in product(threads, (False, True), WINDOWS):
                cost = await thread.turn(tools=tools, window=window)
                if number:
                    costs_by_case.setdefault((thread.size, tools, window), []).append(cost)
    return {
        key: Cost(*(statistics.median(getattr(cost, name) for cost in costs) for name in Cost.__slots__))
        for key, costs in costs_by_case.items()
    }
