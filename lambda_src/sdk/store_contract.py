"""The tests that every store must pass, for a store of your own. docs/reference/stores.md explains each test.

class TestMyStore(StoreContract):
    @pytest.fixture
    def store(self) -> MyStore:
        return MyStore(...)
"""

from lambda_src.dev.store_contract import (
    ErasureContract,
    ManualClock,
    RetentionContract,
    StoreContract,
    UnreadableContract,
)

__all__ = ["ErasureContract", "ManualClock", "RetentionContract", "StoreContract", "UnreadableContract"]
