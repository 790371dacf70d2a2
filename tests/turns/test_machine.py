"""Turn state machine test (hypothesis): invariants of turns in two processes with slow connections to one store.

Checks the promises of docs/explanation/turns.md after every step and at the end. CHAT_STORE_MACHINES sets the number of
machines; without it, every run uses the same ones.
"""

import asyncio
import json
import os
from collections import Counter

from chatkit.types import AssistantMessageItem, Page, ThreadItem, UserMessageItem
from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant

from lambda_src.store.ports import JournalBatch
from lambda_src.turns.journal import UNRENEWED_S
from lambda_src.turns.lease import LEASE_MS, RENEW_S
from tests.store.model import MACHINES
from tests.turns.machine import Attempt, Editing, Regenerating
from tests.turns.rules import ANN, TurnRules
from tests.turns.turn_fixture import Reader

STEPS = 30
SLACK = 8  # network crossings besides a renewal: of a renewal in progress, its own, and of the closing writes


class TurnMachine(TurnRules):
    """The invariants."""

    def items(self, thread_id: str) -> list[ThreadItem]:
        page: Page[ThreadItem] = self.run(self.rows.load_thread_items(thread_id, None, 1000, "asc", ANN))
        return page.data

    @invariant()
    def every_acknowledged_message_is_stored_once_and_in_order(self) -> None:
        for number in range(1, self.threads + 1):
            if (thread_id := f"thr_{number}") in self.deleted:
                continue
            ids = [item.id for item in self.items(thread_id)]
            assert max(Counter(ids).values(), default=1) == 1, ids
            acknowledged = [
                attempt
                for attempt in self.attempts
                if attempt.is_own and not attempt.regenerates and attempt.thread_id == thread_id
                if attempt.model.user_item_id in ids or not self.may_be_removed(attempt)
            ]
            places = [ids.index(attempt.model.user_item_id) for attempt in acknowledged]
            for earlier, place in zip(acknowledged, places, strict=True):
                for later, other in zip(acknowledged, places, strict=True):
                    first_s = min(attempt.sent_s for attempt in self.attempts if self.is_same_request(attempt, later))
                    followed = earlier.opened_s is not None and earlier.opened_s < first_s
                    assert place < other or not followed

    @staticmethod
    def is_same_request(attempt: Attempt, other: Attempt) -> bool:
        return attempt is other or (attempt.named is not None and attempt.named == other.named)

    def may_be_removed(self, attempt: Attempt) -> bool:
        """Whether a Regenerate may have removed a turn's items; it removes nothing of newer turns."""
        return any(
            isinstance(other.model, Regenerating)
            and {attempt.model.user_item_id, attempt.model.item_id} & set(other.model.removals)
            and (self.is_apart or attempt not in self.leases or self.leases.index(attempt) < self.leases.index(other))
            for other in self.attempts
        )

    @invariant()
    def an_edited_message_is_stored_once_with_the_text_of_one_of_its_turns(self) -> None:
        texts: dict[str, set[str]] = {}
        for attempt in self.attempts:
            if not attempt.regenerates or isinstance(attempt.model, Editing):
                texts.setdefault(attempt.model.user_item_id, set()).add(attempt.text)
        for thread_id in self.living:
            for item in self.items(thread_id):
                if isinstance(item, UserMessageItem):
                    assert "".join(part.text for part in item.content) in texts[item.id]

    @invariant()
    def a_named_request_stores_its_message_once(self) -> None:
        ids = {item.id for thread_id in self.living for item in self.items(thread_id)}
        for name in {attempt.named for attempt in self.attempts if attempt.named}:
            message_ids = {attempt.model.user_item_id for attempt in self.attempts if attempt.named == name}
            assert len(ids & message_ids) <= 1, name

    @invariant()
    def the_model_receives_nothing_newer_than_the_turns_own_message(self) -> None:
        owners = self.owners()
        for attempt in self.leases:
            if attempt.model.input_ids:
                assert attempt.model.input_ids[0] == attempt.model.user_item_id
                newer = [owners[item_id] for item_id in attempt.model.input_ids if item_id in owners]
                assert all(self.leases.index(owner) <= self.leases.index(attempt) for owner in newer), attempt.turn_id

    @invariant()
    def a_dead_turn_does_not_count_as_running_after_its_lease(self) -> None:
        assert self.wrongly_refused == []

    @invariant()
    def a_deleted_threads_events_are_deleted(self) -> None:
        for thread_id in self.deleted:
            assert self.run(self.rows.ledger.load_turn(thread_id, context=ANN)) is None
            for attempt in self.attempts:
                if (
                    attempt.thread_id == thread_id
                    and not attempt.model.is_running
                    and attempt.worker.connection.latency_s == 0
                ):
                    assert self.run(self.journal(thread_id, attempt.turn_id)) == []

    async def journal(self, thread_id: str, turn_id: str) -> list[JournalBatch]:
        return [batch async for batch in self.rows.ledger.read_journal(thread_id, turn_id, first=0, context=ANN)]

    @property
    def living(self) -> list[str]:
        return [f"thr_{number}" for number in range(1, self.threads + 1) if f"thr_{number}" not in self.deleted]

    @invariant()
    def a_turns_items_come_before_the_next_turns_items(self) -> None:
        """The order is that of the leases, however late a write arrives."""
        owners = self.owners()
        for thread_id in [] if self.is_apart else self.living:  # PostgreSQL uses the order of arrival
            ids = [item.id for item in self.items(thread_id)]
            turns = [self.leases.index(owners[item_id]) for item_id in ids if item_id in owners]
            assert turns == sorted(turns), (ids, turns)

    def owners(self) -> dict[str, Attempt]:
        """Map each message and answer to the turn that wrote it; notes have no owner."""
        owners: dict[str, Attempt] = {}
        for attempt in self.leases:
            owners.setdefault(attempt.model.item_id, attempt)
            if not attempt.regenerates:
                owners.setdefault(attempt.model.user_item_id, attempt)
        return owners

    @invariant()
    def a_stored_answer_is_a_prefix_of_the_models_words_and_finished_items_are_stored(self) -> None:
        spoken = {attempt.model.item_id: attempt.model.text for attempt in self.attempts}
        speakers = {attempt.model.item_id: attempt for attempt in self.attempts}
        stored: dict[str, str] = {}
        for number in range(1, self.threads + 1):
            for item in self.items(f"thr_{number}") if f"thr_{number}" not in self.deleted else []:
                if isinstance(item, AssistantMessageItem):
                    stored[item.id] = "".join(part.text for part in item.content)
                    assert spoken[item.id].startswith(stored[item.id])
        for reader in self.readers():
            for event in (json.loads(event[6:]) for event in reader.events if b"item.done" in event):
                item = event["item"]
                if item["type"] == "assistant_message" and item["thread_id"] not in self.deleted:
                    if item["id"] not in stored and self.may_be_removed(speakers[item["id"]]):
                        continue
                    assert stored[item["id"]] == "".join(part["text"] for part in item["content"])

    def readers(self) -> list[Reader]:
        return [attempt.reader for attempt in self.attempts if attempt.reader is not None] + [
            reader for _, reader in self.resumed
        ]

    @invariant()
    def no_request_attaches_to_a_dead_turn(self) -> None:
        owners = {attempt.turn_id: attempt for attempt in self.attempts if attempt.is_own}
        for attempt in self.attempts:
            if attempt.reader is not None and not attempt.is_own and not attempt.named:
                owner = owners.get(attempt.reader.stream.turn_id)
                died_s = owner.worker.died_s if owner is not None else None
                assert died_s is None or attempt.sent_s <= died_s + LEASE_MS / 1000 + self.skew_s + 0.01, (
                    attempt.turn_id
                )

    @invariant()
    def a_turn_that_must_end_ends_within_a_renewal(self) -> None:
        for attempt in self.speaking:
            for due_s in attempt.due:
                since_s = max(due_s, attempt.model.began_s or 0)
                assert self.time.now_s <= since_s + RENEW_S + SLACK * attempt.worker.connection.latency_s + 0.01, (
                    attempt.turn_id
                )

    def teardown(self) -> None:
        try:
            if self.threads:
                self.at_the_end()
        finally:
            self.run(self.cancel_all())
            self.loop.close()

    async def cancel_all(self) -> None:
        """Cancel all tasks repeatedly: a cancelled turn still closes and waits for the store."""
        while rest := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in rest:
                task.cancel()
            await self.time.settle()

    def at_the_end(self) -> None:
        for worker in self.workers:
            worker.connection.loses_next_message = False
        self.wait(LEASE_MS / 1000 + 5 + self.skew_s)
        for _ in range(2):
            for attempt in self.speaking:
                attempt.model.finish()
            self.wait(LEASE_MS / 1000 + 5 + self.skew_s)
        self.read(0)
        self.wait(2 + UNRENEWED_S)
        for attempt in self.attempts:
            if not attempt.worker.connection.is_cut:
                assert attempt.task.done(), "a request was not answered"
                assert attempt.reader is None or attempt.reader.over or attempt.is_left, "a stream did not end"
        assert all(reader.over for worker, reader in self.resumed if not worker.connection.is_cut)
        for task in self.others:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error
        self.only_the_last_second_may_be_lost()
        self.ask(0, "a last word", None, None)
        self.wait(0.2 + SLACK * 2 * self.workers[0].connection.latency_s)
        assert self.attempts[-1].model.is_running, "the thread must accept the next message at once"

    def only_the_last_second_may_be_lost(self) -> None:
        stored = {
            item.id: "".join(part.text for part in item.content)
            for item in self.items(self.thread_id)
            if isinstance(item, AssistantMessageItem)
        }
        for attempt in self.attempts:
            if attempt.thread_id != self.thread_id or self.may_be_removed(attempt):
                continue
            remaining = len(stored.get(attempt.model.item_id, ""))
            bound_s = (
                attempt.lost_s
                if attempt.lost_s is None
                else attempt.lost_s - RENEW_S - SLACK * attempt.worker.connection.latency_s
            )
            for spoken_s, word in attempt.model.spoken:
                remaining -= len(word)
                assert remaining >= 0 or (bound_s is not None and spoken_s >= bound_s), (
                    f"{attempt.turn_id} lost {word!r}"
                )


TestTurns = TurnMachine.TestCase
TestTurns.settings = settings(
    max_examples=3 * MACHINES,  # each takes 0.1 s
    stateful_step_count=STEPS,
    deadline=None,
    derandomize="CHAT_STORE_MACHINES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
