"""What a turn costs as its thread grows: threads of every size on DynamoDB Local, turns in them in turn.

Not on MiniStack, whose own queries slow down as a table grows. DynamoDB Local needs Java and npm.
Between two turns of a thread somebody reads and types, by the clock that turns and store are given.
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
WINDOWS = (HISTORY_ITEMS, SIZES[0])  # how many items the model is shown; with the second, as many in every thread
TYPING_NS = 10 * 10**9


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

    def __init__(self, aws: Aws, table: str, size: int) -> None:
        self.size, self.thread_id = size, f"thr_{size}"
        self.sent: list[float] = []
        self.passed_ns = 0
        aws.dynamodb.meta.events.register("before-send", lambda **_: self.sent.append(time.perf_counter()))
        self.store = DynamoDBStore(aws.dynamodb, table, clock=self.now_ns, executor=ThreadPoolExecutor(32))

    def now_ns(self) -> int:
        """The time, and the pauses that nobody waited for."""
        return time.time_ns() + self.passed_ns

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

    async def turn(self, *, tools: bool, window: int) -> Cost:
        asked: list[float] = []
        answers = [tool_call_of("look"), message_of("Done now.")] if tools else [message_of("Done now.")]
        config = run_config(Client, *answers, asked=asked)
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
        assert len(asked) == (2 if tools else 1), "the turn was replayed, or did not call its tool"
        before = sum(at < asked[0] for at in self.sent)
        return Cost(cpu_ms, len(self.sent), before, (asked[0] - began_s) * 1e3, (first_s - began_s) * 1e3)


async def growth(rounds: int) -> dict[tuple[int, bool, int], Cost]:
    """The medians of turns in threads of every size, in turn: by size, tools and window."""
    with dynamodb_local() as aws:
        table = aws.table()
        threads = [Grown(aws, table, size) for size in SIZES]
        for thread in threads:
            await thread.fill()
        found: dict[tuple[int, bool, int], list[Cost]] = {}
        for number in range(rounds + 1):
            for thread, tools, window in product(threads, (False, True), WINDOWS):
                cost = await thread.turn(tools=tools, window=window)
                if number:
                    found.setdefault((thread.size, tools, window), []).append(cost)
    return {
        key: Cost(*(statistics.median(getattr(cost, name) for cost in costs) for name in Cost.__slots__))
        for key, costs in found.items()
    }
