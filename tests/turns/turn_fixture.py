"""Fixtures for turn tests: processes on one store, a scripted model, readers of streams. No HTTP, no SDK."""

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
    """Encode an event as ChatKit does."""
    return b"data: " + json.dumps({"type": kind, **fields}, separators=(",", ":")).encode() + b"\n\n"


OPTIONS = sse("stream_options", stream_options={"allow_cancel": True})


class Model:
    """A run that the test scripts word by word; `cancelled` counts cancellations."""

    def __init__(self, item_id: str = "msg_answer") -> None:
        self.item_id, self.user_item_id = item_id, f"{item_id}_question"
        self.cancelled = 0
        self.calls = 0
        self._script: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()

    def say(self, *words: str) -> None:
        """Stream some words of the answer."""
        for word in words:
            update = {"type": "assistant_message.content_part.text_delta", "content_index": 0, "delta": word}
            self._script.put_nowait(sse("thread.item.updated", item_id=self.item_id, update=update))

    def fail(self, error: Exception) -> None:
        """Raise an error."""
        self._script.put_nowait(error)

    def event(self, event: bytes) -> None:
        """Stream any event."""
        self._script.put_nowait(event)

    def finish(self) -> None:
        """End the answer."""
        self._script.put_nowait(None)

    def message(self, thread_id: str, text: str) -> UserMessageItem:
        """Return the user's message."""
        return UserMessageItem(
            id=self.user_item_id, thread_id=thread_id, created_at="2026-01-01T00:00:00Z",  # type: ignore[arg-type] # pydantic parses it
            content=[UserMessageTextContent(text=text)], inference_options=InferenceOptions(),
        )  # fmt: skip

    async def opening(
        self, store: MemoryStore, context: RequestContext, thread_id: str, text: str
    ) -> AsyncIterator[bytes]:
        """Store the user's message and stream the events before the answer."""
        user = self.message(thread_id, text)
        await store.add_thread_item(thread_id, user, context)
        yield sse("thread.item.done", item=json.loads(user.model_dump_json(exclude_none=True)))
        yield OPTIONS

    async def events(
        self, store: MemoryStore, context: RequestContext, thread_id: str, text: str
    ) -> AsyncIterator[bytes]:
        """Stream what ChatKit's server would: the stored user message, the answer, and the stored finished answer."""
        self.calls += 1
        async for event in self.opening(store, context, thread_id, text):
            yield event
        answer = {"id": self.item_id, "thread_id": thread_id, "created_at": "2026-01-01T00:00:01Z"}
        answer |= {"type": "assistant_message", "content": []}  # type: ignore[dict-item] # JSON
        yield sse("thread.item.added", item=answer)
        spoken = ""
        try:
            while (step := await self._script.get()) is not None:
                if isinstance(step, Exception):
                    raise step
                spoken += json.loads(step[6:]).get("update", {}).get("delta", "")
                yield step
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        item = AssistantMessageItem.model_validate(answer | {"content": [AssistantMessageContent(text=spoken)]})
        await store.add_thread_item(thread_id, item, context)
        yield sse("thread.item.done", item=json.loads(item.model_dump_json(exclude_none=True)))


@dataclass(slots=True)
class Reader:
    """A client that reads a turn's stream in the background."""

    stream: TurnStream
    process: "Process | None" = None  # the process that received the request
    events: list[bytes] = field(default_factory=list)
    error: BaseException | None = None
    task: asyncio.Task[None] | None = None

    async def read(self) -> None:
        """Read to the end or to an error."""
        try:
            async for event in self.stream:
                self.events.append(event)
        except Exception as error:  # noqa: BLE001 - tests inspect the error
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
    """A process: its own store object on shared rows, and its turns."""

    def __init__(self, store: MemoryStore, time: VirtualTime) -> None:
        self.store, self.time = store, time
        self._ledger, self._answers = Reachable(store.ledger), Reachable(AnswerStore(store))
        ledger: Any = self._ledger
        answers: Any = self._answers
        self.turns = Turns(TurnServices(ledger, answers, sleep=time.sleep, clock=time.now_ms))

    def die(self) -> None:
        """Cut the process off from the store."""
        self._ledger.is_reachable = self._answers.is_reachable = False

    async def check(self, thread_id: str, context: RequestContext) -> None:
        """Check that the thread exists."""
        await self.store.load_thread(thread_id, context)

    async def ask(
        self, model: Model, text: str, *, user: str = "ann", named: str | None = None, thread_id: str = THREAD,
        turn_id: str | None = None, deadline_ms: int | None = None, operation: str = "threads.add_user_message",
        edits: bool = False,
    ) -> Reader:  # fmt: skip
        """Send a user's message; return the reader of its stream once it is open."""
        request = TurnRequest(operation, thread_id=thread_id, body=text.encode(), named=named, edits=edits)
        turn = request.turn(user)
        turn.id = turn_id or turn.id
        context = RequestContext(user=User(user), request_id="r", deadline_ms=deadline_ms, turn=turn)

        async def check() -> None:
            await self.check(thread_id, context)

        async def begin() -> AsyncIterator[bytes]:
            return model.events(self.store, context, thread_id, text)

        reader = Reader(await self.turns.open(request, check, begin, context=context), self)
        reader.task = asyncio.create_task(reader.read())
        return reader


@dataclass(slots=True)
class ProcessPair:
    """Two processes that share ann's thread and one clock."""

    time: VirtualTime
    first: Process
    second: Process

    @classmethod
    async def create(cls) -> "ProcessPair":
        """Create two processes and an empty thread."""
        time = VirtualTime()
        store = MemoryStore(clock=time.now_ns)
        pair = cls(time, Process(store, time), Process(MemoryStore(beside=store, clock=time.now_ns), time))
        await store.save_thread(thread_at(THREAD), as_user("ann"))
        return pair

    async def wait_for(self, work: Awaitable[T], *, seconds: float = 2.1) -> T:
        """Let `seconds` pass and return the result of `work`."""
        task = asyncio.ensure_future(work)
        await self.time.advance(seconds)
        assert task.done(), f"not done after {seconds} s"
        return await task

    async def items(self, thread_id: str = THREAD) -> list[ThreadItem]:
        """Return the thread's items, including hidden ones."""
        page = await self.second.store.load_thread_items(thread_id, None, 100, "asc", as_user("ann"))
        return page.data

    async def texts(self) -> list[str]:
        """Return the thread's texts in order; hidden notes in brackets."""
        texts: list[str] = []
        for item in await self.items():
            content = getattr(item, "content", None)
            texts.append("".join(part.text for part in content) if isinstance(content, list) else f"[{content}]")
        return texts


def thread_at(thread_id: str) -> ThreadMetadata:
    """Return an empty thread."""
    return ThreadMetadata(id=thread_id, created_at="2026-01-01T00:00:00Z")  # type: ignore[arg-type] # pydantic parses it


def as_user(name: str) -> RequestContext:
    """Return the context of a user's request outside a turn."""
    return RequestContext(user=User(name), request_id="r")


async def kill(reader: Reader) -> None:
    """Kill the turn's process: nothing that it does reaches the store any more."""
    assert reader.process is not None
    reader.process.die()


class Reachable:
    """A part of the store that fails once its process has died."""

    def __init__(self, part: Any) -> None:
        self._part, self.is_reachable = part, True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name) if self.is_reachable else self._fail

    async def _fail(self, *_: object, **__: object) -> None:
        raise UnavailableError("This process is dead.")


class Patched:
    """An object with some methods replaced by a test."""

    def __init__(self, ledger: Any, **methods: Any) -> None:
        self._ledger = ledger
        vars(self).update(methods)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)
