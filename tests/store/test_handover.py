"""A guest's threads are handed over to a user: the contract on every engine, and kills at any request."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from lambda_src.dev.store_contract.samples import thread_ids, thread_of
from lambda_src.errors import ConflictError, ThreadHeldError
from lambda_src.store import keys
from lambda_src.store.bounds import LATE_WRITES_S
from lambda_src.store.dynamodb import DynamoDBStore
from lambda_src.store.inbox import Matter
from lambda_src.store.memory.store import MemoryStore
from lambda_src.store.ports import Hold
from lambda_src.store.postgres import PostgresStore
from tests.store.dying import KilledError, dying_after
from tests.store.handover_contract import (
    ANN,
    GUEST,
    Files,
    HandoverContract,
    TurnsAndHandoverContract,
    claims,
    fill_guest,
    hand_over_all,
    records_of,
)
from tests.store.local import START, Local
from tests.store.postgres import emptied, sessions_of


class TestMemory(HandoverContract, TurnsAndHandoverContract):
    """MemoryStore."""

    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()


class TestStrictEngine(HandoverContract, TurnsAndHandoverContract):
    """DynamoDBStore on the strict engine."""

    @pytest.fixture
    def store(self) -> DynamoDBStore:
        return Local().store()


class TestMoto(HandoverContract, TurnsAndHandoverContract):
    """DynamoDBStore on moto."""

    @pytest.fixture
    def store(self, dynamodb_store: DynamoDBStore) -> DynamoDBStore:
        return dynamodb_store


class TestPostgres(HandoverContract):
    """PostgresStore."""

    @pytest.fixture
    async def store(self, postgres_url: str) -> AsyncIterator[PostgresStore]:
        async with emptied(postgres_url) as engine:
            yield PostgresStore(sessions_of(engine))

    @pytest.mark.parametrize("on_table", [False, True], ids=["turns in memory", "turns on the table"])
    async def test_a_thread_that_a_person_has_stays_with_that_person(
        self, postgres_url: str, *, on_table: bool
    ) -> None:
        async with emptied(postgres_url) as engine:
            ledger: Any = Local().store().ledger if on_table else MemoryStore().ledger
            store = PostgresStore(sessions_of(engine), ledger=ledger)
            await fill_guest(store)
            hold = await held_by_olga(ledger)
            assert await store.hand_over("thr_1", "guest", ANN, copy_file=Files())
            assert (await thread_ids(store, ANN), await thread_ids(store, GUEST)) == (["thr_1"], ["thr_2"])
            row = await ledger.load_turn("thr_1", context=ANN)
            assert row.hold == hold
            [matter] = (await ledger.inbox().page("")).matters
            assert (matter.user_id, matter.state, matter.is_guest) == ("ann", "taken", False)
            with pytest.raises(ThreadHeldError):
                await ledger.take_lease("thr_1", "two", lease_ms=1_000, context=ANN)
            assert await store.hand_over("thr_1", "guest", ANN, copy_file=Files()), "it can be repeated"
            assert await ledger.inbox().release("thr_1", hold, operator="olga", context=ANN)
            await ledger.take_lease("thr_1", "two", lease_ms=1_000, context=ANN)

    async def test_a_running_turn_keeps_the_thread_with_the_guest(self, postgres_url: str) -> None:
        async with emptied(postgres_url) as engine:
            ledger = MemoryStore().ledger
            store = PostgresStore(sessions_of(engine), ledger=ledger)
            await fill_guest(store)
            await ledger.take_lease("thr_1", "one", lease_ms=1_000, context=GUEST)
            assert not await store.hand_over("thr_1", "guest", ANN, copy_file=Files())
            assert await thread_ids(store, ANN) == []

    async def test_a_thread_whose_id_the_user_has_stays_with_its_hold(self, postgres_url: str) -> None:
        async with emptied(postgres_url) as engine:
            ledger = MemoryStore().ledger
            store = PostgresStore(sessions_of(engine), ledger=ledger)
            await fill_guest(store)
            await store.save_thread(thread_of("thr_1", title="ann's own"), ANN)
            hold = await held_by_olga(ledger)
            with pytest.raises(ConflictError):
                await store.hand_over("thr_1", "guest", ANN, copy_file=Files())
            row = await ledger.load_turn("thr_1", context=GUEST)
            assert row is not None
            assert row.hold == hold

    async def test_a_thread_deleted_during_the_handover_leaves_no_hold(self, postgres_url: str) -> None:
        async with emptied(postgres_url) as engine:
            ledger = MemoryStore().ledger
            store = PostgresStore(sessions_of(engine), ledger=ledger)
            await fill_guest(store)
            await held_by_olga(ledger)

            class Deleting(Files):
                async def __call__(self, attachment_id: str) -> None:
                    await store.delete_thread("thr_1", GUEST)

            assert await store.hand_over("thr_1", "guest", ANN, copy_file=Deleting())
            assert await ledger.load_turn("thr_1", context=ANN) is None
            assert (await ledger.inbox().page("")).matters == []

    async def test_a_handover_that_is_killed_at_any_request_keeps_the_hold(self, postgres_url: str) -> None:
        deaths, died = 0, True
        while died:
            async with emptied(postgres_url) as engine:
                local = Local()
                store = PostgresStore(sessions_of(engine), ledger=local.store().ledger)
                await fill_guest(store)
                hold = await held_by_olga(local.store().ledger)
                dying = PostgresStore(sessions_of(engine), ledger=dying_after(local, deaths).store().ledger)
                died = False
                try:
                    await dying.hand_over("thr_1", "guest", ANN, copy_file=Files())
                except KilledError:
                    died = True
                assert await store.hand_over("thr_1", "guest", ANN, copy_file=Files())
                row = await local.store().ledger.load_turn("thr_1", context=ANN)
                assert row is not None
                assert row.hold == hold, deaths
                [matter] = (await local.store().ledger.inbox().page("")).matters
                assert (matter.user_id, matter.state) == ("ann", "taken")
            deaths += 1
        assert deaths > 7


async def held_by_olga(ledger: Any) -> Hold:
    """Give the guest's first thread to an operator."""
    await ledger.take_lease("thr_1", "one", lease_ms=1_000, context=GUEST)
    matter = Matter("handoff", "", "guest", "thr_1", START, operator="olga", is_guest=True)
    assert await ledger.inbox().hold(matter, turn_id="one", ends_turn=True, context=GUEST) == "held"
    row = await ledger.load_turn("thr_1", context=GUEST)
    hold: Hold = row.hold
    return hold


