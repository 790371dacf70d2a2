"""The pump: when the 200 goes out, and that no turn is left behind."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from chatkit.store import NotFoundError

from lambda_src.errors import ConflictError
from lambda_src.turns.pump import Pump


def sse(kind: str, **fields: object) -> bytes:
    return b"data: " + json.dumps({"type": kind, **fields}).encode() + b"\n\n"


CREATED, OPTIONS, DELTA = sse("thread.created"), sse("stream_options"), sse("thread.item.updated", delta="a")


async def stream(*events: bytes | Exception) -> AsyncIterator[bytes]:
    for event in events:
        if isinstance(event, Exception):
            raise event
        yield event


async def read(pump: Pump) -> list[bytes]:
    return [event async for event in pump]


async def test_held_events_come_first_and_nothing_is_lost() -> None:
    assert await read(await Pump.opened(stream(CREATED, OPTIONS, DELTA))) == [CREATED, OPTIONS, DELTA]


async def test_an_error_event_opens_the_stream_too() -> None:
    refused = sse("error", code="stream.error")
    assert await read(await Pump.opened(stream(refused))) == [refused]


async def test_events_are_held_until_the_request_has_passed_every_check() -> None:
    passed = asyncio.Event()

    async def checked() -> AsyncIterator[bytes]:
        yield CREATED
        await passed.wait()
        yield OPTIONS

    opening = asyncio.create_task(Pump.opened(checked()))
    await asyncio.sleep(0)
    assert not opening.done()
    passed.set()
    assert await read(await opening) == [CREATED, OPTIONS]


async def test_what_is_missing_is_raised_before_the_stream() -> None:
    with pytest.raises(NotFoundError):
        await Pump.opened(stream(CREATED, NotFoundError("atc_1")))


async def test_silence_means_that_the_item_to_retry_is_not_there() -> None:
    with pytest.raises(NotFoundError):
        await Pump.opened(stream())


async def test_a_wrong_state_is_a_conflict() -> None:
    with pytest.raises(ConflictError, match="moved on"):
        await Pump.opened(stream(ValueError("Last thread item was not a ClientToolCallItem")))


async def test_an_error_after_the_stream_began_is_told_and_raised() -> None:
    events = aiter(await Pump.opened(stream(OPTIONS, RuntimeError("boom"))))
    assert await anext(events) == OPTIONS
    assert json.loads((await anext(events))[6:])["type"] == "error"
    with pytest.raises(RuntimeError, match="boom"):
        await anext(events)


async def test_events_are_pulled_though_nobody_reads() -> None:
    done = asyncio.Event()

    async def endless_reader_not_needed() -> AsyncIterator[bytes]:
        yield OPTIONS
        for _ in range(1000):
            yield DELTA
        done.set()

    pump = await Pump.opened(endless_reader_not_needed())
    await done.wait()
    assert len(await read(pump)) == 1001


async def test_stop_cancels_the_generator_in_its_own_task_once_and_waits_for_its_clean_up() -> None:
    cleaned: list[str] = []

    async def run() -> AsyncIterator[bytes]:
        try:
            yield OPTIONS
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            cleaned.append("kept")
            raise

    pump = await Pump.opened(run())
    await pump.stop()
    await pump.stop()
    assert cleaned == ["kept"]


async def test_a_caller_cancelled_while_it_waits_leaves_no_turn_behind() -> None:
    stopped = asyncio.Event()

    async def run() -> AsyncIterator[bytes]:
        try:
            yield CREATED
            await asyncio.Event().wait()
        finally:
            stopped.set()

    opening = asyncio.create_task(Pump.opened(run()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert stopped.is_set()
