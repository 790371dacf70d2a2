"""The contract about leases: taken, renewed, ended, stopped, handed over. Knows no engine."""

from dataclasses import replace

import pytest
from chatkit.store import NotFoundError

from lambda_src.context import RequestContext, Turn
from lambda_src.dev.store_contract.samples import item_ids, message_of, thread_of
from lambda_src.store.ports import JournalBatch, LeaseTaken, TurnLedger, TurnRow
from tests.store.ledger_case import ADA, BOB, LEASE_MS, Clock, LedgerCase, Processes, bare


async def take(ledger: TurnLedger, turn_id: str, thread_id: str = "thr_1") -> LeaseTaken:
    """`turn_id` takes the lease of Ada's thread."""
    return await ledger.take_lease(thread_id, turn_id, lease_ms=LEASE_MS, context=ADA)


def in_turn(turn_id: str) -> RequestContext:
    """A request of Ada's that runs this turn."""
    return replace(ADA, turn=Turn(turn_id))


async def predecessor(ledger: TurnLedger, turn_id: str) -> TurnRow:
    """Whom `turn_id` took the lease from."""
    previous = (await take(ledger, turn_id)).previous
    assert previous is not None
    return previous


async def standing(ledger: TurnLedger) -> TurnRow:
    """The lease of Ada's thread."""
    row = await ledger.load_turn("thr_1", context=ADA)
    assert row is not None
    return row


async def journaled(ledger: TurnLedger, thread_id: str, turn_id: str) -> list[bytes]:
    """The batches that a turn's journal holds."""
    batches = ledger.read_journal(thread_id, turn_id, first=0, context=ADA)
    return [batch.data async for batch in batches]


async def renew(ledger: TurnLedger, turn_id: str, thread_id: str = "thr_1") -> str:
    """`turn_id` renews it."""
    return await ledger.renew_lease(thread_id, turn_id, lease_ms=LEASE_MS, context=ADA)


