"""Turn ledger contract for leases: taking, renewing, ending, stopping, and the order of items across turns."""

from dataclasses import replace

import pytest
from chatkit.store import NotFoundError

from lambda_src.context import RequestContext, Turn
from lambda_src.dev.store_contract.samples import item_ids, message_of, thread_of
from lambda_src.store.ports import JournalBatch, LeaseTaken, TurnLedger, TurnRow
from tests.store.ledger_case import ADA, BOB, LEASE_MS, Clock, LedgerCase, Processes, without_order


async def take(ledger: TurnLedger, turn_id: str, thread_id: str = "thr_1") -> LeaseTaken:
    """Take the lease of ada's thread."""
    return await ledger.take_lease(thread_id, turn_id, lease_ms=LEASE_MS, context=ADA)


def in_turn(turn_id: str) -> RequestContext:
    """Return the context of ada's request in this turn."""
    return replace(ADA, turn=Turn(turn_id))


async def predecessor(ledger: TurnLedger, turn_id: str) -> TurnRow:
    """Take the lease and return its previous holder."""
    previous = (await take(ledger, turn_id)).previous
    assert previous is not None
    return previous


async def lease_row(ledger: TurnLedger) -> TurnRow:
    """Load the lease of ada's thread."""
    row = await ledger.load_turn("thr_1", context=ADA)
    assert row is not None
    return row


async def journaled(ledger: TurnLedger, thread_id: str, turn_id: str) -> list[bytes]:
    """Return the batches of a turn's journal."""
    batches = ledger.read_journal(thread_id, turn_id, first=0, context=ADA)
    return [batch.data async for batch in batches]


async def renew(ledger: TurnLedger, turn_id: str, thread_id: str = "thr_1") -> str:
    """Renew the lease of ada's thread."""
    return await ledger.renew_lease(thread_id, turn_id, lease_ms=LEASE_MS, context=ADA)


class TickingClock(Clock):
    """A clock that goes on whenever it is read."""

    STEP_MS = 20

    def __call__(self) -> int:
        self.later(ms=self.STEP_MS)
        return self.now_ns


