"""Contract of ports.NewThreads: a thread is stored with its message, its lease and its key, or not at all."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from chatkit.store import NotFoundError

from lambda_src.context import Registration, RequestContext, Turn
from lambda_src.dev.store_contract.samples import answer_of, item_ids, message_of, thread_ids, thread_of
from tests.store.ledger_case import ADA, BOB, LEASE_MS, LedgerCase, Processes

KEY, TURN, OTHER = "key-of-the-request", "turn-that-begins-it", "turn-of-someone-else"
BOUND_S = 900


def beginning() -> RequestContext:
    """Return the context of a turn of Ada's that starts a thread."""
    return replace(ADA, turn=Turn(TURN, registration=Registration(KEY, lease_ms=LEASE_MS, bound_s=BOUND_S)))


async def claim(store: Any, turn_id: str = TURN) -> None:
    """Claim the key of the request for a turn."""
    await store.ledger.claim_request(KEY, turn_id, body_hash=b"body", ttl_s=10, context=ADA)


async def begin(store: Any, *, thread_id: str = "thr_1", text: str = "hello") -> bool:
    """Start a thread of Ada's with the message msg_1."""
    message = message_of("msg_1", text, thread_id=thread_id)
    is_stored: bool = await store.begin_thread(thread_of(thread_id), message, beginning())
    return is_stored


async def _save(store: Any) -> None:
    await claim(store)
    await store.save_thread(thread_of(title="another"), ADA)


async def _delete(store: Any) -> None:
    await _save(store)
    await store.delete_thread("thr_1", ADA)


async def _lease(store: Any) -> None:
    await claim(store)
    await store.ledger.take_lease("thr_1", OTHER, lease_ms=LEASE_MS, context=ADA)


async def _message(store: Any) -> None:
    await claim(store)
    await store.add_thread_item("thr_1", message_of("msg_1", "another"), ADA)


async def _claim_for_another(store: Any) -> None:
    await claim(store, OTHER)


async def _nothing(_: Any) -> None:
    """Leave the key unclaimed."""


async def _stop(store: Any) -> None:
    await claim(store)
    await store.ledger.stop_request(KEY, TURN, turn_id=None, ttl_s=60, context=ADA)


OBSTACLES: dict[str, Callable[[Any], Awaitable[None]]] = {
    "the thread exists": _save,
    "the thread is deleted": _delete,
    "another turn has the lease": _lease,
    "the message exists": _message,
    "another turn has the key": _claim_for_another,
    "nobody has the key": _nothing,
    "a stop is noted": _stop,
}


async def everything(store: Any) -> list[object]:
    """Return what readers see of Ada's threads, of thr_1 and of the request."""
    thread = None
    if "thr_1" in await thread_ids(store, ADA):
        thread = await store.load_thread("thr_1", ADA)
    lease = await store.ledger.load_turn("thr_1", context=ADA)
    request = await store.ledger.load_request(KEY, context=ADA)
    return [thread, await item_ids(store, "thr_1", ADA), lease, request]


class NewThreadsContract(LedgerCase):
    """Subclass it with a fixture `processes` for other stores."""

    @pytest.fixture
    def store(self, processes: Processes) -> Any:
        """The store of one process."""
        return processes.store()

    async def test_a_thread_starts_with_its_message_its_lease_and_its_key(
        self, processes: Processes, store: Any
    ) -> None:
        await claim(store)
        assert await begin(store)
        other = processes.store()
        assert await other.load_thread("thr_1", ADA) == thread_of()
        assert await other.load_item("thr_1", "msg_1", ADA) == message_of("msg_1")
        lease = await other.ledger.load_turn("thr_1", context=ADA)
        assert (lease.turn_id, lease.expires_ms, lease.stop, lease.ended, lease.unrecovered) == (
            TURN, processes.clock.now_ms + LEASE_MS, False, False, (),
        )  # fmt: skip
        request = await other.ledger.load_request(KEY, context=ADA)
        assert (request.turn_id, request.thread_id, request.refusal, request.ended) == (TURN, "thr_1", None, False)

    async def test_its_key_is_kept_until_its_registration_expires(self, processes: Processes, store: Any) -> None:
        await claim(store)
        await begin(store)
        processes.clock.later(ms=BOUND_S * 1000 - 1)
        assert await store.ledger.load_request(KEY, context=ADA) is not None
        processes.clock.later(ms=1)
        assert await store.ledger.load_request(KEY, context=ADA) is None

    @pytest.mark.parametrize("obstacle", OBSTACLES)
    async def test_nothing_is_stored_if_there_is_an_obstacle(
        self, processes: Processes, store: Any, obstacle: str
    ) -> None:
        await OBSTACLES[obstacle](processes.store())
        before = await everything(store)
        assert not await begin(store)
        assert await everything(store) == before

    async def test_rows_of_another_user_are_no_obstacle(self, processes: Processes, store: Any) -> None:
        await processes.store().save_thread(thread_of(title="Bob's"), BOB)
        await claim(store)
        assert await begin(store)
        assert (await store.load_thread("thr_1", BOB)).title == "Bob's"
        assert await item_ids(store, "thr_1", BOB) == []

    async def test_its_turn_renews_and_ends_the_lease(self, store: Any) -> None:
        await claim(store)
        await begin(store)
        assert await store.ledger.renew_lease("thr_1", TURN, lease_ms=LEASE_MS, context=ADA) == "held"
        assert await store.ledger.end_lease("thr_1", TURN, context=ADA)

    async def test_a_stop_reaches_its_turn(self, processes: Processes, store: Any) -> None:
        await claim(store)
        await begin(store)
        other = processes.ledger()
        assert await other.ask_to_stop("thr_1", TURN, context=ADA) is not None
        assert await store.ledger.renew_lease("thr_1", TURN, lease_ms=LEASE_MS, context=ADA) == "stopped"

    async def test_later_writes_of_its_turn_come_after_the_message_and_before_the_next_turn(
        self, processes: Processes, store: Any
    ) -> None:
        await claim(store)
        await begin(store)
        other, next_turn = processes.store(ahead_s=-60), replace(ADA, turn=Turn(OTHER))
        await other.ledger.take_lease("thr_1", OTHER, lease_ms=LEASE_MS, context=next_turn)
        await other.add_thread_item("thr_1", message_of("msg_3"), next_turn)
        await store.add_thread_item("thr_1", answer_of("msg_2", "late"), beginning())
        assert await item_ids(store, "thr_1", ADA) == ["msg_1", "msg_2", "msg_3"]

    async def test_a_concurrent_rename_survives_the_saves_of_its_turn(self, processes: Processes, store: Any) -> None:
        await claim(store)
        thread = thread_of()
        assert await store.begin_thread(thread, message_of("msg_1"), beginning())
        other = processes.store()
        renamed = await other.load_thread("thr_1", ADA)
        renamed.title = "by hand"
        await other.save_thread(renamed, ADA)
        thread.title = "by the turn"
        await store.save_thread(thread, beginning())
        assert (await other.load_thread("thr_1", ADA)).title == thread.title == "by hand"

    async def test_a_thread_deleted_after_its_start_stays_deleted(self, processes: Processes, store: Any) -> None:
        await claim(store)
        await begin(store)
        await processes.store().delete_thread("thr_1", ADA)
        assert not await begin(store)
        assert await item_ids(store, "thr_1", ADA) == []
        with pytest.raises(NotFoundError):
            await store.load_thread("thr_1", ADA)
