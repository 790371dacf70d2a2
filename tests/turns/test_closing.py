"""Closing an interrupted turn while the store fails: the reader gets the right last event, and no word is lost."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from lambda_src.errors import UnavailableError
from lambda_src.turns import closing
from lambda_src.turns.lease import LEASE_MS, RENEW_S
from lambda_src.turns.persistence import CUT_NOTE, STOPPED_NOTE
from tests.turns.turn_fixture import OPTIONS, THREAD, Model, Patched, ProcessPair, Reader, as_user, sse

ANN = as_user("ann")
ANSWER = "A long story, last words"


class Failing:
    """Makes these methods of a process's ledger and answers fail while `now` is set."""

    def __init__(self, pair: ProcessPair, *names: str) -> None:
        self.now = False
        services = pair.first.turns.services
        parts: dict[str, Any] = {"ledger": services.ledger, "answers": services.answers}
        for name in names:
            part = "answers" if name == "keep" else "ledger"
            parts[part] = Patched(parts[part], **{name: self._failing(getattr(parts[part], name))})
        pair.first.turns.services = replace(services, **parts)

    def _failing(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **named: Any) -> Any:
            if self.now:
                raise UnavailableError("throttled")
            return await method(*args, **named)

        return call


async def interrupt(pair: ProcessPair, failing: Failing, end: str) -> Reader:
    """Interrupt an answer whose last words are not yet journaled, while the store fails."""
    model = Model()
    deadline_ms = pair.time.now_ms() + 10_000 if end == "deadline" else None
    reader = await pair.first.ask(model, "hi", deadline_ms=deadline_ms)
    model.say("A long ", "story,")
    await pair.time.advance(6.0)
    model.say(" last words")
    await pair.time.settle()
    if end == "stopped":
        assert await pair.second.turns.stop(ANN, turn_id=None, thread_id=THREAD)
    failing.now = True
    await pair.time.advance(1.5 if end == "deadline" else 1.5 + closing.KEEP_TRIES * closing.KEEP_AGAIN_S)
    assert reader.kinds[-1] == "notice" or end == "stopped"
    await pair.time.advance(1.5)
    assert reader.over
    assert reader.error is None
    return reader


@pytest.mark.parametrize("method", ["renew_lease", "keep", "append_journal", "end_lease"])
async def test_a_fault_at_the_deadline_loses_neither_words_nor_the_notice(method: str) -> None:
    pair = await ProcessPair.create()
    failing = Failing(pair, method)
    reader = await interrupt(pair, failing, "deadline")
    assert reader.events[-1] == closing.encoded(closing.DEADLINE)
    await pair.time.advance(LEASE_MS / 1000)
    await pair.wait_for(pair.second.turns.recover(THREAD, ANN))
    assert await pair.texts() == ["hi", ANSWER, f"[{CUT_NOTE}]"]


@pytest.mark.parametrize("method", ["keep", "append_journal", "end_lease"])
async def test_a_fault_at_a_stop_loses_no_words(method: str) -> None:
    pair = await ProcessPair.create()
    failing = Failing(pair, method)
    await interrupt(pair, failing, "stopped")
    await pair.time.advance(LEASE_MS / 1000)
    await pair.wait_for(pair.second.turns.recover(THREAD, ANN))
    assert await pair.texts() == ["hi", ANSWER, f"[{STOPPED_NOTE}]"]


@pytest.mark.parametrize("end", ["deadline", "stopped"])
async def test_an_answer_that_could_not_be_stored_is_stored_by_the_next_message(end: str) -> None:
    pair = await ProcessPair.create()
    failing = Failing(pair, "keep")
    await interrupt(pair, failing, end)
    model = Model("msg_next")
    model.finish()
    await pair.second.ask(model, "go on")
    await pair.time.settle()
    assert (await pair.texts())[:2] == ["hi", ANSWER]
    assert (await pair.texts())[-2:] == ["go on", ""]


async def test_the_lease_is_released_if_only_the_journal_fails() -> None:
    """The answer is stored, so nobody needs to wait for the lease to expire."""
    pair = await ProcessPair.create()
    failing = Failing(pair, "append_journal", "renew_lease")
    await interrupt(pair, failing, "deadline")
    assert await pair.wait_for(pair.second.turns.running_in(THREAD, ANN)) is None


@pytest.mark.parametrize("method", ["renew_lease", "keep"])
async def test_a_fault_before_chatkits_error_event_does_not_replace_it(method: str) -> None:
    pair = await ProcessPair.create()
    failing = Failing(pair, method)
    model = Model()
    reader = await pair.first.ask(model, "hi")
    model.say("so far")
    await pair.time.advance(RENEW_S / 2)
    failing.now = True
    model.event(sse("error", code="custom", message="The model is overloaded.", allow_retry=True))
    await pair.time.advance(closing.KEEP_TRIES * closing.KEEP_AGAIN_S)
    assert json.loads(reader.events[-1][6:])["message"] == "The model is overloaded."
    model.finish()
    await pair.time.settle()
    assert OPTIONS in reader.events


