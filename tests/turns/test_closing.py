"""A turn that ends before its time over a store that fails just then: the reader is told, and no word is lost."""

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
from tests.turns.turn_fixture import OPTIONS, THREAD, Model, ProcessPair, Reader, Replaced, as_user, sse

ANN = as_user("ann")
SAID = "A long story, last words"


class Failing:
    """A store that answers until `now` says that it does not. Names are those of a ledger's or the answers' methods."""

    def __init__(self, pair: ProcessPair, *names: str) -> None:
        self.now = False
        services = pair.one.turns.services
        parts: dict[str, Any] = {"ledger": services.ledger, "answers": services.answers}
        for name in names:
            part = "answers" if name == "keep" else "ledger"
            parts[part] = Replaced(parts[part], **{name: self._unless(getattr(parts[part], name))})
        pair.one.turns.services = replace(services, **parts)

    def _unless(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **named: Any) -> Any:
            if self.now:
                raise UnavailableError("throttled")
            return await method(*args, **named)

        return call


async def cut_by(pair: ProcessPair, failing: Failing, cut: str) -> Reader:
    """An answer whose last words wait for the next second when it is cut, and the store fails."""
    model = Model()
    deadline_ms = pair.time.now_ms() + 10_000 if cut == "deadline" else None
    reader = await pair.one.ask(model, "hi", deadline_ms=deadline_ms)
    model.say("A long ", "story,")
    await pair.time.advance(6.0)
    model.say(" last words")
    await pair.time.rest()
    if cut == "stopped":
        assert await pair.two.turns.stop(ANN, turn_id=None, thread_id=THREAD)
    failing.now = True
    await pair.time.advance(1.5 if cut == "deadline" else 1.5 + closing.KEEP_TRIES * closing.KEEP_AGAIN_S)
    assert reader.kinds[-1] == "notice" or cut == "stopped"
    await pair.time.advance(1.5)
    assert reader.over
    assert reader.error is None
    return reader


@pytest.mark.parametrize("method", ["renew_lease", "keep", "append_journal", "end_lease"])
async def test_a_fault_at_the_deadline_costs_no_word_and_no_notice(method: str) -> None:
    pair = await ProcessPair.create()
    failing = Failing(pair, method)
    reader = await cut_by(pair, failing, "deadline")
    assert reader.events[-1] == closing.encoded(closing.DEADLINE)
    await pair.time.advance(LEASE_MS / 1000)
    await pair.waited(pair.two.turns.recover(THREAD, ANN))
    assert await pair.texts() == ["hi", SAID, f"[{CUT_NOTE}]"]


@pytest.mark.parametrize("method", ["keep", "append_journal", "end_lease"])
async def test_a_fault_at_a_stop_costs_no_word(method: str) -> None:
    pair = await ProcessPair.create()
    failing = Failing(pair, method)
    await cut_by(pair, failing, "stopped")
    await pair.time.advance(LEASE_MS / 1000)
    await pair.waited(pair.two.turns.recover(THREAD, ANN))
    assert await pair.texts() == ["hi", SAID, f"[{STOPPED_NOTE}]"]


@pytest.mark.parametrize("cut", ["deadline", "stopped"])
async def test_what_could_not_be_kept_is_kept_by_the_next_message(cut: str) -> None:
    pair = await ProcessPair.create()
    failing = Failing(pair, "keep")
    await cut_by(pair, failing, cut)
    model = Model("msg_next")
    model.finish()
    await pair.two.ask(model, "go on")
    await pair.time.rest()
    assert (await pair.texts())[:2] == ["hi", SAID]
    assert (await pair.texts())[-2:] == ["go on", ""]


async def test_a_lease_is_given_back_when_only_the_journal_fails() -> None:
    """The answer is kept: nobody needs to wait for the lease to run out."""
    pair = await ProcessPair.create()
    failing = Failing(pair, "append_journal", "renew_lease")
    await cut_by(pair, failing, "deadline")
    assert await pair.waited(pair.two.turns.running_in(THREAD, ANN)) is None


@pytest.mark.parametrize("method", ["renew_lease", "keep"])
async def test_a_fault_before_chatkits_error_event_does_not_replace_it(method: str) -> None:
    pair = await ProcessPair.create()
    failing = Failing(pair, method)
    model = Model()
    reader = await pair.one.ask(model, "hi")
    model.say("so far")
    await pair.time.advance(RENEW_S / 2)
    failing.now = True
    model.event(sse("error", code="custom", message="The model is overloaded.", allow_retry=True))
    await pair.time.advance(closing.KEEP_TRIES * closing.KEEP_AGAIN_S)
    assert json.loads(reader.events[-1][6:])["message"] == "The model is overloaded."
    model.finish()
    await pair.time.rest()
    assert OPTIONS in reader.events


