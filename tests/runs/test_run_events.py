"""Run events on their way to ChatKit: a task reads ahead, joins text for slow readers, and loses nothing."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from agents import RawResponsesStreamEvent, StreamEvent
from chatkit.agents import AgentContext
from openai.types import responses as r

from lambda_src.context import RequestContext, User
from lambda_src.dev.store_contract.samples import thread_of
from lambda_src.errors import QuotaError
from lambda_src.runs.metered import Metered
from lambda_src.runs.run_events import Pulled
from lambda_src.store.memory.store import MemoryStore


def word(text: str, *, part: int = 0, item: str = "msg_1") -> StreamEvent:
    data = r.ResponseTextDeltaEvent(
        content_index=part,
        delta=text,
        item_id=item,
        logprobs=[],
        output_index=0,
        sequence_number=0,
        type="response.output_text.delta",
    )
    return RawResponsesStreamEvent(data=data)


def done(text: str) -> StreamEvent:
    data = r.ResponseTextDoneEvent(
        content_index=0,
        item_id="msg_1",
        logprobs=[],
        output_index=0,
        sequence_number=0,
        text=text,
        type="response.output_text.done",
    )
    return RawResponsesStreamEvent(data=data)


class Run:
    """A fake run of the Agents SDK; `read` are the events consumed so far."""

    def __init__(self, *script: StreamEvent | Exception) -> None:
        self._script = script
        self.read: list[StreamEvent] = []

    async def stream_events(self) -> AsyncIterator[StreamEvent]:
        for event in self._script:
            if isinstance(event, Exception):
                raise event
            self.read.append(event)
            yield event


def reading_ahead(run: Any) -> Pulled:
    return Pulled(run, Metered(None, output_tokens=1_000))


def agent_context() -> AgentContext[RequestContext]:
    return AgentContext(
        thread=thread_of("thr_1"), store=MemoryStore(), request_context=RequestContext(User("ann"), "r")
    )


async def run_other_tasks(times: int = 5) -> None:
    """Let every other task run."""
    for _ in range(times):
        await asyncio.sleep(0)


def text_of(events: list[StreamEvent]) -> str:
    deltas = [event.data for event in events if event.type == "raw_response_event"]
    return "".join(data.delta for data in deltas if isinstance(data, r.ResponseTextDeltaEvent))


async def test_every_event_arrives_in_order() -> None:
    script = [word("a"), word("b"), done("ab"), word("c"), done("c")]
    events = [event async for event in reading_ahead(Run(*script)).stream_events()]
    assert text_of(events) == "abc"
    assert [event for event in events if event in (script[2], script[4])] == [script[2], script[4]]


async def test_text_for_a_slow_reader_is_joined_into_one_event() -> None:
    reader = reading_ahead(Run(word("a"), word("b"), word("c"), done("abc"))).stream_events()
    assert text_of([await anext(reader)]) == "a"
    await run_other_tasks()
    assert text_of([await anext(reader)]) == "bc"
    assert text_of([await anext(reader)]) == ""


async def test_a_fast_reader_gets_each_word_separately() -> None:
    class Paced(Run):
        async def stream_events(self) -> AsyncIterator[StreamEvent]:
            async for event in super().stream_events():
                await run_other_tasks()
                yield event

    events = [event async for event in reading_ahead(Paced(word("a"), word("b"), word("c"))).stream_events()]
    assert [text_of([event]) for event in events] == ["a", "b", "c"]


@pytest.mark.parametrize("other", [word("b", part=1), word("b", item="msg_2")])
async def test_text_of_two_parts_or_messages_is_never_joined(other: StreamEvent) -> None:
    reader = reading_ahead(Run(word("-"), word("a"), other, done(""))).stream_events()
    await anext(reader)
    await run_other_tasks()
    assert [text_of([await anext(reader)]) for _ in range(2)] == ["a", "b"]


async def test_reading_ahead_stops_at_the_end_of_a_step_until_the_reader_arrives_there() -> None:
    run = Run(word("a"), done("a"), word("b"))
    reader = reading_ahead(run).stream_events()
    await anext(reader)
    await run_other_tasks()
    assert len(run.read) == 2
    await anext(reader)
    await run_other_tasks()
    assert len(run.read) == 2, "the reader may still be processing the step"
    assert text_of([await anext(reader)]) == "b"


async def test_an_error_is_raised_after_all_text_before_it() -> None:
    reader = reading_ahead(
        Run(word("a"), word("b"), QuotaError("spent", limit="tokens", retry_after_s=1))
    ).stream_events()
    await run_other_tasks()
    assert text_of([await anext(reader)]) == "ab"
    with pytest.raises(QuotaError, match="spent"):
        await anext(reader)


async def never() -> None:
    await asyncio.Event().wait()


async def cancelled() -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize("ending", [never, cancelled])
async def test_a_reader_that_stops_early_leaves_no_task_and_no_warning(ending: Callable[[], Any]) -> None:
    class Endless(Run):
        async def stream_events(self) -> AsyncIterator[StreamEvent]:
            yield word("a")
            await ending()

    warnings: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: warnings.append(context))
    before = asyncio.all_tasks()
    reader = reading_ahead(Endless()).stream_events()
    await anext(reader)
    waiting = anext(reader)
    await run_other_tasks()
    await reader.leave(agent_context())
    await run_other_tasks()
    assert asyncio.all_tasks() == before
    del reader, waiting
    gc.collect()
    await run_other_tasks()
    assert warnings == []


async def test_a_run_that_raises_cancelled_error_cancels_its_reader() -> None:
    class Cancelled(Run):
        async def stream_events(self) -> AsyncIterator[StreamEvent]:
            yield word("a")
            await cancelled()

    reader = reading_ahead(Cancelled()).stream_events()
    await anext(reader)
    with pytest.raises(asyncio.CancelledError):
        await anext(reader)
