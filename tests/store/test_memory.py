"""MemoryStore against the contract."""

import pytest

from lambda_src.dev.store_contract import StoreContract
from lambda_src.store.memory import MemoryStore


class TestMemoryStore(StoreContract):
    """All of it."""

    @pytest.fixture
    def store(self) -> MemoryStore:
        """An empty one."""
        return MemoryStore()
