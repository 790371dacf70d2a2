"""A guest's threads become a user's: the contract on every engine, and deaths at any request to the table."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from lambda_src.dev.store_contract.samples import thread_ids
from lambda_src.store import keys
from lambda_src.store.bounds import LATE_WRITES_S
from lambda_src.store.dynamodb import DynamoDBStore
from lambda_src.store.memory.store import MemoryStore
from lambda_src.store.postgres import PostgresStore
from tests.store.dying import KilledError, dying_after
from tests.store.handover_contract import (
    ANN,
    GUEST,
    Files,
    HandoverContract,
    TurnsAndHandoverContract,
    claims,
    hand_over_all,
    move_in,
    records_of,
)
from tests.store.local import Local
from tests.store.postgres import migrated, postgres, sessions_of


class TestMemory(HandoverContract, TurnsAndHandoverContract):
    """In dictionaries."""

    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()


class TestStrictEngine(HandoverContract, TurnsAndHandoverContract):
    """DynamoDBStore on the engine of this process."""

    @pytest.fixture
    def store(self) -> DynamoDBStore:
        return Local().store()


class TestMoto(HandoverContract, TurnsAndHandoverContract):
    """DynamoDBStore on moto."""

    @pytest.fixture
    def store(self, dynamodb_store: DynamoDBStore) -> DynamoDBStore:
        return dynamodb_store


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The URL of a server for this module."""
    with postgres() as url:
        yield url


class TestPostgres(HandoverContract):
    """PostgresStore."""

    @pytest.fixture
    async def store(self, url: str) -> AsyncIterator[PostgresStore]:
        async with migrated(url) as engine:
            yield PostgresStore(sessions_of(engine))


async def furnished() -> tuple[Local, list[Any]]:
    """A guest's two threads with large items, and what the user is to have in the end."""
    local = Local()
    await move_in(local.store(), large=True)
    wanted = [record for record in await records_of(local.store(), GUEST) if record["id"] != "atc_free"]
    return local, wanted


async def finish_sweeps(local: Local) -> None:
    """Both passes of a sweep."""
    await local.store().sweep(stop=lambda: False)
    local.later(LATE_WRITES_S)
    await local.store().sweep(stop=lambda: False)


def traces(local: Local) -> list[tuple[str, str]]:
    """What is left of the guest's, but for the claim and the file that belonged to no thread."""
    known = {keys.CLAIMED, keys.attachment_sort("atc_free")}
    return [key for key in local.engine.rows if key[0].startswith("USER#guest") and key[1] not in known]


async def test_a_handover_that_dies_at_any_request_is_finished_by_the_next() -> None:
    """Each run dies one request later than the one before. Meanwhile the user sees whole threads or none."""
    deaths = 0
    while True:
        local, wanted = await furnished()
        died = False
        try:
            await hand_over_all(dying_after(local, deaths).store())
        except KilledError:
            died = True
            for thread_id in await thread_ids(local.store(), ANN):
                seen = [record for record in await records_of(local.store(), ANN) if thread_id in str(record)]
                assert seen == [record for record in wanted if thread_id in str(record)]
        await hand_over_all(local.store())
        assert await records_of(local.store(), ANN) == wanted
        assert await claims(local.store()) == []
        await finish_sweeps(local)
        assert await records_of(local.store(), ANN) == wanted
        assert traces(local) == []
        assert not any("/guest/" in name for name in local.objects.kept)
        if not died:
            return
        deaths += 1


async def test_a_thread_that_the_guest_deletes_in_the_middle_leaves_nothing_with_the_user() -> None:
    local, _ = await furnished()
    store = local.store()

    class Deleting(Files):
        async def __call__(self, attachment_id: str) -> None:
            await store.delete_thread("thr_1", GUEST)

    assert await store.hand_over("thr_1", "guest", ANN, copy_file=Deleting())
    assert await records_of(store, ANN) == []
    await finish_sweeps(local)
    assert not any("ann" in key[0] for key in local.engine.rows)


async def test_a_second_mover_who_comes_late_undoes_nothing() -> None:
    local, _ = await furnished()
    store = local.store()

    class Late(Files):
        """While this one copies, another finishes, and the user deletes an item."""

        async def __call__(self, attachment_id: str) -> None:
            if not self.copied:
                self.copied.append(attachment_id)
                await local.store().hand_over("thr_1", "guest", ANN, copy_file=Files())
                await local.store().delete_thread_item("thr_1", "msg_1", ANN)

    assert await store.hand_over("thr_1", "guest", ANN, copy_file=Late())
    kept = [record["id"] for record in await records_of(store, ANN) if record["kind"] == "item"]
    assert kept == ["msg_2"]
