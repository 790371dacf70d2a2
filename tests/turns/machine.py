"""What the turns' state machine stands on: a way to the store that takes time and can be cut, a model that is watched.

Knows no rule of turns: those are in test_machine.py.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from lambda_src.context import RequestContext
from lambda_src.store.memory import MemoryStore
from lambda_src.store.ports import LeaseTaken
from lambda_src.turns import endings
from tests.turns.scene import Model, Process, Reader
from tests.turns.virtual_time import VirtualTime

Taken = Callable[[str, str, LeaseTaken], None]


class Line:
    """A process's way to the store: every request takes `latency_s` there and as long back, until the process dies."""

    def __init__(self, time: VirtualTime, latency_s: float) -> None:
        self.latency_s, self._time = latency_s, time
        self.is_cut = False

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


class Watched(Model):
    """A model that notes when it said what, and whether it still runs."""

    def __init__(self, item_id: str, time: VirtualTime) -> None:
        super().__init__(item_id)
        self._time = time
        self._words = 0
        self.began_s: float | None = None
        self.is_running = False
        self.said: list[tuple[float, str]] = []

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
                if event.startswith(endings.ERROR):
                    return  # ChatKit says nothing after it
        finally:
            self.is_running = False


@dataclass(eq=False)
class House:
    """A process that can die."""

    process: Process
    line: Line
    died_s: float | None = None

    @classmethod
    def built(cls, rows: MemoryStore, time: VirtualTime, *, latency_s: float, taken: Taken) -> "House":
        """A new process over the rows of `rows`."""
        line = Line(time, latency_s)
        store: Any = Far(MemoryStore(beside=rows, clock=time.now_ns), line, taken=taken)
        return cls(Process(store, time), line)


@dataclass(eq=False)
class Ask:
    """One request for a turn: what was asked, by whom, and what came of it."""

    turn_id: str
    text: str
    named: str | None
    thread_id: str
    house: House
    model: Watched
    asked_s: float
    task: asyncio.Task[Reader] = field(init=False)
    opened_s: float | None = None  # when the answer was 200
    is_left: bool = False  # nobody reads any more
    lost_s: float | None = None  # when its process died or another turn took its lease
    due: list[float] = field(default_factory=list)  # when somebody asked it to end, or took its lease

    @property
    def reader(self) -> Reader | None:
        """Its stream, once the answer is 200."""
        done = self.task.done() and not self.task.cancelled() and self.task.exception() is None
        return self.task.result() if done else None

    @property
    def is_own(self) -> bool:
        """Whether it became a turn of its own; False for one that attached, was refused or is still being asked."""
        return self.reader is not None and self.model.calls == 1
