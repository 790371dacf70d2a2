"""Turns as the tests play them: processes over one store, a model that says what the test says. No HTTP, no SDK."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageItem,
    InferenceOptions,
    ThreadItem,
    ThreadMetadata,
    UserMessageItem,
    UserMessageTextContent,
)

from lambda_src.context import RequestContext, User
from lambda_src.errors import UnavailableError
from lambda_src.store.memory.store import MemoryStore
from lambda_src.turns.duplicates import TurnRequest
from lambda_src.turns.lifecycle import Turns, TurnStream
from lambda_src.turns.persistence import AnswerStore
from lambda_src.turns.turn_task import TurnServices
from tests.turns.virtual_time import VirtualTime

THREAD = "thr_1"
T = TypeVar("T")


def sse(kind: str, **fields: Any) -> bytes:
    """One event, encoded as ChatKit does."""
    return b"data: " + json.dumps({"type": kind, **fields}, separators=(",", ":")).encode() + b"\n\n"


OPTIONS = sse("stream_options", stream_options={"allow_cancel": True})


class Model:
    """What a turn's run says, word by word, when the test says so. `cancelled` counts how often it was stopped."""

    def __init__(self, item_id: str = "msg_answer") -> None:
        self.item_id, self.user_item_id = item_id, f"{item_id}_asked"
        self.cancelled = 0
        self.calls = 0
        self._script: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()

    def say(self, *words: str) -> None:
        """Stream some words of the answer."""
        for word in words:
            update = {"type": "assistant_message.content_part.text_delta", "content_index": 0, "delta": word}
            self._script.put_nowait(sse("thread.item.updated", item_id=self.item_id, update=update))

    def fail(self, error: Exception) -> None:
        """Raise."""
        self._script.put_nowait(error)

    def event(self, event: bytes) -> None:
        """Any event."""
        self._script.put_nowait(event)

    def finish(self) -> None:
        """End the answer."""
        self._script.put_nowait(None)

    def message(self, thread_id: str, text: str) -> UserMessageItem:
        """The user's message."""
        return UserMessageItem(
            id=self.user_item_id, thread_id=thread_id, created_at="2026-01-01T00:00:00Z",  # type: ignore[arg-type] # pydantic parses it
            content=[UserMessageTextContent(text=text)], inference_options=InferenceOptions(),
        )  # fmt: skip

    async def opening(
        self, store: MemoryStore, context: RequestContext, thread_id: str, text: str
    ) -> AsyncIterator[bytes]:
        """What comes before the answer: the user's message, stored."""
        user = self.message(thread_id, text)
        await store.add_thread_item(thread_id, user, context)
        yield sse("thread.item.done", item=json.loads(user.model_dump_json(exclude_none=True)))
        yield OPTIONS

    async def events(
        self, store: MemoryStore, context: RequestContext, thread_id: str, text: str
    ) -> AsyncIterator[bytes]:
        """What ChatKit's server would stream: the user's message, stored; the answer; its end, stored."""
        self.calls += 1
        async for event in self.opening(store, context, thread_id, text):
            yield event
        answer = {"id": self.item_id, "thread_id": thread_id, "created_at": "2026-01-01T00:00:01Z"}
        answer |= {"type": "assistant_message", "content": []}  # type: ignore[dict-item] # JSON
        yield sse("thread.item.added", item=answer)
        said = ""
        try:
            while (step := await self._script.get()) is not None:
                if isinstance(step, Exception):
                    raise step
                said += json.loads(step[6:]).get("update", {}).get("delta", "")
                yield step
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        item = AssistantMessageItem.model_validate(answer | {"content": [AssistantMessageContent(text=said)]})
        await store.add_thread_item(thread_id, item, context)
        yield sse("thread.item.done", item=json.loads(item.model_dump_json(exclude_none=True)))


@dataclass(slots=True)
class Reader:
    """A client that reads a turn's stream in the background."""

    stream: TurnStream
    process: "Process | None" = None  # the one that was asked for the turn
    events: list[bytes] = field(default_factory=list)
    error: BaseException | None = None
    task: asyncio.Task[None] | None = None

    async def read(self) -> None:
        """To the end, whatever that is."""
        try:
            async for event in self.stream:
                self.events.append(event)
        except Exception as error:  # noqa: BLE001 - what the reader met is what the test asks about
            self.error = error

    @property
    def over(self) -> bool:
        """Whether the stream has ended."""
        return self.task is not None and self.task.done()

    @property
    def kinds(self) -> list[str]:
        """The types of the events so far."""
        return [json.loads(event[6:])["type"] for event in self.events]


