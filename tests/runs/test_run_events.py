"""How a run's events reach ChatKit: one task reads them, and a slow reader loses none."""

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
    """A run of the Agents SDK, as far as it is read: `read` are the events that were taken from it."""

    def __init__(self, *script: StreamEvent | Exception) -> None:
        self._script = script
        self.read: list[StreamEvent] = []

    async def stream_events(self) -> AsyncIterator[StreamEvent]:
        for event in self._script:
            if isinstance(event, Exception):
                raise event
            self.read.append(event)
            yield event


def pulled(run: Any) -> Pulled:
    return Pulled(run, Metered(None, output_tokens=1_000))


def agent_context() -> AgentContext[RequestContext]:
    return AgentContext(
        thread=thread_of("thr_1"), store=MemoryStore(), request_context=RequestContext(User("ann"), "r")
    )


async def turned(times: int = 5) -> None:
    """Let every other task run."""
    for _ in range(times):
        await asyncio.sleep(0)


def text_of(events: list[StreamEvent]) -> str:
    deltas = [event.data for event in events if event.type == "raw_response_event"]
    return "".join(data.delta for data in deltas if isinstance(data, r.ResponseTextDeltaEvent))


async def test_every_event_arrives_in_order() -> None:
    script = [word("a"), word("b"), done("ab"), word("c"), done("c")]
    events = [event async for event in pulled(Run(*script)).stream_events()]
    assert text_of(events) == "abc"
    assert [event for event in events if event in (script[2], script[4])] == [script[2], script[4]]


async def test_text_that_waits_for_a_slow_reader_becomes_one_event() -> None:
    reading = pulled(Run(word("a"), word("b"), word("c"), done("abc"))).stream_events()
    assert text_of([await anext(reading)]) == "a"
    await turned()
    assert text_of([await anext(reading)]) == "bc"
    assert text_of([await anext(reading)]) == ""


async def test_a_reader_that_keeps_up_gets_each_word_as_it_comes() -> None:
    class Paced(Run):
        async def stream_events(self) -> AsyncIterator[StreamEvent]:
            async for event in super().stream_events():
                await turned()
                yield event

    events = [event async for event in pulled(Paced(word("a"), word("b"), word("c"))).stream_events()]
    assert [text_of([event]) for event in events] == ["a", "b", "c"]


@pytest.mark.parametrize("other", [word("b", part=1), word("b", item="msg_2")])
async def test_text_of_two_parts_or_messages_is_never_joined(other: StreamEvent) -> None:
    reading = pulled(Run(word("-"), word("a"), other, done(""))).stream_events()
    await anext(reading)
    await turned()
    assert [text_of([await anext(reading)]) for _ in range(2)] == ["a", "b"]


async def test_nothing_is_read_past_the_end_of_a_step_before_its_reader_has_come_so_far() -> None:
    run = Run(word("a"), done("a"), word("b"))
    reading = pulled(run).stream_events()
    await anext(reading)
    await turned()
    assert len(run.read) == 2
    await anext(reading)
    await turned()
    assert len(run.read) == 2, "the reader may still be at work on it"
    assert text_of([await anext(reading)]) == "b"


async def test_a_failure_comes_after_all_that_was_said_before_it() -> None:
    reading = pulled(Run(word("a"), word("b"), QuotaError("spent", limit="tokens", retry_after_s=1))).stream_events()
    await turned()
    assert text_of([await anext(reading)]) == "ab"
    with pytest.raises(QuotaError, match="spent"):
        await anext(reading)


async def never() -> None:
    await asyncio.Event().wait()


async def cancelled() -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize("ending", [never, cancelled])
async def test_a_reader_that_leaves_leaves_no_task_and_no_complaint(ending: Callable[[], Any]) -> None:
    class Endless(Run):
        async def stream_events(self) -> AsyncIterator[StreamEvent]:
            yield word("a")
            await ending()

    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, about: complaints.append(about))
    before = asyncio.all_tasks()
    reading = pulled(Endless()).stream_events()
    await anext(reading)
    waiting = anext(reading)
    await turned()
    await reading.leave(agent_context())
    await turned()
    assert asyncio.all_tasks() == before
    del reading, waiting
    gc.collect()
    await turned()
    assert complaints == []


async def test_a_run_that_is_cancelled_from_within_cancels_its_reader() -> None:
    class Cancelled(Run):
        async def stream_events(self) -> AsyncIterator[StreamEvent]:
            yield word("a")
            await cancelled()

    reading = pulled(Cancelled()).stream_events()
    await anext(reading)
    with pytest.raises(asyncio.CancelledError):
        await anext(reading)
