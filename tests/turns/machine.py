"""Parts of the turn state machine test: a store behind a slow connection, a skewed clock, an observed model, workers.

The rules are in rules.py, the invariants in test_machine.py.
"""

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from chatkit.store import NotFoundError
from chatkit.types import UserMessageItem

from lambda_src.chat.edits import last_message
from lambda_src.context import ReadAhead, RequestContext
from lambda_src.errors import UnavailableError
from lambda_src.quotas.turn_quota import Quotas
from lambda_src.runs.run import Runs
from lambda_src.settings import Settings
from lambda_src.store.counters import MemoryCounters
from lambda_src.store.memory.store import MemoryStore
from lambda_src.store.ports import LeaseTaken
from lambda_src.turns import closing
from lambda_src.turns.lifecycle import Turns
from lambda_src.turns.persistence import AnswerStore
from lambda_src.turns.turn_task import TurnServices
from tests.quotas.engine import settings_with
from tests.turns.turn_fixture import OPTIONS, Model, Process, Reader, sse, thread_at
from tests.turns.virtual_time import VirtualTime

HISTORY_ITEMS = 40
RUNNING = 2  # the limit of running turns per user

Taken = Callable[[str, str, LeaseTaken], None]


class Connection:
    """A process's connection to the store, with `latency_s` each way, until the process dies."""

    def __init__(self, time: VirtualTime, latency_s: float) -> None:
        self.latency_s, self._time = latency_s, time
        self.is_cut = False
        self.loses_next_message = False  # the message is stored, but the answer is lost

    async def cross(self) -> None:
        """Take one way; never return if the process is dead, so that it does nothing more."""
        if self.latency_s:
            await self._time.sleep(self.latency_s)
        if self.is_cut:
            await asyncio.get_running_loop().create_future()


