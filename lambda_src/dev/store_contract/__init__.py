"""Tests that every ChatKit store must pass, your own included. Knows no store.

Subclass `StoreContract` in a test module, give it a fixture, and run pytest (docs/reference/stores.md says what each
test means):

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self) -> MyStore:
            return MyStore(...)
"""

from lambda_src.dev.store_contract.attachments import AttachmentContract
from lambda_src.dev.store_contract.bad_input import BadInputContract
from lambda_src.dev.store_contract.items import ItemContract
from lambda_src.dev.store_contract.pages import PageContract
from lambda_src.dev.store_contract.retention import ManualClock, RetentionContract, UnreadableContract
from lambda_src.dev.store_contract.threads import ErasureContract, ThreadContract
from lambda_src.dev.store_contract.values import ValueContract


class StoreContract(ThreadContract, ItemContract, PageContract, ValueContract, AttachmentContract, BadInputContract):
    """The whole contract. `store` is a fixture; `context(user_id)` may be overridden for another context type."""


__all__ = ["ErasureContract", "ManualClock", "RetentionContract", "StoreContract", "UnreadableContract"]
