"""Concurrent saves, export, import and erasure of user data, and retention: on every store."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from lambda_src.dev.store_contract import RetentionContract
from lambda_src.store.dynamodb import DynamoDBStore
from lambda_src.store.memory.store import MemoryStore
from lambda_src.store.postgres import PostgresStore
from tests.store.engine.engine import Engine
from tests.store.model import Inline
from tests.store.postgres import emptied, sessions_of
from tests.store.saves_contract import SavesContract
from tests.store.userdata_contract import UserDataContract


class Retention(RetentionContract):
    """The public contract on the stores of this module."""

    @pytest.fixture
    def retaining(self, make: Any) -> Any:
        return make


class TestMemory(SavesContract, UserDataContract, Retention):
    """MemoryStore."""

    @pytest.fixture
    def make(self) -> Any:
        rows = MemoryStore()
        return lambda clock, retention_s: MemoryStore(beside=rows, clock=clock, retention_s=retention_s)


class TestStrictEngine(SavesContract, UserDataContract, Retention):
    """DynamoDBStore on the strict engine."""

    @pytest.fixture
    def make(self) -> Any:
        engine: Any = Engine()
        return lambda clock, retention_s: DynamoDBStore(
            engine, "table", clock=clock, retention_s=retention_s, executor=Inline()
        )


class TestPostgres(SavesContract, UserDataContract, Retention):
    """PostgresStore."""

    @pytest.fixture
    async def make(self, postgres_url: str) -> AsyncIterator[Any]:
        async with emptied(postgres_url) as engine:
            yield lambda clock, retention_s: PostgresStore(sessions_of(engine), clock=clock, retention_s=retention_s)
