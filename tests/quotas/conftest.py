"""Fixture `quota_engine`: the stores behind quotas, in memory and on the DynamoDB engine."""

import pytest

from lambda_src.store import bounds
from lambda_src.store.counters import MemoryCounters
from lambda_src.store.dynamodb.counters import TableCounters
from lambda_src.store.memory.store import MemoryStore
from tests.quotas.engine import QuotaEngine
from tests.store.local import Local


@pytest.fixture(params=["memory", "dynamodb"])
def quota_engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> QuotaEngine:
    monkeypatch.setattr(bounds, "OPERATION_BUDGET_S", None)  # a thousand concurrent turns take longer on a slow machine
    local = Local()

    def clock() -> int:
        return local.now

    if request.param == "memory":
        return QuotaEngine(local, MemoryStore(clock=clock).ledger, MemoryCounters(clock=clock))
    store = local.store()
    return QuotaEngine(local, store.ledger, TableCounters(store.table, clock=clock))