class RemoteStore:
    """A store or a ledger behind a connection. `taken` is called for every lease when it is taken."""

    def __init__(self, local: Any, connection: Connection, *, taken: Taken) -> None:
        self._local, self._connection, self._taken = local, connection, taken

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._local, name)
        if name == "ledger":
            return RemoteStore(member, self._connection, taken=self._taken)
        if inspect.isasyncgenfunction(member):
            return partial(self._stream, member)
        return partial(self._call, member) if inspect.iscoroutinefunction(member) else member

    async def _call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        await self._connection.cross()
        try:
            answer = await method(*args, **kwargs)
            if self._connection.loses_next_message and any(isinstance(value, UserMessageItem) for value in args):
                self._connection.loses_next_message = False
                raise UnavailableError("The answer was lost.")
            if isinstance(answer, LeaseTaken):
                self._taken(args[0], args[1], answer)
            return answer
        finally:
            await self._connection.cross()

    async def _stream(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        await self._connection.cross()
        values = [value async for value in method(*args, **kwargs)]
        await self._connection.cross()
        for value in values:
            yield value


class SkewedClock:
    """Virtual time on a machine whose clock is ahead by `ahead_s`."""

    def __init__(self, time: VirtualTime, ahead_s: int) -> None:
        self._time, self.ahead_s = time, ahead_s
        self.sleep = time.sleep

    def now_ms(self) -> int:
        """Epoch milliseconds."""
        return self._time.now_ms() + self.ahead_s * 1000

    def now_ns(self) -> int:
        """Epoch nanoseconds."""
        return self._time.now_ns() + self.ahead_s * 10**9


class SeparateStores:
    """Threads in one store and turns in another, as with PostgreSQL. A delete covers both."""

    def __init__(self, threads: MemoryStore, turns: MemoryStore) -> None:
        self.threads, self.turns = threads, turns
        self.ledger = turns.ledger

    def __getattr__(self, name: str) -> Any:
        return getattr(self.threads, name)

    async def delete_thread(self, thread_id: str, context: RequestContext) -> None:
        """Delete as PostgresStore does."""
        await self.threads.delete_thread(thread_id, context)
        await self.ledger.delete_thread(thread_id, context=context)


def beside(rows: MemoryStore | SeparateStores, clock: Callable[[], int]) -> MemoryStore | SeparateStores:
    """Return another process's store on the same rows."""
    if isinstance(rows, SeparateStores):
        return SeparateStores(
            MemoryStore(beside=rows.threads, clock=clock), MemoryStore(beside=rows.turns, clock=clock)
        )
    return MemoryStore(beside=rows, clock=clock)


class PreloadingProcess(Process):
    """A process that reads the thread during its check, as the server does."""

    async def check(self, thread_id: str, context: RequestContext) -> None:
        """Read the thread like Checks._read_thread."""
        thread = await self.store.load_thread(thread_id, context)
        page = await self.store.load_thread_items(thread_id, None, HISTORY_ITEMS, "desc", context)
        assert context.turn is not None
        context.turn.ahead = ReadAhead(thread, page.data)


class ObservedModel(Model):
    """A model that records its words with their times, its input, and whether it is running."""

    def __init__(self, item_id: str, time: VirtualTime) -> None:
        super().__init__(item_id)
        self._time = time
        self._words = 0
        self.began_s: float | None = None
        self.is_running = False
        self.spoken: list[tuple[float, str]] = []
        self.input_ids: list[str] = []  # newest first

    async def opening(
        self, store: MemoryStore, context: RequestContext, thread_id: str, text: str
    ) -> AsyncIterator[bytes]:
        """Open like Model.opening, with the turn's id for a named message, then read the thread."""
        if context.turn is not None and context.turn.message_id is not None:
            self.user_item_id = context.turn.message_id
        async for event in super().opening(store, context, thread_id, text):
            yield event
        await self.read(store, context, thread_id, text)

    async def read(self, store: MemoryStore, context: RequestContext, thread_id: str, text: str) -> None:
        """Record the model input that the server would read."""
        unused: Any = None
        runs = Runs(unused, store, None, Settings())
        with suppress(NotFoundError):  # deleted
            items = await runs._newest_first(thread_at(thread_id), context, self.message(thread_id, text))
            self.input_ids = [item.id for item in items]

    def speak(self, words: int) -> None:
        """Say the next `words` words, all different."""
        for _ in range(words):
            self._words += 1
            self.say(f"{self._words} ")

    @property
    def text(self) -> str:
        """All words so far."""
        return "".join(word for _, word in self.spoken)

    async def events(
        self, store: MemoryStore, context: RequestContext, thread_id: str, text: str
    ) -> AsyncIterator[bytes]:
        """Stream like Model.events, and record."""
        self.began_s, self.is_running = self._time.now_s, True
        try:
            async for event in super().events(store, context, thread_id, text):
                if b"text_delta" in event:
                    self.spoken.append((self._time.now_s, event.split(b'"delta":"')[1].split(b'"')[0].decode()))
                yield event
                if event.startswith(closing.ERROR):
                    return  # ChatKit sends nothing after an error
        finally:
            self.is_running = False


class Regenerating(ObservedModel):
    """The model of a turn that regenerates the answer to an older message."""

    def __init__(self, item_id: str, time: VirtualTime, message_id: str) -> None:
        super().__init__(item_id, time)
        self.user_item_id = message_id
        self.removals: list[str] = []  # the ids it tried to remove

    async def opening(
        self, store: MemoryStore, context: RequestContext, thread_id: str, text: str
    ) -> AsyncIterator[bytes]:
        """Remove newer items like ChatServer._regenerated; do nothing if the message is gone."""
        page = await store.load_thread_items(thread_id, None, 100, "desc", context)
        ids = [item.id for item in page.data]
        if self.user_item_id not in ids:
            return
        yield OPTIONS
        self.removals = ids[: ids.index(self.user_item_id)]
        for item_id in self.removals:
            await store.delete_thread_item(thread_id, item_id, context)
        await self.read(store, context, thread_id, text)


class Editing(Regenerating):
    """The model of a turn that replaces the user's last message."""

    async def opening(
        self, store: MemoryStore, context: RequestContext, thread_id: str, text: str
    ) -> AsyncIterator[bytes]:
        """Replace the message like ChatServer._edited; refuse if it is not the last one."""
        _, newer = await last_message(store, thread_id, self.user_item_id, context)
        self.removals = [item.id for item in newer]
        for item_id in self.removals:
            await store.delete_thread_item(thread_id, item_id, context)
        message = self.message(thread_id, text)
        await store.save_item(thread_id, message, context)
        yield sse("thread.item.done", item=json.loads(message.model_dump_json(exclude_none=True)))
        yield OPTIONS
        await self.read(store, context, thread_id, text)


@dataclass(eq=False)
class Worker:
    """A process that can die, with its connection and clock."""

    process: Process
    connection: Connection
    clock: SkewedClock
    died_s: float | None = None

    @classmethod
    def create(
        cls, rows: MemoryStore | SeparateStores, time: VirtualTime, *, latency_s: float, ahead_s: int, taken: Taken
    ) -> "Worker":
        """Start a process on these rows with the limit of RUNNING turns per user."""
        connection, clock = Connection(time, latency_s), SkewedClock(time, ahead_s)
        store: Any = RemoteStore(beside(rows, clock.now_ns), connection, taken=taken)
        counters = MemoryCounters(clock=clock.now_ns)
        quotas = Quotas(store.ledger, counters, settings_with(running_turns=RUNNING), clock=clock.now_ns)
        process = PreloadingProcess(store, time)
        services = TurnServices(store.ledger, AnswerStore(store), sleep=time.sleep, clock=clock.now_ms, quotas=quotas)
        process.turns = Turns(services)
        return cls(process, connection, clock)


@dataclass(eq=False)
class Attempt:
    """One request for a turn, and its outcome."""

    turn_id: str
    text: str
    named: str | None
    thread_id: str
    worker: Worker
    model: ObservedModel
    sent_s: float
    task: asyncio.Task[Reader] = field(init=False)
    opened_s: float | None = None  # when it was answered with 200
    is_left: bool = False  # whether its client has left
    over_s: float | None = None  # when it was refused, or its stream ended
    lost_s: float | None = None  # when its process died or another turn took its lease
    due: list[float] = field(default_factory=list)  # when it was asked to end, or lost its lease

    @property
    def reader(self) -> Reader | None:
        """The reader of its stream, once it was answered with 200."""
        done = self.task.done() and not self.task.cancelled() and self.task.exception() is None
        return self.task.result() if done else None

    @property
    def regenerates(self) -> bool:
        """Whether it regenerates the answer to an older message, which it may have replaced."""
        return isinstance(self.model, Regenerating)

    @property
    def is_own(self) -> bool:
        """Whether it started its own turn; False if it attached to another, was refused or is not yet answered."""
        return self.reader is not None and self.model.calls == 1