async def test_a_reader_whose_turn_was_superseded_before_a_word_of_it_was_kept_is_told() -> None:
    pair = await ProcessPair.create()
    reader = await pair.one.ask(Model(), "hi")
    other = await pair.two.ask(Model("msg_other"), "and this")
    await pair.time.advance(RENEW_S)
    assert reader.events[-1] == closing.encoded(closing.ELSEWHERE)
    assert not other.over
    await other.stream.stop()


@pytest.mark.parametrize("method", ["renew_lease", "append_journal"])
async def test_a_store_that_hangs_at_the_deadline_holds_no_notice_back(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Its own patience is longer than the time that is left: Lambda would end the stream without a word."""
    monkeypatch.setattr(closing, "HURRIED_S", 0.0)
    pair = await ProcessPair.create()
    services = pair.one.turns.services
    hangs = asyncio.Event()

    async def call(*args: Any, **named: Any) -> Any:
        await (asyncio.Event().wait() if hangs.is_set() else asyncio.sleep(0))
        return await getattr(services.ledger, method)(*args, **named)

    slow: Any = Replaced(services.ledger, **{method: call})
    pair.one.turns.services = replace(services, ledger=slow)
    model = Model()
    reader = await pair.one.ask(model, "hi", deadline_ms=pair.time.now_ms() + 10_000)
    model.say(SAID)
    await pair.time.rest()
    hangs.set()
    await pair.time.advance(7.0)
    assert reader.over
    assert reader.events[-1] == closing.encoded(closing.DEADLINE)
    assert await pair.texts() == ["hi", SAID, f"[{CUT_NOTE}]"]


async def test_an_answer_that_ended_while_the_store_was_away_is_kept_when_it_is_back() -> None:
    """The process has all of it: it tries again, and the lease stays its own."""
    pair = await ProcessPair.create()
    failing = Failing(pair, "renew_lease", "keep", "append_journal", "end_lease")
    model = Model()
    reader = await pair.one.ask(model, "hi")
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
    assert await pair.texts() == ["hi", SAID, f"[{CUT_NOTE}]"]


@pytest.mark.parametrize(("cut", "away_s"), [("stopped", 8.0), ("failed", 8.0), ("deadline", 0.9)])
async def test_an_answer_that_was_cut_while_the_store_was_away_is_kept_when_it_is_back(cut: str, away_s: float) -> None:
    pair = await ProcessPair.create()
    noticing = [] if cut == "stopped" else ["renew_lease"]  # a Stop is noticed by a renewal
    failing = Failing(pair, "keep", "append_journal", "end_lease", *noticing)
    model = Model()
    deadline_ms = pair.time.now_ms() + 10_000 if cut == "deadline" else None
    reader = await pair.one.ask(model, "hi", deadline_ms=deadline_ms)
    model.say("A long ", "story,")
    await pair.time.advance(2.2 if deadline_ms is None else 6.9)
    model.say(" last words")
    await pair.time.rest()
    if cut == "stopped":
        assert await pair.two.turns.stop(ANN, turn_id=None, thread_id=THREAD)
    failing.now = True
    if cut == "failed":
        model.fail(ZeroDivisionError("the model"))
    await pair.time.advance(away_s)
    assert await pair.texts() == ["hi"]
    failing.now = False
    await pair.time.advance(1.5)
    assert reader.over
    note = STOPPED_NOTE if cut == "stopped" else CUT_NOTE
    assert await pair.texts() == ["hi", SAID, f"[{note}]"]
    row = await pair.two.store.ledger.load_turn(THREAD, context=ANN)
    assert row is not None
    assert row.ended


async def test_a_turn_that_lost_its_lease_while_the_store_was_away_leaves_the_keeping_to_the_newer_one() -> None:
    pair = await ProcessPair.create()
    failing = Failing(pair, "renew_lease", "keep", "append_journal", "end_lease")
    model = Model()
    reader = await pair.one.ask(model, "hi")
    model.say("A long ", "story,")
    await pair.time.advance(2.2)
    model.say(" last words")
    model.fail(ZeroDivisionError("the model"))
    failing.now = True
    await pair.time.advance(2)
    newer = Model("msg_newer")
    other = await pair.two.ask(newer, "and this")
    failing.now = False
    await pair.time.advance(2)
    assert reader.over
    assert (await pair.texts())[:2] == ["hi", "A long story,"]
    newer.finish()
    await pair.time.advance(1)
    assert other.over
    assert (await pair.texts())[-2:] == ["and this", ""]