async def test_the_reader_of_a_superseded_turn_without_words_gets_a_notice() -> None:
    pair = await ProcessPair.create()
    reader = await pair.first.ask(Model(), "hi")
    other = await pair.second.ask(Model("msg_other"), "and this")
    await pair.time.advance(RENEW_S)
    assert reader.events[-1] == closing.encoded(closing.ELSEWHERE)
    assert not other.over
    await other.stream.stop()


@pytest.mark.parametrize("method", ["renew_lease", "append_journal"])
async def test_a_store_that_hangs_at_the_deadline_does_not_delay_the_notice(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """The store's timeout is longer than the remaining time, and Lambda would end the stream without a notice."""
    monkeypatch.setattr(closing, "HURRIED_S", 0.0)
    pair = await ProcessPair.create()
    services = pair.first.turns.services
    hangs = asyncio.Event()

    async def call(*args: Any, **named: Any) -> Any:
        await (asyncio.Event().wait() if hangs.is_set() else asyncio.sleep(0))
        return await getattr(services.ledger, method)(*args, **named)

    slow: Any = Patched(services.ledger, **{method: call})
    pair.first.turns.services = replace(services, ledger=slow)
    model = Model()
    reader = await pair.first.ask(model, "hi", deadline_ms=pair.time.now_ms() + 10_000)
    model.say(ANSWER)
    await pair.time.settle()
    hangs.set()
    await pair.time.advance(7.0)
    assert reader.over
    assert reader.events[-1] == closing.encoded(closing.DEADLINE)
    assert await pair.texts() == ["hi", ANSWER, f"[{CUT_NOTE}]"]


async def test_an_answer_that_ends_during_a_store_outage_is_stored_after_it() -> None:
    """The process has the whole answer, so it retries and keeps its lease."""
    pair = await ProcessPair.create()
    failing = Failing(pair, "renew_lease", "keep", "append_journal", "end_lease")
    model = Model()
    reader = await pair.first.ask(model, "hi")
    model.say("A long ", "story,")
    await pair.time.advance(2.2)
    failing.now = True
    model.say(" last words")
    model.event(sse("error", code="custom", message="The store is away.", allow_retry=True))
    await pair.time.advance(8)
    assert reader.kinds[-1] == "thread.item.updated"
    failing.now = False
    await pair.time.advance(2)
    assert reader.kinds[-2:] == ["thread.item.done", "error"]
    assert await pair.texts() == ["hi", ANSWER, f"[{CUT_NOTE}]"]


@pytest.mark.parametrize(("end", "away_s"), [("stopped", 8.0), ("failed", 8.0), ("deadline", 0.9)])
async def test_an_answer_interrupted_during_a_store_outage_is_stored_after_it(end: str, away_s: float) -> None:
    pair = await ProcessPair.create()
    noticing = [] if end == "stopped" else ["renew_lease"]  # a renewal notices a Stop
    failing = Failing(pair, "keep", "append_journal", "end_lease", *noticing)
    model = Model()
    deadline_ms = pair.time.now_ms() + 10_000 if end == "deadline" else None
    reader = await pair.first.ask(model, "hi", deadline_ms=deadline_ms)
    model.say("A long ", "story,")
    await pair.time.advance(2.2 if deadline_ms is None else 6.9)
    model.say(" last words")
    await pair.time.settle()
    if end == "stopped":
        assert await pair.second.turns.stop(ANN, turn_id=None, thread_id=THREAD)
    failing.now = True
    if end == "failed":
        model.fail(ZeroDivisionError("the model"))
    await pair.time.advance(away_s)
    assert await pair.texts() == ["hi"]
    failing.now = False
    await pair.time.advance(1.5)
    assert reader.over
    note = STOPPED_NOTE if end == "stopped" else CUT_NOTE
    assert await pair.texts() == ["hi", ANSWER, f"[{note}]"]
    row = await pair.second.store.ledger.load_turn(THREAD, context=ANN)
    assert row is not None
    assert row.ended


async def test_a_turn_that_lost_its_lease_during_an_outage_leaves_its_answer_to_the_newer_turn() -> None:
    pair = await ProcessPair.create()
    failing = Failing(pair, "renew_lease", "keep", "append_journal", "end_lease")
    model = Model()
    reader = await pair.first.ask(model, "hi")
    model.say("A long ", "story,")
    await pair.time.advance(2.2)
    model.say(" last words")
    model.fail(ZeroDivisionError("the model"))
    failing.now = True
    await pair.time.advance(2)
    newer = Model("msg_newer")
    other = await pair.second.ask(newer, "and this")
    failing.now = False
    await pair.time.advance(2)
    assert reader.over
    assert (await pair.texts())[:2] == ["hi", "A long story,"]
    newer.finish()
    await pair.time.advance(1)
    assert other.over
    assert (await pair.texts())[-2:] == ["and this", ""]