class LeaseContract(LedgerCase):
    """take_lease, renew_lease, end_lease, ask_to_stop, load_turn."""

    async def test_the_first_lease_of_a_thread_has_no_predecessor(self, ledger: TurnLedger, clock: Clock) -> None:
        assert await take(ledger, "one") == LeaseTaken(None)
        assert without_order(await lease_row(ledger)) == TurnRow(
            "one", clock.now_ms + LEASE_MS, False, False, last_order=0
        )

    async def test_a_lease_is_taken_from_a_running_turn_at_once(
        self, ledger: TurnLedger, other: TurnLedger, clock: Clock
    ) -> None:
        await take(ledger, "one")
        running = TurnRow("one", clock.now_ms + LEASE_MS, stop=False, ended=False, last_order=0)
        assert without_order((await take(other, "two")).previous) == running
        assert await renew(ledger, "one") == "superseded"
        assert await renew(other, "two") == "held"

    async def test_an_expired_lease_is_taken_like_any_other(self, ledger: TurnLedger, clock: Clock) -> None:
        await take(ledger, "one")
        expires_ms = clock.now_ms + LEASE_MS
        clock.later(ms=LEASE_MS * 10)
        assert without_order((await take(ledger, "two")).previous) == TurnRow("one", expires_ms, False, False, 0)

    async def test_the_previous_row_says_whether_its_turn_was_stopped_or_ended(self, ledger: TurnLedger) -> None:
        await take(ledger, "one")
        await ledger.ask_to_stop("thr_1", None, context=ADA)
        stopped = await predecessor(ledger, "two")
        assert (stopped.turn_id, stopped.stop, stopped.ended) == ("one", True, False)
        await ledger.end_lease("thr_1", "two", context=ADA)
        ended = await predecessor(ledger, "three")
        assert (ended.turn_id, ended.stop, ended.ended) == ("two", False, True)

    async def test_a_turn_that_takes_its_lease_again_is_its_own_predecessor(self, ledger: TurnLedger) -> None:
        """This happens when its process died and the client's retry has the same id."""
        await take(ledger, "one")
        await ledger.ask_to_stop("thr_1", None, context=ADA)
        again = await predecessor(ledger, "one")
        assert (again.turn_id, again.stop) == ("one", True)
        assert await renew(ledger, "one") == "held"

    async def test_turns_that_a_crashed_turn_had_not_recovered_are_left_to_the_next(
        self, ledger: TurnLedger, other: TurnLedger
    ) -> None:
        await take(ledger, "one")
        await take(ledger, "two")
        crashed = await predecessor(other, "three")
        assert (crashed.turn_id, crashed.unrecovered) == ("two", ("one",))

    async def test_a_turn_that_renews_or_ends_has_recovered_its_predecessors(self, ledger: TurnLedger) -> None:
        await take(ledger, "one")
        await take(ledger, "two")
        assert (await lease_row(ledger)).unrecovered == ("one",)
        await renew(ledger, "two")
        assert (await lease_row(ledger)).unrecovered == ()
        await take(ledger, "three")
        await ledger.end_lease("thr_1", "three", context=ADA)
        assert (await lease_row(ledger)).unrecovered == ()
        assert (await predecessor(ledger, "four")).unrecovered == ()
        assert (await lease_row(ledger)).unrecovered == ()

    async def test_any_number_of_unrecovered_turns_is_left_to_the_next(
        self, ledger: TurnLedger, other: TurnLedger
    ) -> None:
        for turn_id in ("one", "two", "three", "four"):
            await take(ledger, turn_id)
        crashed = await predecessor(other, "five")
        assert (crashed.turn_id, crashed.unrecovered) == ("four", ("one", "two", "three"))

    async def test_an_ended_lease_contains_the_time_unless_its_turn_died(
        self, ledger: TurnLedger, clock: Clock
    ) -> None:
        await take(ledger, "one")
        clock.later(ms=1234)
        await ledger.end_lease("thr_1", "one", context=ADA)
        ended_ms = clock.now_ms
        clock.later(ms=1)
        await ledger.end_lease("thr_1", "one", context=ADA)
        assert (await lease_row(ledger)).expires_ms == ended_ms
        await take(ledger, "two")
        await ledger.end_lease("thr_1", "two", died=True, context=ADA)
        assert (await lease_row(ledger)).expires_ms == 0

    @pytest.mark.parametrize("ahead_s", [0, 60])
    async def test_late_items_of_a_superseded_turn_come_before_its_successors_items(
        self, processes: Processes, ahead_s: int
    ) -> None:
        """The older answer may be in flight when the newer message arrives, and its machine's clock may be ahead."""
        clock = processes.clock
        old, new = processes.store(ahead_s=ahead_s), processes.store()
        first, second = in_turn("one"), in_turn("two")
        await take(old.ledger, "one")
        await renew(old.ledger, "one")
        await old.add_thread_item("thr_1", message_of("question"), first)
        clock.later(ms=700)
        await take(new.ledger, "two")
        await new.add_thread_item("thr_1", message_of("newer"), second)
        clock.later(ms=300)
        await old.add_thread_item("thr_1", message_of("late"), first)
        await old.delete_thread_item("thr_1", "newer", first)
        assert await renew(old.ledger, "one") == "superseded"
        await old.add_thread_item("thr_1", message_of("later"), first)
        assert await item_ids(new, "thr_1", ADA) == ["question", "late", "later", "newer"]
        await new.delete_thread_item("thr_1", "question", second)
        assert await item_ids(new, "thr_1", ADA) == ["late", "later", "newer"]

    async def test_turns_that_supersede_each_other_at_once_come_in_their_order_on_any_clocks(
        self, processes: Processes
    ) -> None:
        """The second turn never renews its lease, so the third one knows the clock of the first only from it."""
        for turn_id, ahead_s in (("one", 60), ("two", 0), ("three", 0)):
            store = processes.store(ahead_s=ahead_s)
            await take(store.ledger, turn_id)
            await store.add_thread_item("thr_1", message_of(turn_id), in_turn(turn_id))
        assert await item_ids(processes.store(), "thr_1", ADA) == ["one", "two", "three"]

    async def test_a_turn_whose_lease_came_late_writes_before_the_turn_that_superseded_it(
        self, processes: Processes
    ) -> None:
        """Its clock goes on while it waits for the lease, and may be ahead of the next turn's."""
        ticking, other = processes.open(TickingClock(processes.clock.now_ns)), processes.store()
        await take(other.ledger, "before")
        await take(ticking.ledger, "one")
        processes.clock.later(ms=TickingClock.STEP_MS)
        await take(other.ledger, "two")
        await ticking.add_thread_item("thr_1", message_of("first"), in_turn("one"))
        await other.add_thread_item("thr_1", message_of("second"), in_turn("two"))
        assert await item_ids(processes.store(), "thr_1", ADA) == ["first", "second"]

    async def test_items_of_others_come_before_the_answer_of_a_turn_that_has_read_them(
        self, processes: Processes
    ) -> None:
        """A reader may store a dead turn's words after this turn took the lease and before its first renewal."""
        clock = processes.clock
        first, other = processes.store(), processes.store()
        turn = in_turn("one")
        await take(first.ledger, "one")
        await first.add_thread_item("thr_1", message_of("question"), turn)
        for ms, name in ((0, "at once"), (400, "soon"), (400, "later")):
            clock.later(ms=ms)
            await item_ids(other, "thr_1", ADA)
            await other.add_thread_item("thr_1", message_of(name), ADA)
            await item_ids(first, "thr_1", turn)
            await first.add_thread_item("thr_1", message_of(f"after {name}"), turn)
        written = ["question", "at once", "after at once", "soon", "after soon", "later", "after later"]
        assert await item_ids(first, "thr_1", ADA) == written
        for name in ("at once", "soon", "later"):
            await first.delete_thread_item("thr_1", name, turn)
        assert await item_ids(first, "thr_1", ADA) == ["question", "after at once", "after soon", "after later"]

    async def test_a_turn_that_has_read_its_successors_message_still_comes_before_it_and_cannot_delete_it(
        self, processes: Processes
    ) -> None:
        clock = processes.clock
        old, new = processes.store(), processes.store()
        first, second = in_turn("one"), in_turn("two")
        await take(old.ledger, "one")
        clock.later(ms=400)
        await take(new.ledger, "two")
        await new.add_thread_item("thr_1", message_of("newer"), second)
        await item_ids(old, "thr_1", first)
        await old.delete_thread_item("thr_1", "newer", first)
        await old.add_thread_item("thr_1", message_of("late"), first)
        await old.save_item("thr_1", message_of("later"), first)
        assert await item_ids(new, "thr_1", ADA) == ["late", "later", "newer"]

    async def test_renewing_extends_a_lease(self, ledger: TurnLedger, clock: Clock) -> None:
        await take(ledger, "one")
        clock.later(ms=LEASE_MS - 1)
        assert await renew(ledger, "one") == "held"
        clock.later(ms=LEASE_MS - 1)
        assert await ledger.ask_to_stop("thr_1", None, context=ADA) is not None

    async def test_a_frozen_turn_continues_if_no_other_turn_took_its_lease(
        self, ledger: TurnLedger, clock: Clock
    ) -> None:
        await take(ledger, "one")
        clock.later(ms=LEASE_MS * 10)
        assert await renew(ledger, "one") == "held"

    async def test_a_renewal_reports_a_stop(self, ledger: TurnLedger, other: TurnLedger) -> None:
        await take(ledger, "one")
        assert await other.ask_to_stop("thr_1", "one", context=ADA) is not None
        assert await renew(ledger, "one") == "stopped"
        assert await renew(ledger, "one") == "stopped"

    async def test_a_turn_whose_lease_another_process_ended_is_superseded(
        self, ledger: TurnLedger, other: TurnLedger
    ) -> None:
        """A reader assumed that the turn had crashed, and recovered it."""
        await take(ledger, "one")
        assert await other.end_lease("thr_1", "one", context=ADA)
        assert await renew(ledger, "one") == "superseded"

    async def test_a_lease_that_was_never_taken_cannot_be_renewed_or_ended(self, ledger: TurnLedger) -> None:
        assert await renew(ledger, "one") == "superseded"
        assert await ledger.end_lease("thr_1", "one", context=ADA) is False

    async def test_only_the_holder_ends_a_lease(self, ledger: TurnLedger, other: TurnLedger) -> None:
        await take(ledger, "one")
        await take(other, "two")
        assert await ledger.end_lease("thr_1", "one", context=ADA) is False
        assert await other.end_lease("thr_1", "two", context=ADA) is True
        assert await other.end_lease("thr_1", "two", context=ADA) is True
        assert (await lease_row(ledger)).ended

    async def test_stopping_a_thread_stops_its_running_turn(self, ledger: TurnLedger, clock: Clock) -> None:
        await take(ledger, "one")
        stopped = TurnRow("one", clock.now_ms + LEASE_MS, stop=True, ended=False, last_order=0)
        assert without_order(await ledger.ask_to_stop("thr_1", None, context=ADA)) == stopped
        assert without_order(await ledger.ask_to_stop("thr_1", None, context=ADA)) == stopped
        assert without_order(await lease_row(ledger)) == stopped

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
        assert not (await lease_row(ledger)).stop

    async def test_another_users_lease_looks_missing(self, ledger: TurnLedger) -> None:
        await take(ledger, "one")
        assert await ledger.load_turn("thr_1", context=BOB) is None
        assert await ledger.ask_to_stop("thr_1", "one", context=BOB) is None
        assert await ledger.renew_lease("thr_1", "one", lease_ms=LEASE_MS, context=BOB) == "superseded"
        assert await ledger.end_lease("thr_1", "one", context=BOB) is False
        assert await ledger.take_lease("thr_1", "two", lease_ms=LEASE_MS, context=BOB) == LeaseTaken(None)
        assert await renew(ledger, "one") == "held"

    async def test_leases_are_separate_per_thread(self, ledger: TurnLedger) -> None:
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

    async def test_a_thread_deleted_by_another_process_has_no_lease_and_no_events(self, processes: Processes) -> None:
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
    async def test_a_lease_passes_on_the_threads_clock(self, processes: Processes, handed_over: str) -> None:
        """Otherwise clocks that differ by a minute would put the answer before its question."""
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

    async def test_the_clock_in_a_lease_survives_a_turn_that_wrote_nothing(self, processes: Processes) -> None:
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