async def populated() -> tuple[Local, list[Any]]:
    """Return two threads of a guest with large items, and the records that the user should have in the end."""
    local = Local()
    await fill_guest(local.store(), large=True)
    expected = [record for record in await records_of(local.store(), GUEST) if record["id"] != "atc_free"]
    return local, expected


async def finish_sweeps(local: Local) -> None:
    """Run both passes of a sweep."""
    await local.store().sweep(stop=lambda: False)
    local.later(LATE_WRITES_S)
    await local.store().sweep(stop=lambda: False)


def traces(local: Local) -> list[tuple[str, str]]:
    """Return the guest's remaining rows, except for the claim and the file without a thread."""
    ignored = {keys.CLAIMED, keys.attachment_sort("atc_free")}
    return [key for key in local.engine.rows if key[0].startswith("USER#guest") and key[1] not in ignored]


async def test_a_handover_that_is_killed_at_any_request_is_finished_by_the_next() -> None:
    """Each run is killed one request later than the one before. Meanwhile the user sees whole threads or none."""
    deaths = 0
    while True:
        local, expected = await populated()
        died = False
        try:
            await hand_over_all(dying_after(local, deaths).store())
        except KilledError:
            died = True
            for thread_id in await thread_ids(local.store(), ANN):
                seen = [record for record in await records_of(local.store(), ANN) if thread_id in str(record)]
                assert seen == [record for record in expected if thread_id in str(record)]
        await hand_over_all(local.store())
        assert await records_of(local.store(), ANN) == expected
        assert await claims(local.store()) == []
        await finish_sweeps(local)
        assert await records_of(local.store(), ANN) == expected
        assert traces(local) == []
        assert not any("/guest/" in name for name in local.objects.kept)
        if not died:
            return
        deaths += 1


async def test_a_thread_deleted_by_the_guest_during_the_handover_leaves_the_user_nothing() -> None:
    local, _ = await populated()
    store = local.store()

    class Deleting(Files):
        async def __call__(self, attachment_id: str) -> None:
            await store.delete_thread("thr_1", GUEST)

    assert await store.hand_over("thr_1", "guest", ANN, copy_file=Deleting())
    assert await records_of(store, ANN) == []
    await finish_sweeps(local)
    assert not any("ann" in key[0] for key in local.engine.rows)


async def test_a_late_second_handover_undoes_nothing() -> None:
    local, _ = await populated()
    store = local.store()

    class Late(Files):
        """While this hand-over copies, another one finishes, and the user deletes an item."""

        async def __call__(self, attachment_id: str) -> None:
            if not self.copied:
                self.copied.append(attachment_id)
                await local.store().hand_over("thr_1", "guest", ANN, copy_file=Files())
                await local.store().delete_thread_item("thr_1", "msg_1", ANN)

    assert await store.hand_over("thr_1", "guest", ANN, copy_file=Late())
    kept = [record["id"] for record in await records_of(store, ANN) if record["kind"] == "item"]
    assert kept == ["msg_2"]
