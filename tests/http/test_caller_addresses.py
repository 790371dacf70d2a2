"""Hashed caller addresses in the log: stable for a day across processes, unlinkable without the day's key."""

import pytest

from lambda_src.errors import UnavailableError
from lambda_src.quotas.source_addresses import RETRY_S, Callers, MemoryDayKeys
from lambda_src.store.counters import DAY_S
from lambda_src.store.dynamodb.day_keys import TableDayKeys
from lambda_src.store.keys import TTL_ATTRIBUTE
from tests.store.local import Local

DAY_NS = DAY_S * 10**9


class Clock:
    """Epoch nanoseconds, set by the test."""

    def __init__(self) -> None:
        self.ns = 20_000 * DAY_NS

    def __call__(self) -> int:
        return self.ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_an_address_has_the_same_hash_all_day_and_another_the_next_day(clock: Clock) -> None:
    callers = Callers(MemoryDayKeys(), clock=clock)
    before = await callers.hashed("203.0.113.7")
    clock.ns += DAY_NS - 1
    assert await callers.hashed("203.0.113.7") == before != await callers.hashed("203.0.113.8")
    clock.ns += 1
    assert await callers.hashed("203.0.113.7") not in (None, before)


async def test_addresses_of_one_network_have_the_same_hash(clock: Clock) -> None:
    callers = Callers(MemoryDayKeys(), clock=clock)
    assert await callers.hashed("2001:db8::1") == await callers.hashed("2001:db8::2")
    assert await callers.hashed("2001:db8::1") != await callers.hashed("2001:db8:0:1::1")


async def test_without_the_key_there_is_no_hash_and_reading_is_retried_later(clock: Clock) -> None:
    class Down(MemoryDayKeys):
        reads = 0

        async def shared(self, day: int, proposal: bytes) -> bytes:
            self.reads += 1
            if self.reads == 1:
                raise UnavailableError("down")
            return await super().shared(day, proposal)

    keys = Down()
    callers = Callers(keys, clock=clock)
    assert [await callers.hashed("203.0.113.7") for _ in range(3)] == [None] * 3
    assert keys.reads == 1
    clock.ns += RETRY_S * 10**9
    assert await callers.hashed("203.0.113.7") is not None


async def test_all_processes_of_a_stage_share_the_days_key_and_other_stages_have_another(clock: Clock) -> None:
    store = Local().store()
    processes = [Callers(TableDayKeys(store.table), clock=clock) for _ in range(5)]
    hashes = {await process.hashed("203.0.113.7") for process in processes}
    assert len(hashes) == 1
    assert hashes != {await Callers(TableDayKeys(Local().store().table), clock=clock).hashed("203.0.113.7")}


async def test_a_process_reads_the_days_key_once_and_its_row_expires(clock: Clock) -> None:
    store = Local().store()
    callers = Callers(TableDayKeys(store.table), clock=clock)
    for number in range(10):
        await callers.hashed(f"203.0.113.{number}")
    row = await store.table.get(("STAGE#callers", "KEY#20000"))
    assert row is not None
    assert int(row[TTL_ATTRIBUTE]["N"]) == 20_002 * DAY_S
    await store.table.delete(("STAGE#callers", "KEY#20000"))
    before = await callers.hashed("203.0.113.7")
    assert await Callers(TableDayKeys(store.table), clock=clock).hashed("203.0.113.7") != before
