"""MemoryStore against the contract."""

from typing import Any

import pytest

from lambda_src.dev.store_contract import ErasureContract, StoreContract, UnreadableContract
from lambda_src.store.memory.store import MemoryStore


class TestMemoryStore(StoreContract, ErasureContract, UnreadableContract):
    """Run the contract."""

    @pytest.fixture
    def store(self) -> MemoryStore:
        """An empty store."""
        return MemoryStore()

    @pytest.fixture
    def spoil(self, store: MemoryStore) -> Any:
        """Damage the fields of a thread."""

        async def spoil(thread_id: str) -> None:
            store._users["ada"].threads[thread_id].fields["id"] = "7"

        return spoil
