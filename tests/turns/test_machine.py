"""Turns driven at random: two processes over one store, far enough from it that everything crosses everything.

After every step and, once time has passed, at the end: what docs/turns.md promises. CHAT_STORE_MACHINES says how many
machines a run drives; without it always the same ones.
"""

import asyncio
import json
import os
from collections import Counter

from chatkit.types import AssistantMessageItem, Page, ThreadItem
from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant

from lambda_src.store.ports import JournalBatch
from lambda_src.turns.journal import UNRENEWED_S
from lambda_src.turns.lease import LEASE_MS, RENEW_S
from tests.store.model import MACHINES
from tests.turns.machine import Ask, Regenerating
from tests.turns.rules import ANN, TurnRules
from tests.turns.turn_fixture import Reader

STEPS = 30
SLACK = 8  # crossings of the line beside a renewal: that of a renewal under way, its own, and the closing writes


class TurnMachine(TurnRules):
    """What holds."""

    def items(self, thread_id: str) -> list[ThreadItem]:
        page: Page[ThreadItem] = self.run(self.rows.load_thread_items(thread_id, None, 1000, "asc", ANN))
        return page.data

    @invariant()
    def every_acknowledged_message_is_there_once_and_in_order_and_nothing_is_doubled(self) -> None:
        for number in range(1, self.threads + 1):
            if (thread_id := f"thr_{number}") in self.deleted:
                continue
            ids = [item.id for item in self.items(thread_id)]
            assert max(Counter(ids).values(), default=1) == 1, ids
            acknowledged = [
                ask
                for ask in self.asks
                if ask.is_own and not ask.regenerates and ask.thread_id == thread_id
                if ask.model.user_item_id in ids or not self.may_be_removed(ask)
            ]
            places = [ids.index(ask.model.user_item_id) for ask in acknowledged]
            for earlier, place in zip(acknowledged, places, strict=True):
                for later, other in zip(acknowledged, places, strict=True):
                    first_s = min(ask.asked_s for ask in self.asks if self.is_same_request(ask, later))
                    followed = earlier.opened_s is not None and earlier.opened_s < first_s
                    assert place < other or not followed

    @staticmethod
    def is_same_request(one: Ask, other: Ask) -> bool:
        return one is other or (one.named is not None and one.named == other.named)

    def may_be_removed(self, ask: Ask) -> bool:
        """Whether a Regenerate may have removed what a turn wrote: it removes nothing of a newer turn."""
        return any(
            isinstance(other.model, Regenerating)
            and {ask.model.user_item_id, ask.model.item_id} & set(other.model.tried)
            and (self.is_apart or ask not in self.leases or self.leases.index(ask) < self.leases.index(other))
            for other in self.asks
        )

    @invariant()
    def a_named_request_stores_its_message_once(self) -> None:
        ids = {item.id for thread_id in self.living for item in self.items(thread_id)}
        for name in {ask.named for ask in self.asks if ask.named}:
            theirs = {ask.model.user_item_id for ask in self.asks if ask.named == name}
            assert len(ids & theirs) <= 1, name

    @invariant()
    def the_model_is_shown_nothing_newer_than_the_turns_own_message(self) -> None:
        owners = self.owners()
        for ask in self.leases:
            if ask.model.shown:
                assert ask.model.shown[0] == ask.model.user_item_id
                newer = [owners[one] for one in ask.model.shown if one in owners]
                assert all(self.leases.index(owner) <= self.leases.index(ask) for owner in newer), ask.turn_id

    @invariant()
    def a_dead_turn_holds_no_place_longer_than_its_lease(self) -> None:
        assert self.wrongly_refused == []

    @invariant()
    def a_deleted_threads_events_are_gone_everywhere(self) -> None:
        for thread_id in self.deleted:
            assert self.run(self.rows.ledger.load_turn(thread_id, context=ANN)) is None
            for ask in self.asks:
                if ask.thread_id == thread_id and not ask.model.is_running and ask.worker.line.latency_s == 0:
                    assert self.run(self.journal(thread_id, ask.turn_id)) == []

    async def journal(self, thread_id: str, turn_id: str) -> list[JournalBatch]:
        return [batch async for batch in self.rows.ledger.read_journal(thread_id, turn_id, first=0, context=ANN)]

    @property
    def living(self) -> list[str]:
        return [f"thr_{number}" for number in range(1, self.threads + 1) if f"thr_{number}" not in self.deleted]

    @invariant()
    def what_a_turn_wrote_stands_before_what_the_next_one_wrote(self) -> None:
        """However late it came to the store: whoever took the lease later comes later."""
        owners = self.owners()
        for thread_id in [] if self.is_apart else self.living:  # PostgreSQL keeps the order of arrival
            ids = [item.id for item in self.items(thread_id)]
            turns = [self.leases.index(owners[item_id]) for item_id in ids if item_id in owners]
            assert turns == sorted(turns), (ids, turns)

    def owners(self) -> dict[str, Ask]:
        """Which turn wrote a message or an answer; notes are nobody's."""
        owners: dict[str, Ask] = {}
        for ask in self.leases:
            owners.setdefault(ask.model.item_id, ask)
            if not ask.regenerates:
                owners.setdefault(ask.model.user_item_id, ask)
        return owners

    @invariant()
    def an_answer_is_what_the_model_said_and_what_was_shown_as_done_is_stored(self) -> None:
        said = {ask.model.item_id: ask.model.text for ask in self.asks}
        said_by = {ask.model.item_id: ask for ask in self.asks}
        stored: dict[str, str] = {}
        for number in range(1, self.threads + 1):
            for item in self.items(f"thr_{number}") if f"thr_{number}" not in self.deleted else []:
                if isinstance(item, AssistantMessageItem):
                    stored[item.id] = "".join(part.text for part in item.content)
                    assert said[item.id].startswith(stored[item.id])
        for reader in self.readers():
            for event in (json.loads(event[6:]) for event in reader.events if b"item.done" in event):
                item = event["item"]
                if item["type"] == "assistant_message" and item["thread_id"] not in self.deleted:
                    if item["id"] not in stored and self.may_be_removed(said_by[item["id"]]):
                        continue
                    assert stored[item["id"]] == "".join(part["text"] for part in item["content"])

    def readers(self) -> list[Reader]:
        return [ask.reader for ask in self.asks if ask.reader is not None] + [reader for _, reader in self.resumed]

    @invariant()
    def nobody_is_attached_to_the_dead(self) -> None:
        owners = {ask.turn_id: ask for ask in self.asks if ask.is_own}
        for ask in self.asks:
            if ask.reader is not None and not ask.is_own and not ask.named:
                owner = owners.get(ask.reader.stream.turn_id)
                died_s = owner.worker.died_s if owner is not None else None
                assert died_s is None or ask.asked_s <= died_s + LEASE_MS / 1000 + self.skew_s + 0.01, ask.turn_id

    @invariant()
    def whoever_is_to_end_ends_within_a_renewal(self) -> None:
        for ask in self.speaking:
            for due_s in ask.due:
                since_s = max(due_s, ask.model.began_s or 0)
                assert self.time.now_s <= since_s + RENEW_S + SLACK * ask.worker.line.latency_s + 0.01, ask.turn_id

    def teardown(self) -> None:
        try:
            if self.threads:
                self.at_the_end()
        finally:
            self.run(self.cancelled())
            self.loop.close()

    async def cancelled(self) -> None:
        """A turn that is cancelled still closes, and waits for the store: so more than once."""
        while rest := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in rest:
                task.cancel()
            await self.time.rest()

    def at_the_end(self) -> None:
        for worker in self.workers:
            worker.line.loses_next_message = False
        self.wait(LEASE_MS / 1000 + 5 + self.skew_s)
        for _ in range(2):
            for ask in self.speaking:
                ask.model.finish()
            self.wait(LEASE_MS / 1000 + 5 + self.skew_s)
        self.read(0)
        self.wait(2 + UNRENEWED_S)
        for ask in self.asks:
            if not ask.worker.line.is_cut:
                assert ask.task.done(), "every request is answered"
                assert ask.reader is None or ask.reader.over or ask.is_left, "every stream ends"
        assert all(reader.over for worker, reader in self.resumed if not worker.line.is_cut)
        for task in self.others:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error
        self.nothing_is_lost_but_the_last_second()
        self.ask(0, "a last word", None, None)
        self.wait(0.2 + SLACK * 2 * self.workers[0].line.latency_s)
        assert self.asks[-1].model.is_running, "the thread takes the next message at once"

    def nothing_is_lost_but_the_last_second(self) -> None:
        stored = {
            item.id: "".join(part.text for part in item.content)
            for item in self.items(self.thread_id)
            if isinstance(item, AssistantMessageItem)
        }
        for ask in self.asks:
            if ask.thread_id != self.thread_id or self.may_be_removed(ask):
                continue
            kept = len(stored.get(ask.model.item_id, ""))
            bound_s = ask.lost_s if ask.lost_s is None else ask.lost_s - RENEW_S - SLACK * ask.worker.line.latency_s
            for said_s, word in ask.model.said:
                kept -= len(word)
                assert kept >= 0 or (bound_s is not None and said_s >= bound_s), f"{ask.turn_id} lost {word!r}"


TestTurns = TurnMachine.TestCase
TestTurns.settings = settings(
    max_examples=3 * MACHINES,  # one costs a tenth of a second
    stateful_step_count=STEPS,
    deadline=None,
    derandomize="CHAT_STORE_MACHINES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