class Process:
    """One process: a store object of its own over the rows they all share, and its turns."""

    def __init__(self, store: MemoryStore, time: VirtualTime) -> None:
        self.store, self.time = store, time
        self._ledger, self._answers = Reachable(store.ledger), Reachable(AnswerStore(store))
        ledger: Any = self._ledger
        answers: Any = self._answers
        self.turns = Turns(TurnServices(ledger, answers, sleep=time.sleep, clock=time.now_ms))

    def die(self) -> None:
        """Nothing that its turns do reaches the store any more."""
        self._ledger.is_reachable = self._answers.is_reachable = False

    async def check(self, thread_id: str, context: RequestContext) -> None:
        """What must hold before a request may begin."""
        await self.store.load_thread(thread_id, context)

    async def ask(
        self, model: Model, text: str, *, user: str = "ann", named: str | None = None, thread_id: str = THREAD,
        turn_id: str | None = None, deadline_ms: int | None = None, operation: str = "threads.add_user_message",
    ) -> Reader:  # fmt: skip
        """A user's message; the reader of its stream, once that is open."""
        asked = TurnRequest(operation, thread_id=thread_id, body=text.encode(), named=named)
        turn = asked.turn(user)
        turn.id = turn_id or turn.id
        context = RequestContext(user=User(user), request_id="r", deadline_ms=deadline_ms, turn=turn)

        async def check() -> None:
            await self.check(thread_id, context)

        async def begin() -> AsyncIterator[bytes]:
            return model.events(self.store, context, thread_id, text)

        reader = Reader(await self.turns.open(asked, check, begin, context=context), self)
        reader.task = asyncio.create_task(reader.read())
        return reader


@dataclass(slots=True)
class ProcessPair:
    """Ann's thread, seen by two processes."""

    time: VirtualTime
    one: Process
    two: Process

    @classmethod
    async def create(cls) -> "ProcessPair":
        """Two processes and an empty thread."""
        time = VirtualTime()
        store = MemoryStore(clock=time.now_ns)
        pair = cls(time, Process(store, time), Process(MemoryStore(beside=store, clock=time.now_ns), time))
        await store.save_thread(thread_at(THREAD), as_user("ann"))
        return pair

    async def waited(self, work: Awaitable[T], *, seconds: float = 2.1) -> T:
        """The result of something that takes a while."""
        task = asyncio.ensure_future(work)
        await self.time.advance(seconds)
        assert task.done(), "it takes longer than that"
        return await task

    async def items(self, thread_id: str = THREAD) -> list[ThreadItem]:
        """What the thread holds, hidden items too."""
        page = await self.two.store.load_thread_items(thread_id, None, 100, "asc", as_user("ann"))
        return page.data

    async def texts(self) -> list[str]:
        """What was said in it, in order; hidden notes in brackets."""
        told: list[str] = []
        for item in await self.items():
            content = getattr(item, "content", None)
            told.append("".join(part.text for part in content) if isinstance(content, list) else f"[{content}]")
        return told


def thread_at(thread_id: str) -> ThreadMetadata:
    """An empty thread."""
    return ThreadMetadata(id=thread_id, created_at="2026-01-01T00:00:00Z")  # type: ignore[arg-type] # pydantic parses it


def as_user(name: str) -> RequestContext:
    """A request of somebody's that begins no turn."""
    return RequestContext(user=User(name), request_id="r")


async def kill(reader: Reader) -> None:
    """The turn's process dies, as far as the others can see: nothing it does reaches the store any more."""
    assert reader.process is not None
    reader.process.die()


class Reachable:
    """A part of the store, until its process dies."""

    def __init__(self, part: Any) -> None:
        self._part, self.is_reachable = part, True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name) if self.is_reachable else self._fail

    async def _fail(self, *_: object, **__: object) -> None:
        raise UnavailableError("This process is dead.")


class Replaced:
    """A ledger, some of whose methods are a test's own."""

    def __init__(self, ledger: Any, **methods: Any) -> None:
        self._ledger = ledger
        vars(self).update(methods)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)
