"""Tests of how long an attachment waits for its message, for any store with the test's clock."""

from typing import Any

import pytest
from chatkit.store import NotFoundError

from lambda_src.dev.store_contract.samples import context_of, file_of, thread_of
from lambda_src.store.bounds import UNBOUND_S

ADA, NEW = context_of("ada"), context_of("new")
HOUR_S = 3600
NS = 10**9


class Clock:
    """A clock in nanoseconds that only `later` advances."""

    def __init__(self) -> None:
        self.now = 1_800_000_000 * NS

    def __call__(self) -> int:
        return self.now

    def later(self, seconds: int) -> None:
        """Advance the clock."""
        self.now += seconds * NS


class UnboundContract:
    """Subclass it with a fixture `make`: (clock, retention_s) -> a store."""

    @pytest.fixture
    def make(self) -> Any:
        """Override."""
        raise NotImplementedError

    @pytest.mark.parametrize("retention_s", [0, 30 * 24 * HOUR_S])
    async def test_an_unbound_attachment_is_gone_after_two_days(self, make: Any, retention_s: int) -> None:
        clock = Clock()
        store = make(clock, retention_s)
        await store.save_attachment(file_of(), ADA)
        clock.later(UNBOUND_S - 1)
        assert await store.load_attachment("atc_1", ADA) == file_of()
        clock.later(1)
        await assert_missing(store)
        assert [record async for record in store.export_user(ADA)] == []

    async def test_a_bound_attachment_stays(self, make: Any) -> None:
        clock = Clock()
        store = make(clock, 0)
        await store.save_thread(thread_of(), ADA)
        await store.save_attachment(file_of(), ADA)
        clock.later(UNBOUND_S - 1)
        await store.save_attachment(file_of(thread_id="thr_1"), ADA)
        clock.later(100 * UNBOUND_S)
        assert await store.load_attachment("atc_1", ADA) == file_of(thread_id="thr_1")

    async def test_a_shorter_retention_holds_for_both(self, make: Any) -> None:
        clock = Clock()
        store = make(clock, HOUR_S)
        await store.save_attachment(file_of(), ADA)
        clock.later(HOUR_S)
        await assert_missing(store)

    async def test_an_import_waits_as_long_again(self, make: Any) -> None:
        clock = Clock()
        store = make(clock, 0)
        await store.save_attachment(file_of(), ADA)
        [record] = [record async for record in store.export_user(ADA)]
        clock.later(UNBOUND_S)
        assert await store.import_record(record, NEW)
        assert await store.load_attachment("atc_1", NEW) == file_of()
        clock.later(UNBOUND_S)
        with pytest.raises(NotFoundError):
            await store.load_attachment("atc_1", NEW)


async def assert_missing(store: Any) -> None:
    with pytest.raises(NotFoundError):
        await store.load_attachment("atc_1", ADA)
