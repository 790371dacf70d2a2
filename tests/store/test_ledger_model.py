"""The model-based test of the ledger on the engines of this process: dictionaries, the strict engine."""

from contextlib import suppress
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from lambda_src.store.dynamodb import DynamoDBStore
from lambda_src.store.memory.store import MemoryStore
from tests.store.engine.engine import Engine
from tests.store.ledger_machine import LedgerMachine
from tests.store.model import Inline, machine_settings


class Stuttering:
    """A client whose every write is sent twice while its machine says so: the first answer was lost."""

    def __init__(self, engine: Engine, machine: LedgerMachine) -> None:
        self._engine, self._machine = engine, machine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def update_item(self, **params: Any) -> dict[str, Any]:
        """UpdateItem, by which everything of a ledger is written."""
        if self._machine.stutters:
            with suppress(ClientError):
                self._engine.update_item(**params)
        return self._engine.update_item(**params)


class MemoryMachine(LedgerMachine):
    """Two MemoryStores beside each other; nothing of theirs is ever lost on the way."""

    def open(self) -> list[Any]:
        first = MemoryStore(clock=partial(self.clock, 0))
        return [first, MemoryStore(clock=partial(self.clock, 1), beside=first)]


class EngineMachine(LedgerMachine):
    """Two DynamoDBStores on one table of the strict engine."""

    def open(self) -> list[Any]:
        client: Any = Stuttering(Engine(), self)
        return [DynamoDBStore(client, "table", clock=partial(self.clock, n), executor=Inline()) for n in range(2)]


TestMemory = MemoryMachine.TestCase
TestMemory.settings = machine_settings(fast=True)
TestEngine = EngineMachine.TestCase
TestEngine.settings = machine_settings(fast=True)
