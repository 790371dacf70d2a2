"""Unbound attachments expire after two days: the contract on every engine."""

from collections.abc import AsyncIterator
from concurrent.futures import Executor
from typing import Any

import pytest

from lambda_src.store.dynamodb import DynamoDBStore
from lambda_src.store.memory.store import MemoryStore
from lambda_src.store.postgres import PostgresStore
from tests.store.engine.engine import Engine
from tests.store.model import Inline
from tests.store.postgres import emptied, sessions_of
from tests.store.tables import Aws
from tests.store.unbound_contract import UnboundContract


class TestMemory(UnboundContract):
    """MemoryStore."""

    @pytest.fixture
    def make(self) -> Any:
        return lambda clock, retention_s: MemoryStore(clock=clock, retention_s=retention_s)


class TestStrictEngine(UnboundContract):
    """DynamoDBStore on the strict engine."""

    @pytest.fixture
    def make(self) -> Any:
        engine: Any = Engine()
        return lambda clock, retention_s: DynamoDBStore(
            engine, "table", clock=clock, retention_s=retention_s, executor=Inline()
        )


class TestMoto(UnboundContract):
    """DynamoDBStore on moto."""

    @pytest.fixture
    def make(self, aws: Aws, table: str, one_thread: Executor) -> Any:
        return lambda clock, retention_s: DynamoDBStore(
            aws.dynamodb, table, clock=clock, retention_s=retention_s, executor=one_thread
        )


class TestPostgres(UnboundContract):
    """PostgresStore."""

    @pytest.fixture
    async def make(self, postgres_url: str) -> AsyncIterator[Any]:
        async with emptied(postgres_url) as engine:
            yield lambda clock, retention_s: PostgresStore(sessions_of(engine), clock=clock, retention_s=retention_s)
