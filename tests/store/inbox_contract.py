"""Contract tests for the operators' inbox and for who has a thread, on any store (`processes` is a fixture)."""

from dataclasses import replace
from typing import Any

import pytest
from chatkit.store import NotFoundError

from lambda_src.context import RequestContext, Turn
from lambda_src.dev.store_contract.samples import item_ids, message_of, thread_of
from lambda_src.errors import ThreadHeldError
from lambda_src.store.inbox import CLOSED_TTL_S, OPEN_TTL_S, Inbox, Matter
from lambda_src.store.ports import Hold, TurnLedger
from tests.store.ledger_case import ADA, BOB, LEASE_MS, LedgerCase, Processes

WEEK_MS = 7 * 86_400_000
AnyStore = Any


def handoff(now_ns: int, *, operator: str = "", context: RequestContext = ADA, thread_id: str = "thr_1") -> Matter:
    """A request for a person."""
    return Matter("handoff", "", context.user.id, thread_id, now_ns, operator=operator)


async def take(ledger: TurnLedger, turn_id: str, context: RequestContext = ADA) -> None:
    """Take the lease of a thread."""
    await ledger.take_lease("thr_1", turn_id, lease_ms=LEASE_MS, context=context)


async def hold_of(ledger: TurnLedger, context: RequestContext = ADA) -> Hold | None:
    """Who has the thread."""
    row = await ledger.load_turn("thr_1", context=context)
    return None if row is None else row.hold


