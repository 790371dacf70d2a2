"""Turn ledger contract for journals: batches in order, stored once, separate per turn, thread and user."""

import pytest

from lambda_src.dev.store_contract.values import incompressible
from lambda_src.errors import TooLargeError
from lambda_src.store.ports import JournalBatch, TurnLedger
from tests.store.ledger_case import ADA, BOB, Clock, LedgerCase

TTL_S = 3600
EVENTS = b'data: {"type":"thread.item.updated","delta":"caf\xc3\xa9 \xf0\x9f\x91\x8b"}\n\n'


async def append(ledger: TurnLedger, number: int, data: bytes, *, turn: str = "one", thread: str = "thr_1") -> None:
    """Append a batch as ada."""
    await ledger.append_journal(thread, turn, JournalBatch(number, data), ttl_s=TTL_S, context=ADA)


async def read(ledger: TurnLedger, *, first: int = 0, turn: str = "one", thread: str = "thr_1") -> dict[int, bytes]:
    """Return the journal's batches by number, in the order in which they are read."""
    return {
        batch.number: batch.data
        async for batch in ledger.read_journal(thread, turn, first=first, context=ADA)
    }  # fmt: skip


class JournalContract(LedgerCase):
    """append_journal, read_journal."""

    async def test_a_turn_without_a_journal_has_no_batches(self, ledger: TurnLedger) -> None:
        assert await read(ledger) == {}

    async def test_batches_are_read_in_order_and_byte_for_byte(self, ledger: TurnLedger, other: TurnLedger) -> None:
        written = {0: EVENTS, 1: EVENTS * 100, 2: b"", 3: bytes(range(256)) * 10}
        for number in (1, 0, 3, 2):
            await append(ledger, number, written[number])
        assert list((await read(other)).items()) == sorted(written.items())

    async def test_more_than_ten_batches_are_in_numeric_order(self, ledger: TurnLedger) -> None:
        for number in range(12):
            await append(ledger, number, str(number).encode())
        assert list(await read(ledger)) == list(range(12))

    async def test_reading_can_start_at_any_number(self, ledger: TurnLedger) -> None:
        for number in range(5):
            await append(ledger, number, EVENTS)
        assert list(await read(ledger, first=3)) == [3, 4]
        assert list(await read(ledger, first=5)) == []
        assert list(await read(ledger, first=10**9)) == []
        assert list(await read(ledger, first=-1)) == [0, 1, 2, 3, 4]

    async def test_appending_the_same_number_again_changes_nothing(self, ledger: TurnLedger, other: TurnLedger) -> None:
        await append(ledger, 0, b"first")
        await append(other, 0, b"second")
        assert await read(ledger) == {0: b"first"}

    async def test_a_journal_of_several_megabytes_is_read_completely(self, ledger: TurnLedger) -> None:
        """DynamoDB's pages end after 1 MB."""
        large = {number: incompressible(140_000 + number).encode() for number in range(20)}
        for number, data in large.items():
            await append(ledger, number, data)
        assert await read(ledger) == large

    async def test_batches_are_separate_per_turn(self, ledger: TurnLedger) -> None:
        """Some ids extend the first one with what looks like a batch number."""
        for turn in ("one", "one#000000", "one#", "on"):
            await append(ledger, 0, turn.encode(), turn=turn)
        for turn in ("one", "one#000000", "one#", "on"):
            assert await read(ledger, turn=turn) == {0: turn.encode()}

    async def test_batches_are_separate_per_thread_and_user(self, ledger: TurnLedger) -> None:
        await append(ledger, 0, EVENTS)
        assert await read(ledger, thread="thr_2") == {}
        assert [batch async for batch in ledger.read_journal("thr_1", "one", first=0, context=BOB)] == []

    async def test_an_expired_batch_is_not_read(self, ledger: TurnLedger, clock: Clock) -> None:
        """Whether or not the engine has removed it by then."""
        await append(ledger, 0, EVENTS)
        clock.later(ms=1000)
        await append(ledger, 1, EVENTS)
        clock.later(ms=TTL_S * 1000 - 1001)
        assert list(await read(ledger)) == [0, 1]
        clock.later(ms=1)
        assert list(await read(ledger)) == [1]

    async def test_a_batch_too_large_for_a_row_is_refused(self, ledger: TurnLedger) -> None:
        with pytest.raises(TooLargeError):
            await append(ledger, 0, incompressible(300_000).encode())
        await append(ledger, 0, b" " * 10_000_000)
        assert await read(ledger) == {0: b" " * 10_000_000}

    async def test_a_number_outside_the_key_format_is_refused(self, ledger: TurnLedger) -> None:
        for number in (-1, 1_000_000):
            with pytest.raises(ValueError, match="number"):
                await append(ledger, number, EVENTS)
        await append(ledger, 999_999, EVENTS)
        assert list(await read(ledger)) == [999_999]
