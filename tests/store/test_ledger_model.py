"""The state machine test of the ledger, in memory and on the strict engine."""

from contextlib import suppress
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from lambda_src.store.dynamodb import DynamoDBStore
from lambda_src.store.memory.store import MemoryStore
from tests.store.engine.engine import Engine
from tests.store.ledger_machine import LedgerMachine
from tests.store.model import Inline, machine_settings


class RepeatingClient:
    """A client that sends every write twice while `machine.repeats`, as if the first answer was lost."""

    def __init__(self, engine: Engine, machine: LedgerMachine) -> None:
        self._engine, self._machine = engine, machine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def update_item(self, **params: Any) -> dict[str, Any]:
        """Send UpdateItem, the only write of a ledger, once or twice."""
        if self._machine.repeats:
            with suppress(ClientError):
                self._engine.update_item(**params)
        return self._engine.update_item(**params)


class MemoryMachine(LedgerMachine):
    """Two MemoryStores that share their rows; none of their requests is ever lost."""

    def open(self) -> list[Any]:
        first = MemoryStore(clock=partial(self.clock, 0))
        return [first, MemoryStore(clock=partial(self.clock, 1), beside=first)]


class EngineMachine(LedgerMachine):
    """Two DynamoDBStores on one table of the strict engine."""

    def open(self) -> list[Any]:
        client: Any = RepeatingClient(Engine(), self)
        return [DynamoDBStore(client, "table", clock=partial(self.clock, n), executor=Inline()) for n in range(2)]


TestMemory = MemoryMachine.TestCase
TestMemory.settings = machine_settings(fast=True)
TestEngine = EngineMachine.TestCase
TestEngine.settings = machine_settings(fast=True)