class LeaseContract(LedgerCase):
    """take_lease, renew_lease, end_lease, ask_to_stop, load_turn."""

    async def test_the_first_lease_of_a_thread_has_no_predecessor(self, ledger: TurnLedger, clock: Clock) -> None:
        assert await take(ledger, "one") == LeaseTaken(None)
        assert bare(await standing(ledger)) == TurnRow("one", clock.now_ms + LEASE_MS, False, False, last_order=0)

    async def test_a_lease_is_taken_from_a_running_turn_at_once(
        self, ledger: TurnLedger, other: TurnLedger, clock: Clock
    ) -> None:
        await take(ledger, "one")
        running = TurnRow("one", clock.now_ms + LEASE_MS, stop=False, ended=False, last_order=0)
        assert bare((await take(other, "two")).previous) == running
        assert await renew(ledger, "one") == "superseded"
        assert await renew(other, "two") == "held"

    async def test_a_lease_that_ran_out_is_taken_like_any_other(self, ledger: TurnLedger, clock: Clock) -> None:
        await take(ledger, "one")
        expires_ms = clock.now_ms + LEASE_MS
        clock.later(ms=LEASE_MS * 10)
        assert bare((await take(ledger, "two")).previous) == TurnRow("one", expires_ms, False, False, 0)

    async def test_the_predecessor_says_that_it_ended_or_was_stopped(self, ledger: TurnLedger) -> None:
        await take(ledger, "one")
        await ledger.ask_to_stop("thr_1", None, context=ADA)
        stopped = await predecessor(ledger, "two")
        assert (stopped.turn_id, stopped.stop, stopped.ended) == ("one", True, False)
        await ledger.end_lease("thr_1", "two", context=ADA)
        ended = await predecessor(ledger, "three")
        assert (ended.turn_id, ended.stop, ended.ended) == ("two", False, True)

    async def test_a_turn_that_takes_its_own_lease_again_is_its_own_predecessor(self, ledger: TurnLedger) -> None:
        """As when its process died, and the client's retry brought the same id."""
        await take(ledger, "one")
        await ledger.ask_to_stop("thr_1", None, context=ADA)
        again = await predecessor(ledger, "one")
        assert (again.turn_id, again.stop) == ("one", True)
        assert await renew(ledger, "one") == "held"

    async def test_what_a_crashed_turn_had_yet_to_fold_is_left_to_the_next(
        self, ledger: TurnLedger, other: TurnLedger
    ) -> None:
        await take(ledger, "one")
        await take(ledger, "two")
        crashed = await predecessor(other, "three")
        assert (crashed.turn_id, crashed.unrecovered) == ("two", ("one",))

    async def test_who_renews_or_ends_has_folded_what_came_before(self, ledger: TurnLedger) -> None:
        await take(ledger, "one")
        await take(ledger, "two")
        assert (await standing(ledger)).unrecovered == ("one",)
        await renew(ledger, "two")
        assert (await standing(ledger)).unrecovered == ()
        await take(ledger, "three")
        await ledger.end_lease("thr_1", "three", context=ADA)
        assert (await standing(ledger)).unrecovered == ()
        assert (await predecessor(ledger, "four")).unrecovered == ()
        assert (await standing(ledger)).unrecovered == ()

    async def test_of_any_number_of_turns_that_crashed_before_they_folded_anything_all_are_left(
        self, ledger: TurnLedger, other: TurnLedger
    ) -> None:
        for turn_id in ("one", "two", "three", "four"):
            await take(ledger, turn_id)
        crashed = await predecessor(other, "five")
        assert (crashed.turn_id, crashed.unrecovered) == ("four", ("one", "two", "three"))

    async def test_a_lease_says_when_its_turn_ended_and_nothing_of_one_that_died(
        self, ledger: TurnLedger, clock: Clock
    ) -> None:
        await take(ledger, "one")
        clock.later(ms=1234)
        await ledger.end_lease("thr_1", "one", context=ADA)
        ended_ms = clock.now_ms
        clock.later(ms=1)
        await ledger.end_lease("thr_1", "one", context=ADA)
        assert (await standing(ledger)).expires_ms == ended_ms
        await take(ledger, "two")
        await ledger.end_lease("thr_1", "two", died=True, context=ADA)
        assert (await standing(ledger)).expires_ms == 0

    @pytest.mark.parametrize("ahead_s", [0, 60])
    async def test_what_a_superseded_turn_still_writes_stands_before_what_its_successor_wrote(
        self, processes: Processes, ahead_s: int
    ) -> None:
        """Its answer may be on its way while the newer message arrives, and its machine's clock may be ahead."""
        clock = processes.clock
        old, new = processes.store(ahead_s=ahead_s), processes.store()
        one, two = in_turn("one"), in_turn("two")
        await take(old.ledger, "one")
        await renew(old.ledger, "one")
        await old.add_thread_item("thr_1", message_of("question"), one)
        clock.later(ms=700)
        await take(new.ledger, "two")
        await new.add_thread_item("thr_1", message_of("newer"), two)
        clock.later(ms=300)
        await old.add_thread_item("thr_1", message_of("late"), one)
        await old.delete_thread_item("thr_1", "newer", one)
        assert await renew(old.ledger, "one") == "superseded"
        await old.add_thread_item("thr_1", message_of("later"), one)
        assert await item_ids(new, "thr_1", ADA) == ["question", "late", "later", "newer"]
        await new.delete_thread_item("thr_1", "question", two)
        assert await item_ids(new, "thr_1", ADA) == ["late", "later", "newer"]

    async def test_what_somebody_else_wrote_stands_before_the_answer_of_a_turn_that_has_read_it(
        self, processes: Processes
    ) -> None:
        """A reader keeps what a dead turn had said after this turn took the lease, before its first renewal."""
        clock = processes.clock
        mine, other = processes.store(), processes.store()
        one = in_turn("one")
        await take(mine.ledger, "one")
        await mine.add_thread_item("thr_1", message_of("question"), one)
        for ms, name in ((0, "at once"), (400, "soon"), (400, "later")):
            clock.later(ms=ms)
            await item_ids(other, "thr_1", ADA)
            await other.add_thread_item("thr_1", message_of(name), ADA)
            await item_ids(mine, "thr_1", one)
            await mine.add_thread_item("thr_1", message_of(f"after {name}"), one)
        written = ["question", "at once", "after at once", "soon", "after soon", "later", "after later"]
        assert await item_ids(mine, "thr_1", ADA) == written
        for name in ("at once", "soon", "later"):
            await mine.delete_thread_item("thr_1", name, one)
        assert await item_ids(mine, "thr_1", ADA) == ["question", "after at once", "after soon", "after later"]

    async def test_a_turn_that_has_read_its_successors_message_still_stands_before_it_and_removes_nothing_of_it(
        self, processes: Processes
    ) -> None:
        clock = processes.clock
        old, new = processes.store(), processes.store()
        one, two = in_turn("one"), in_turn("two")
        await take(old.ledger, "one")
        clock.later(ms=400)
        await take(new.ledger, "two")
        await new.add_thread_item("thr_1", message_of("newer"), two)
        await item_ids(old, "thr_1", one)
        await old.delete_thread_item("thr_1", "newer", one)
        await old.add_thread_item("thr_1", message_of("late"), one)
        await old.save_item("thr_1", message_of("later"), one)
        assert await item_ids(new, "thr_1", ADA) == ["late", "later", "newer"]

    async def test_renewing_prolongs(self, ledger: TurnLedger, clock: Clock) -> None:
        await take(ledger, "one")
        clock.later(ms=LEASE_MS - 1)
        assert await renew(ledger, "one") == "held"
        clock.later(ms=LEASE_MS - 1)
        assert await ledger.ask_to_stop("thr_1", None, context=ADA) is not None

    async def test_a_turn_that_was_frozen_goes_on_when_nobody_took_its_lease(
        self, ledger: TurnLedger, clock: Clock
    ) -> None:
        await take(ledger, "one")
        clock.later(ms=LEASE_MS * 10)
        assert await renew(ledger, "one") == "held"

    async def test_a_renewal_says_that_somebody_asked_to_stop(self, ledger: TurnLedger, other: TurnLedger) -> None:
        await take(ledger, "one")
        assert await other.ask_to_stop("thr_1", "one", context=ADA) is not None
        assert await renew(ledger, "one") == "stopped"
        assert await renew(ledger, "one") == "stopped"

    async def test_a_turn_that_somebody_else_ended_is_superseded(self, ledger: TurnLedger, other: TurnLedger) -> None:
        """A reader thought that it had crashed, and folded what it left."""
        await take(ledger, "one")
        assert await other.end_lease("thr_1", "one", context=ADA)
        assert await renew(ledger, "one") == "superseded"

    async def test_a_lease_that_nobody_took_cannot_be_renewed_or_ended(self, ledger: TurnLedger) -> None:
        assert await renew(ledger, "one") == "superseded"
        assert await ledger.end_lease("thr_1", "one", context=ADA) is False

    async def test_only_the_holder_ends_a_lease(self, ledger: TurnLedger, other: TurnLedger) -> None:
        await take(ledger, "one")
        await take(other, "two")
        assert await ledger.end_lease("thr_1", "one", context=ADA) is False
        assert await other.end_lease("thr_1", "two", context=ADA) is True
        assert await other.end_lease("thr_1", "two", context=ADA) is True
        assert (await standing(ledger)).ended

    async def test_stopping_a_thread_stops_whatever_runs_in_it(self, ledger: TurnLedger, clock: Clock) -> None:
        await take(ledger, "one")
        asked = TurnRow("one", clock.now_ms + LEASE_MS, stop=True, ended=False, last_order=0)
        assert bare(await ledger.ask_to_stop("thr_1", None, context=ADA)) == asked
        assert bare(await ledger.ask_to_stop("thr_1", None, context=ADA)) == asked
        assert bare(await standing(ledger)) == asked

    async def test_only_a_running_turn_can_be_stopped(self, ledger: TurnLedger, clock: Clock) -> None:
        assert await ledger.ask_to_stop("thr_1", None, context=ADA) is None
        await take(ledger, "one")
        assert await ledger.ask_to_stop("thr_1", "two", context=ADA) is None
        clock.later(ms=LEASE_MS)
        assert await ledger.ask_to_stop("thr_1", "one", context=ADA) is None
        await renew(ledger, "one")
        await ledger.end_lease("thr_1", "one", context=ADA)
        assert await ledger.ask_to_stop("thr_1", "one", context=ADA) is None
        assert await ledger.ask_to_stop("thr_1", None, context=ADA) is None
        assert not (await standing(ledger)).stop

    async def test_another_users_thread_is_as_if_it_were_not_there(self, ledger: TurnLedger) -> None:
        await take(ledger, "one")
        assert await ledger.load_turn("thr_1", context=BOB) is None
        assert await ledger.ask_to_stop("thr_1", "one", context=BOB) is None
        assert await ledger.renew_lease("thr_1", "one", lease_ms=LEASE_MS, context=BOB) == "superseded"
        assert await ledger.end_lease("thr_1", "one", context=BOB) is False
        assert await ledger.take_lease("thr_1", "two", lease_ms=LEASE_MS, context=BOB) == LeaseTaken(None)
        assert await renew(ledger, "one") == "held"

    async def test_each_thread_has_a_lease_of_its_own(self, ledger: TurnLedger) -> None:
        await take(ledger, "one", "thr_1")
        assert await take(ledger, "two", "thr_2") == LeaseTaken(None)
        assert await renew(ledger, "one", "thr_1") == "held"

    async def test_a_deleted_thread_has_no_lease(self, processes: Processes) -> None:
        store = processes.store()
        await store.save_thread(thread_of(), ADA)
        await take(store.ledger, "one")
        await processes.store().delete_thread("thr_1", ADA)
        assert await renew(store.ledger, "one") == "superseded"
        assert await store.ledger.end_lease("thr_1", "one", context=ADA) is False
        assert await store.ledger.ask_to_stop("thr_1", None, context=ADA) is None
        assert await store.ledger.load_turn("thr_1", context=ADA) is None
        with pytest.raises(NotFoundError):
            await take(store.ledger, "two")

    async def test_a_thread_that_is_deleted_elsewhere_has_no_lease_and_no_events(self, processes: Processes) -> None:
        ledger, other = processes.ledger(), processes.ledger()
        await take(ledger, "one")
        await take(ledger, "two", "thr_2")
        for thread_id, turn_id in (("thr_1", "one"), ("thr_2", "two")):
            await ledger.append_journal(thread_id, turn_id, JournalBatch(0, b"private"), ttl_s=60, context=ADA)
        for _ in range(2):
            await other.delete_thread("thr_1", context=ADA)
            assert await ledger.load_turn("thr_1", context=ADA) is None
            assert await journaled(ledger, "thr_1", "one") == []
        assert await renew(ledger, "one") == "superseded"
        await ledger.append_journal("thr_1", "one", JournalBatch(1, b"late"), ttl_s=60, context=ADA)
        assert await ledger.end_lease("thr_1", "one", context=ADA) is False
        assert await journaled(ledger, "thr_1", "one") == []
        with pytest.raises(NotFoundError):
            await take(ledger, "three")
        assert await journaled(ledger, "thr_2", "two") == [b"private"]
        assert await renew(ledger, "two", "thr_2") == "held"

    @pytest.mark.parametrize("handed_over", ["renewed", "ended"])
    async def test_a_lease_hands_over_the_clock_of_the_thread(self, processes: Processes, handed_over: str) -> None:
        """A minute between two machines' clocks would otherwise put the answer before its question."""
        ahead, behind = processes.store(ahead_s=60), processes.store()
        await take(ahead.ledger, "one")
        await ahead.add_thread_item("thr_1", message_of("first"), ADA)
        if handed_over == "renewed":
            await renew(ahead.ledger, "one")
        else:
            await ahead.ledger.end_lease("thr_1", "one", context=ADA)
        previous = await predecessor(behind.ledger, "two")
        assert previous.last_order >= processes.clock.now_ns + 60 * 10**9
        await behind.add_thread_item("thr_1", message_of("second"), ADA)
        assert await item_ids(behind, "thr_1", ADA) == ["first", "second"]

    async def test_what_a_lease_knows_of_the_clock_outlives_a_turn_that_wrote_nothing(
        self, processes: Processes
    ) -> None:
        ahead = processes.store(ahead_s=60)
        await take(ahead.ledger, "one")
        await ahead.add_thread_item("thr_1", message_of("first"), ADA)
        await renew(ahead.ledger, "one")
        await take(processes.ledger(), "two")
        previous = await predecessor(processes.ledger(), "three")
        assert previous.last_order >= processes.clock.now_ns + 60 * 10**9

    async def test_a_clock_over_five_minutes_ahead_is_not_followed(self, processes: Processes) -> None:
        ahead, behind = processes.store(ahead_s=301), processes.store()
        await take(ahead.ledger, "one")
        await ahead.add_thread_item("thr_1", message_of("far"), ADA)
        await renew(ahead.ledger, "one")
        await take(behind.ledger, "two")
        await behind.add_thread_item("thr_1", message_of("near"), ADA)
        assert await item_ids(behind, "thr_1", ADA) == ["near", "far"]