class InboxContract(LedgerCase):
    """inbox.Inbox on the rows of a store, with two processes."""

    @pytest.fixture
    def store(self, processes: Processes) -> AnyStore:
        """The store of one process."""
        return processes.store()

    @pytest.fixture
    def inbox(self, store: AnyStore) -> Inbox:
        """Its inbox."""
        inbox: Inbox = store.ledger.inbox()
        return inbox

    async def held(self, store: AnyStore, inbox: Inbox, now_ns: int, *, operator: str = "") -> Hold:
        """Give ada's thread to an operator, or let it wait."""
        await store.save_thread(thread_of("thr_1"), ADA)
        await take(store.ledger, "one")
        matter = handoff(now_ns, operator=operator)
        assert await inbox.hold(matter, turn_id="one", ends_turn=True, context=ADA) == "held"
        hold = await hold_of(store.ledger)
        assert hold is not None
        return hold

    async def test_matters_are_listed_by_kind_and_time(self, inbox: Inbox, processes: Processes) -> None:
        now_ns = processes.clock.now_ns
        later = Matter("thumbs-down", "", "ada", "thr_1", now_ns + 2, "msg_2")
        first = Matter("thumbs-down", "", "bob", "thr_2", now_ns + 1, "msg_1")
        failed = Matter("failed-turn", "", "ada", "thr_1", now_ns + 3, "TimeoutError")
        for matter in (later, failed, first):
            assert await inbox.open_matter(matter)
        listed = (await inbox.page("")).matters
        assert [(matter.kind, matter.user_id, matter.cause) for matter in listed] == [
            ("failed-turn", "ada", "TimeoutError"),
            ("thumbs-down", "bob", "msg_1"),
            ("thumbs-down", "ada", "msg_2"),
        ]
        assert [matter.user_id for matter in (await inbox.page("", kind="thumbs-down")).matters] == ["bob", "ada"]
        assert (await inbox.page("", state="taken")).matters == []
        assert (await inbox.page("sales")).matters == []
        after = await inbox.page("", kind="thumbs-down", after=first.id)
        assert [matter.user_id for matter in after.matters] == ["ada"]

    async def test_an_item_that_is_rated_twice_is_one_matter(self, inbox: Inbox, processes: Processes) -> None:
        now_ns = processes.clock.now_ns
        assert await inbox.open_matter(Matter("thumbs-down", "", "ada", "thr_1", now_ns, "msg_1"))
        assert not await inbox.open_matter(Matter("thumbs-down", "", "ada", "thr_1", now_ns + 10**9, "msg_1"))
        assert await inbox.open_matter(Matter("thumbs-down", "", "ada", "thr_1", now_ns + 10**9, "msg_2"))

    async def test_a_cause_of_failed_turns_is_one_matter_in_five_minutes(
        self, inbox: Inbox, processes: Processes
    ) -> None:
        start_ns = processes.clock.now_ns - processes.clock.now_ns % (300 * 10**9)
        opened = [
            await inbox.open_matter(Matter("failed-turn", "", user, "thr_1", start_ns + after_s * 10**9, "Timeout"))
            for user, after_s in (("ada", 0), ("bob", 299), ("bob", 300))
        ]
        assert opened == [True, False, True]

    async def test_a_held_thread_refuses_every_turn(
        self, store: AnyStore, inbox: Inbox, other: TurnLedger, processes: Processes
    ) -> None:
        await self.held(store, inbox, processes.clock.now_ns)
        for ledger in (store.ledger, other):
            with pytest.raises(ThreadHeldError):
                await take(ledger, "two")
        processes.clock.later(ms=2 * WEEK_MS)
        with pytest.raises(ThreadHeldError):
            await take(other, "three")

    async def test_only_the_turn_with_the_lease_can_hand_its_thread_over(
        self, store: AnyStore, inbox: Inbox, other: TurnLedger, processes: Processes
    ) -> None:
        await take(store.ledger, "one")
        await take(other, "two")
        matter = handoff(processes.clock.now_ns)
        assert await inbox.hold(matter, turn_id="one", ends_turn=True, context=ADA) == "lost"
        assert await hold_of(other) is None
        assert (await inbox.page("")).matters == []

    async def test_a_turn_that_asked_for_a_person_ends_and_the_hold_stays(
        self, store: AnyStore, inbox: Inbox, processes: Processes
    ) -> None:
        await take(store.ledger, "one")
        matter = handoff(processes.clock.now_ns)
        assert await inbox.hold(matter, turn_id="one", ends_turn=False, context=ADA) == "held"
        renewed = await store.ledger.renew_lease("thr_1", "one", lease_ms=LEASE_MS, context=ADA)
        assert renewed == "held"
        hold = await hold_of(store.ledger)
        assert hold is not None
        assert not await inbox.pass_on("thr_1", hold, operator="olga", context=ADA), "the turn still writes"
        assert await store.ledger.end_lease("thr_1", "one", context=ADA)
        processes.clock.later(ms=2 * WEEK_MS)
        assert await inbox.pass_on("thr_1", hold, operator="olga", context=ADA)

    async def test_one_of_two_operators_gets_the_thread(
        self, store: AnyStore, inbox: Inbox, processes: Processes
    ) -> None:
        hold = await self.held(store, inbox, processes.clock.now_ns)
        second: Inbox = processes.store().ledger.inbox()
        assert await inbox.pass_on("thr_1", hold, operator="olga", context=ADA)
        assert not await second.pass_on("thr_1", hold, operator="otto", context=ADA)
        [matter] = (await second.page("")).matters
        assert (matter.state, matter.operator) == ("taken", "olga")

    async def test_a_released_thread_takes_turns_again_and_its_matter_is_closed(
        self, store: AnyStore, inbox: Inbox, other: TurnLedger, processes: Processes
    ) -> None:
        hold = await self.held(store, inbox, processes.clock.now_ns, operator="olga")
        assert await inbox.release("thr_1", hold, operator="olga", context=ADA)
        assert not await inbox.release("thr_1", hold, operator="olga", context=ADA)
        await take(other, "two")
        [matter] = (await inbox.page("")).matters
        assert (matter.state, matter.operator) == ("closed", "olga")

    async def test_what_a_person_wrote_comes_before_the_next_turn(
        self, store: AnyStore, inbox: Inbox, processes: Processes
    ) -> None:
        hold = await self.held(store, inbox, processes.clock.now_ns, operator="olga")
        ahead = processes.store(ahead_s=60)
        await ahead.add_thread_item("thr_1", message_of("msg_person", thread_id="thr_1"), ADA)
        await ahead.ledger.inbox().release("thr_1", hold, operator="olga", context=ADA)
        await take(store.ledger, "two")
        await store.add_thread_item("thr_1", message_of("msg_next", thread_id="thr_1"), replace(ADA, turn=Turn("two")))
        assert await item_ids(store, "thr_1", ADA) == ["msg_person", "msg_next"]

    async def test_a_deleted_thread_cannot_be_held(self, store: AnyStore, inbox: Inbox, processes: Processes) -> None:
        await store.save_thread(thread_of("thr_1"), ADA)
        await take(store.ledger, "one")
        await store.delete_thread("thr_1", ADA)
        with pytest.raises(NotFoundError):
            await inbox.hold(handoff(processes.clock.now_ns), turn_id="one", ends_turn=True, context=ADA)

    async def test_deleting_a_thread_removes_its_matters(
        self, store: AnyStore, inbox: Inbox, processes: Processes
    ) -> None:
        hold = await self.held(store, inbox, processes.clock.now_ns, operator="olga")
        await inbox.open_matter(Matter("thumbs-down", "", "ada", "thr_1", processes.clock.now_ns, "msg_1"))
        await inbox.open_matter(Matter("thumbs-down", "", "bob", "thr_9", processes.clock.now_ns, "msg_1"))
        await store.delete_thread("thr_1", ADA)
        await store.sweep_thread("thr_1", ADA, stop=lambda: False)
        assert [matter.user_id for matter in (await inbox.page("")).matters] == ["bob"]
        assert not await inbox.pass_on("thr_1", hold, operator="olga", context=ADA)
        assert not await inbox.release("thr_1", hold, operator="olga", context=ADA)
        assert [matter.user_id for matter in (await inbox.page("")).matters] == ["bob"]

    async def test_erasing_a_user_removes_their_matters(
        self, store: AnyStore, inbox: Inbox, processes: Processes
    ) -> None:
        await self.held(store, inbox, processes.clock.now_ns)
        await inbox.open_matter(Matter("thumbs-down", "", "ada", "thr_expired", processes.clock.now_ns, "msg_1"))
        async for _ in store.erase_user(ADA):
            pass
        assert (await inbox.page("")).matters == []

    async def test_account_linking_moves_the_hold_and_the_matters(
        self, store: AnyStore, inbox: Inbox, processes: Processes
    ) -> None:
        hold = await self.held(store, inbox, processes.clock.now_ns, operator="olga")

        async def copy_file(_: str) -> None:
            """No files."""

        await store.claim_guest("ada", BOB)
        assert await store.hand_over("thr_1", "ada", BOB, copy_file=copy_file)
        await store.sweep(stop=lambda: False)
        moved = await hold_of(store.ledger, BOB)
        assert moved == hold
        assert [matter.user_id for matter in (await inbox.page("")).matters] == ["bob"]
        with pytest.raises(ThreadHeldError):
            await take(store.ledger, "two", BOB)
        assert await inbox.release("thr_1", hold, operator="olga", context=BOB)
        await take(store.ledger, "two", BOB)

    async def test_an_operator_without_the_role_gives_the_thread_back(
        self, store: AnyStore, inbox: Inbox, processes: Processes
    ) -> None:
        hold = await self.held(store, inbox, processes.clock.now_ns, operator="olga")
        assert await inbox.pass_on("thr_1", hold, operator="", context=ADA)
        [matter] = (await inbox.page("", state="open")).matters
        assert matter.operator == ""
        assert await hold_of(store.ledger) == Hold("", processes.clock.now_ms, hold.matter)

    async def test_matters_expire(self, inbox: Inbox, processes: Processes) -> None:
        matter = Matter("thumbs-down", "", "ada", "thr_1", processes.clock.now_ns, "msg_1")
        await inbox.open_matter(matter)
        processes.clock.later(ms=OPEN_TTL_S * 1000 - 1000)
        await inbox.close_matter(matter, operator="olga")
        processes.clock.later(ms=CLOSED_TTL_S * 1000 - 1000)
        assert [matter.state for matter in (await inbox.page("")).matters] == ["closed"]
        processes.clock.later(ms=2000)
        assert (await inbox.page("")).matters == []

    async def test_a_matter_is_due_until_its_event_is_accepted(self, inbox: Inbox, processes: Processes) -> None:
        clock = processes.clock
        matter = Matter("handoff", "", "ada", "thr_1", clock.now_ns)
        await inbox.open_matter(matter)
        [due] = await inbox.due("", now_ms=clock.now_ms)
        assert due.accepted == frozenset()
        await inbox.settle(due, accepted="handoff.requested", due_ms=clock.now_ms + 1000)
        assert await inbox.due("", now_ms=clock.now_ms) == []
        [due] = await inbox.due("", now_ms=clock.now_ms + 1000)
        assert due.accepted == {"handoff.requested"}
        await inbox.settle(due, accepted="handoff.unanswered", due_ms=None)
        assert await inbox.due("", now_ms=clock.now_ms + 10**9) == []
        [stored] = (await inbox.page("")).matters
        assert stored.accepted == {"handoff.requested", "handoff.unanswered"}

    async def test_a_matter_that_has_changed_since_it_was_read_is_due_as_before(
        self, store: AnyStore, inbox: Inbox, processes: Processes
    ) -> None:
        clock = processes.clock
        hold = await self.held(store, inbox, clock.now_ns)
        [read] = await inbox.due("", now_ms=clock.now_ms)
        clock.later(ms=1000)
        assert await inbox.pass_on("thr_1", hold, operator="olga", until_ms=clock.now_ms + 60_000, context=ADA)
        await inbox.settle(read, accepted="handoff.requested", due_ms=None)
        [taken] = await inbox.due("", now_ms=clock.now_ms)
        assert taken.accepted == {"handoff.requested"}, "what was delivered is recorded in any case"
        assert (taken.operator, taken.due_ms, taken.until_ms) == ("olga", clock.now_ms, clock.now_ms + 60_000)
        await inbox.settle(taken, accepted=None, due_ms=clock.now_ms + 60_000)
        assert await inbox.due("", now_ms=clock.now_ms) == []

    async def test_a_matter_that_has_changed_since_it_was_read_is_not_closed(
        self, store: AnyStore, inbox: Inbox, processes: Processes
    ) -> None:
        hold = await self.held(store, inbox, processes.clock.now_ns)
        [read] = (await inbox.page("")).matters
        assert await inbox.pass_on("thr_1", hold, operator="olga", context=ADA)
        await inbox.close_matter(read, operator="otto")
        [matter] = (await inbox.page("")).matters
        assert (matter.state, matter.operator) == ("taken", "olga")

    async def test_a_hold_that_was_extended_since_it_was_read_is_not_taken_back(
        self, store: AnyStore, inbox: Inbox, processes: Processes
    ) -> None:
        clock = processes.clock
        hold = await self.held(store, inbox, clock.now_ns, operator="olga")
        [read] = (await inbox.page("")).matters
        clock.later(ms=1)
        assert await inbox.pass_on("thr_1", hold, operator="olga", until_ms=clock.now_ms + 60_000, context=ADA)
        assert not await inbox.pass_on("thr_1", hold, operator="", seen=read, context=ADA)
        [extended] = (await inbox.page("")).matters
        assert (extended.operator, extended.until_ms) == ("olga", clock.now_ms + 60_000)
        assert await inbox.pass_on("thr_1", hold, operator="", seen=extended, context=ADA)

    async def test_a_message_of_the_operator_leaves_the_time_at_which_the_clock_looks(
        self, store: AnyStore, inbox: Inbox, processes: Processes
    ) -> None:
        clock = processes.clock
        hold = await self.held(store, inbox, clock.now_ns, operator="olga")
        [matter] = await inbox.due("", now_ms=clock.now_ms)
        await inbox.settle(matter, accepted=None, due_ms=clock.now_ms + 60_000)
        assert await inbox.pass_on("thr_1", hold, operator="olga", context=ADA)
        assert await inbox.due("", now_ms=clock.now_ms) == []
        assert [due.operator for due in await inbox.due("", now_ms=clock.now_ms + 60_000)] == ["olga"]

    @pytest.mark.parametrize("operator", ["", "olga"])
    async def test_a_hold_and_its_matter_last_until_they_are_released(
        self, store: AnyStore, inbox: Inbox, other: TurnLedger, processes: Processes, operator: str
    ) -> None:
        hold = await self.held(store, inbox, processes.clock.now_ns, operator=operator)
        processes.clock.later(ms=4 * OPEN_TTL_S * 1000)
        with pytest.raises(ThreadHeldError):
            await take(other, "two")
        [matter] = (await inbox.page("")).matters
        assert (matter.id, matter.state) == (hold.matter, "taken" if operator else "open")
        assert await inbox.release("thr_1", hold, operator="olga", context=ADA)
        processes.clock.later(ms=CLOSED_TTL_S * 1000 + 1000)
        assert (await inbox.page("")).matters == []

    async def test_a_thread_of_another_store_is_handed_over_with_its_hold_and_its_matters(
        self, store: AnyStore, inbox: Inbox, other: TurnLedger, processes: Processes
    ) -> None:
        hold = await self.held(store, inbox, processes.clock.now_ns, operator="olga")
        await inbox.open_matter(Matter("thumbs-down", "", "ada", "thr_1", processes.clock.now_ns, "msg_1"))
        for _ in range(2):  # it can be repeated
            assert await other.hand_over_turns("thr_1", "ada", context=BOB)
        assert await hold_of(store.ledger, BOB) == hold
        assert [(matter.kind, matter.user_id) for matter in (await inbox.page("")).matters] == [
            ("handoff", "bob"),
            ("thumbs-down", "bob"),
        ]
        assert len(await inbox.matters_of("thr_1", context=BOB)) == 2
        with pytest.raises(NotFoundError):
            await take(store.ledger, "two")
        with pytest.raises(ThreadHeldError):
            await take(store.ledger, "two", BOB)
        assert await inbox.release("thr_1", hold, operator="olga", context=BOB)
        await take(store.ledger, "two", BOB)

    async def test_a_thread_of_another_store_is_not_handed_over_during_a_turn(
        self, store: AnyStore, inbox: Inbox, other: TurnLedger
    ) -> None:
        await take(store.ledger, "one")
        assert not await other.hand_over_turns("thr_1", "ada", context=BOB)
        assert await store.ledger.renew_lease("thr_1", "one", lease_ms=LEASE_MS, context=ADA) == "held"

    async def test_what_is_gone_is_not_written_again(self, inbox: Inbox, processes: Processes) -> None:
        matter = Matter("thumbs-down", "", "ada", "thr_1", processes.clock.now_ns, "msg_1")
        await inbox.settle(matter, accepted="feedback.negative", due_ms=None)
        await inbox.close_matter(matter, operator="olga")
        assert (await inbox.page("")).matters == []

    async def test_the_matters_of_a_thread(self, store: AnyStore, inbox: Inbox, processes: Processes) -> None:
        await self.held(store, inbox, processes.clock.now_ns)
        await inbox.open_matter(Matter("thumbs-down", "", "ada", "thr_1", processes.clock.now_ns, "msg_1"))
        await inbox.open_matter(Matter("thumbs-down", "", "bob", "thr_1", processes.clock.now_ns, "msg_1"))
        matters = await inbox.matters_of("thr_1", context=ADA)
        assert [(matter.kind, matter.user_id) for matter in matters] == [("handoff", "ada"), ("thumbs-down", "ada")]
        assert await inbox.matters_of("thr_2", context=replace(ADA)) == []
