"""The state machine test in memory, on the strict engine and on moto."""

from typing import Any

from lambda_src.store.dynamodb import DynamoDBStore
from lambda_src.store.memory.store import MemoryStore
from tests.store.engine.engine import Engine
from tests.store.model import Inline, StoreMachine, machine_settings
from tests.store.tables import Aws, moto_aws


class MemoryMachine(StoreMachine):
    """MemoryStore; as a restart would lose everything, only the clock is set back."""

    def open(self) -> MemoryStore:
        return MemoryStore(clock=self.clock)

    def reopen(self) -> Any:
        return self.store


class EngineMachine(StoreMachine):
    """DynamoDBStore on the strict engine."""

    def open(self) -> DynamoDBStore:
        self.engine: Any = Engine()
        return self.reopen()

    def reopen(self) -> DynamoDBStore:
        return DynamoDBStore(self.engine, "table", clock=self.clock, executor=Inline())


class MotoMachine(StoreMachine):
    """DynamoDBStore on moto."""

    def open(self) -> DynamoDBStore:
        self.moto = moto_aws()
        self.aws: Aws = self.moto.__enter__()
        self.table = self.aws.table()
        return self.reopen()

    def reopen(self) -> DynamoDBStore:
        return DynamoDBStore(self.aws.dynamodb, self.table, clock=self.clock, executor=Inline())

    def close(self) -> None:
        self.moto.__exit__(None, None, None)


TestMemory = MemoryMachine.TestCase
TestMemory.settings = machine_settings(fast=True)
TestEngine = EngineMachine.TestCase
TestEngine.settings = machine_settings(fast=True)
TestMoto = MotoMachine.TestCase
TestMoto.settings = machine_settings(fast=False)
