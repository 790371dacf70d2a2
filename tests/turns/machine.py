"""What the turns' state machine stands on: a way to the store that takes time and can be cut, a model that is watched.

Knows no rule of turns: those are in test_machine.py.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from chatkit.store import NotFoundError
from chatkit.types import UserMessageItem

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
from tests.turns.turn_fixture import OPTIONS, Model, Process, Reader, thread_at
from tests.turns.virtual_time import VirtualTime

HISTORY_ITEMS = 40
RUNNING = 2  # turns that a user may have at a time

Taken = Callable[[str, str, LeaseTaken], None]


class Line:
    """A process's way to the store: every request takes `latency_s` there and as long back, until the process dies."""

    def __init__(self, time: VirtualTime, latency_s: float) -> None:
        self.latency_s, self._time = latency_s, time
        self.is_cut = False
        self.loses_next_message = False  # it is stored, but its answer does not come

    async def cross(self) -> None:
        """One way; for ever when the process is dead, so that nothing of it goes on."""
        if self.latency_s:
            await self._time.sleep(self.latency_s)
        if self.is_cut:
            await asyncio.get_running_loop().create_future()


class Far:
    """A store or a ledger at the far end of a line. `taken` hears of every lease, the moment it is taken."""

    def __init__(self, near: Any, line: Line, *, taken: Taken) -> None:
        self._near, self._line, self._taken = near, line, taken

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._near, name)
        if name == "ledger":
            return Far(member, self._line, taken=self._taken)
        if inspect.isasyncgenfunction(member):
            return partial(self._stream, member)
        return partial(self._call, member) if inspect.iscoroutinefunction(member) else member

    async def _call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        await self._line.cross()
        try:
            answer = await method(*args, **kwargs)
            if self._line.loses_next_message and any(isinstance(value, UserMessageItem) for value in args):
                self._line.loses_next_message = False
                raise UnavailableError("The answer was lost.")
            if isinstance(answer, LeaseTaken):
                self._taken(args[0], args[1], answer)
            return answer
        finally:
            await self._line.cross()

    async def _stream(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        await self._line.cross()
        found = [value async for value in method(*args, **kwargs)]
        await self._line.cross()
        for value in found:
            yield value


class Skewed:
    """Virtual time by a machine's clock, which is wrong by `ahead_s`."""

    def __init__(self, time: VirtualTime, ahead_s: int) -> None:
        self._time, self.ahead_s = time, ahead_s
        self.sleep = time.sleep

    def now_ms(self) -> int:
        """Epoch milliseconds."""
        return self._time.now_ms() + self.ahead_s * 1000

    def now_ns(self) -> int:
        """Epoch nanoseconds."""
        return self._time.now_ns() + self.ahead_s * 10**9


class Apart:
    """Threads in one store and turns in another, as with PostgreSQL: a delete tells the ledger."""

    def __init__(self, threads: MemoryStore, turns: MemoryStore) -> None:
        self.threads, self.turns = threads, turns
        self.ledger = turns.ledger

    def __getattr__(self, name: str) -> Any:
        return getattr(self.threads, name)

    async def delete_thread(self, thread_id: str, context: RequestContext) -> None:
        """PostgresStore.delete_thread."""
        await self.threads.delete_thread(thread_id, context)
        await self.ledger.delete_thread(thread_id, context=context)


def beside(rows: MemoryStore | Apart, clock: Callable[[], int]) -> MemoryStore | Apart:
    """Another process's store over the same rows."""
    if isinstance(rows, Apart):
        return Apart(MemoryStore(beside=rows.threads, clock=clock), MemoryStore(beside=rows.turns, clock=clock))
    return MemoryStore(beside=rows, clock=clock)


class Reading(Process):
    """A process that reads a thread beside its check, as the server does."""

    async def check(self, thread_id: str, context: RequestContext) -> None:
        """Checks._read_thread."""
        thread = await self.store.load_thread(thread_id, context)
        page = await self.store.load_thread_items(thread_id, None, HISTORY_ITEMS, "desc", context)
        assert context.turn is not None
        context.turn.ahead = ReadAhead(thread, page.data)


class Watched(Model):
    """A model that notes when it said what, what it was shown, and whether it still runs."""

    def __init__(self, item_id: str, time: VirtualTime) -> None:
        super().__init__(item_id)
        self._time = time
        self._words = 0
        self.began_s: float | None = None
        self.is_running = False
        self.said: list[tuple[float, str]] = []
        self.shown: list[str] = []  # the ids, the newest first

    async def opening(
        self, store: MemoryStore, context: RequestContext, thread_id: str, text: str
    ) -> AsyncIterator[bytes]:
        """Model.opening; a named message has the id that its turn says, and then the thread is read."""
        if context.turn is not None and context.turn.message_id is not None:
            self.user_item_id = context.turn.message_id
        async for event in super().opening(store, context, thread_id, text):
            yield event
        await self.read(store, context, thread_id, text)

    async def read(self, store: MemoryStore, context: RequestContext, thread_id: str, text: str) -> None:
        """Note what the server shows the model."""
        nobody: Any = None
        runs = Runs(nobody, store, None, Settings())
        with suppress(NotFoundError):  # deleted
            items = await runs._newest_first(thread_at(thread_id), context, self.message(thread_id, text))
            self.shown = [item.id for item in items]

    def speak(self, words: int) -> None:
        """Say the next so many words, each unlike all others."""
        for _ in range(words):
            self._words += 1
            self.say(f"{self._words} ")

    @property
    def text(self) -> str:
        """All that it said."""
        return "".join(word for _, word in self.said)

    async def events(
        self, store: MemoryStore, context: RequestContext, thread_id: str, text: str
    ) -> AsyncIterator[bytes]:
        """Model.events, watched."""
        self.began_s, self.is_running = self._time.now_s, True
        try:
            async for event in super().events(store, context, thread_id, text):
                if b"text_delta" in event:
                    self.said.append((self._time.now_s, event.split(b'"delta":"')[1].split(b'"')[0].decode()))
                yield event
                if event.startswith(closing.ERROR):
                    return  # ChatKit says nothing after it
        finally:
            self.is_running = False


class Regenerating(Watched):
    """The model of a turn that answers an older message anew."""

    def __init__(self, item_id: str, time: VirtualTime, message_id: str) -> None:
        super().__init__(item_id, time)
        self.user_item_id = message_id
        self.tried: list[str] = []  # what it tried to remove

    async def opening(
        self, store: MemoryStore, context: RequestContext, thread_id: str, text: str
    ) -> AsyncIterator[bytes]:
        """ChatServer._regenerated; nothing when the message is gone."""
        page = await store.load_thread_items(thread_id, None, 100, "desc", context)
        ids = [item.id for item in page.data]
        if self.user_item_id not in ids:
            return
        yield OPTIONS
        self.tried = ids[: ids.index(self.user_item_id)]
        for item_id in self.tried:
            await store.delete_thread_item(thread_id, item_id, context)
        await self.read(store, context, thread_id, text)


@dataclass(eq=False)
class Worker:
    """A process that can die."""

    process: Process
    line: Line
    clock: Skewed
    died_s: float | None = None

    @classmethod
    def built(
        cls, rows: MemoryStore | Apart, time: VirtualTime, *, latency_s: float, ahead_s: int, taken: Taken
    ) -> "Worker":
        """A new process over the rows of `rows`, whose user may have RUNNING turns at a time."""
        line, clock = Line(time, latency_s), Skewed(time, ahead_s)
        store: Any = Far(beside(rows, clock.now_ns), line, taken=taken)
        counters = MemoryCounters(clock=clock.now_ns)
        quotas = Quotas(store.ledger, counters, settings_with(running_turns=RUNNING), clock=clock.now_ns)
        process = Reading(store, time)
        services = TurnServices(store.ledger, AnswerStore(store), sleep=time.sleep, clock=clock.now_ms, quotas=quotas)
        process.turns = Turns(services)
        return cls(process, line, clock)


@dataclass(eq=False)
class Ask:
    """One request for a turn: what was asked, by whom, and what came of it."""

    turn_id: str
    text: str
    named: str | None
    thread_id: str
    worker: Worker
    model: Watched
    asked_s: float
    task: asyncio.Task[Reader] = field(init=False)
    opened_s: float | None = None  # when the answer was 200
    is_left: bool = False  # nobody reads any more
    over_s: float | None = None  # when it was refused, or its stream ended
    lost_s: float | None = None  # when its process died or another turn took its lease
    due: list[float] = field(default_factory=list)  # when somebody asked it to end, or took its lease

    @property
    def reader(self) -> Reader | None:
        """Its stream, once the answer is 200."""
        done = self.task.done() and not self.task.cancelled() and self.task.exception() is None
        return self.task.result() if done else None

    @property
    def regenerates(self) -> bool:
        """Whether it answers an older message anew."""
        return isinstance(self.model, Regenerating)

    @property
    def is_own(self) -> bool:
        """Whether it became a turn of its own; False for one that attached, was refused or is still being asked."""
        return self.reader is not None and self.model.calls == 1
