"""Turn ledger contract for ids that cannot be stored: refused on writes, missing on reads."""

import pytest

from lambda_src.dev.store_contract.bad_input import IMPOSSIBLE, IMPOSSIBLE_IDS, ODD_IDS
from lambda_src.store.ports import IdempotencyConflict, JournalBatch, QuotaLimits, QuotaRefused, TurnLedger
from tests.store.ledger_case import ADA, LEASE_MS, LedgerCase

BATCH = JournalBatch(0, b"data: {}\n\n")
LIMITS = QuotaLimits(per_minute=1, per_day=0, running=0)


class LedgerBadInputContract(LedgerCase):
    """Impossible and odd ids."""

    @pytest.mark.parametrize("bad", IMPOSSIBLE_IDS, ids=IMPOSSIBLE)
    async def test_an_impossible_id_is_refused_when_written(self, ledger: TurnLedger, bad: str) -> None:
        for write in (
            ledger.take_lease(bad, "one", lease_ms=LEASE_MS, context=ADA),
            ledger.take_lease("thr_1", bad, lease_ms=LEASE_MS, context=ADA),
            ledger.renew_lease("thr_1", bad, lease_ms=LEASE_MS, context=ADA),
            ledger.end_lease(bad, "one", context=ADA),
            ledger.append_journal(bad, "one", BATCH, ttl_s=60, context=ADA),
            ledger.append_journal("thr_1", bad, BATCH, ttl_s=60, context=ADA),
            ledger.claim_request(bad, "one", body_hash=b"", ttl_s=60, context=ADA),
            ledger.claim_request("key", bad, body_hash=b"", ttl_s=60, context=ADA),
            ledger.bind_request("key", "one", thread_id=bad, ttl_s=60, context=ADA),
            ledger.spend_quota(bad, LIMITS, context=ADA),
        ):
            with pytest.raises(ValueError, match="id"):
                await write

    @pytest.mark.parametrize("bad", IMPOSSIBLE_IDS, ids=IMPOSSIBLE)
    async def test_an_impossible_id_is_missing_elsewhere(self, ledger: TurnLedger, bad: str) -> None:
        assert await ledger.load_turn(bad, context=ADA) is None
        assert await ledger.ask_to_stop(bad, None, context=ADA) is None
        assert await ledger.ask_to_stop("thr_1", bad, context=ADA) is None
        assert [batch async for batch in ledger.read_journal("thr_1", bad, first=0, context=ADA)] == []
        assert [batch async for batch in ledger.read_journal(bad, "one", first=0, context=ADA)] == []
        assert await ledger.load_request(bad, context=ADA) is None
        await ledger.release_request(bad, "one", context=ADA)
        await ledger.end_quota(bad, context=ADA)

    @pytest.mark.parametrize("odd", ODD_IDS, ids=[repr(text[:12]) for text in ODD_IDS])
    async def test_odd_ids_work_like_any_other(self, ledger: TurnLedger, odd: str) -> None:
        assert (await ledger.take_lease(odd, odd, lease_ms=LEASE_MS, context=ADA)).previous is None
        assert await ledger.renew_lease(odd, odd, lease_ms=LEASE_MS, context=ADA) == "held"
        await ledger.append_journal(odd, odd, BATCH, ttl_s=60, context=ADA)
        assert [batch async for batch in ledger.read_journal(odd, odd, first=0, context=ADA)] == [BATCH]
        assert await ledger.claim_request(odd, odd, body_hash=b"", ttl_s=60, context=ADA) is None
        await ledger.bind_request(odd, odd, thread_id=odd, ttl_s=60, context=ADA)
        assert await ledger.load_request(odd, context=ADA) == IdempotencyConflict(odd, odd, same_body=True)
        assert await ledger.spend_quota(odd, LIMITS, context=ADA) is None
        assert await ledger.spend_quota("next", LIMITS, context=ADA) == QuotaRefused("minute", 60)
        await ledger.end_quota(odd, context=ADA)
