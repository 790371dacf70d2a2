"""A pytest plugin that runs chatkit-python's own tests on one of our stores in place of its SQLiteStore.

CHAT_UPSTREAM_STORE is memory, dynamodb or postgres; the last one also needs CHAT_DATABASE_URL, a migrated database.
All tests share one store: the name of a test's database file becomes a prefix of its users' IDs.
"""

import inspect
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

from chatkit.store import Store

from lambda_src.context import RequestContext, User
from lambda_src.store.memory.store import MemoryStore


def _memory() -> Any:
    return MemoryStore()


def _dynamodb() -> Any:
    import boto3
    from moto import mock_aws

    from lambda_src.store import keys
    from lambda_src.store.aws_calls import CLIENT_CONFIG
    from lambda_src.store.dynamodb import DynamoDBStore

    mock_aws().start()
    session = boto3.Session(region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
    client = session.client("dynamodb", config=CLIENT_CONFIG)
    client.create_table(**keys.table_definition("chat"))
    return DynamoDBStore(client, "chat", executor=ThreadPoolExecutor(1))


def _postgres() -> Any:
    from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
    from sqlalchemy.pool import NullPool

    from lambda_src.store.postgres import PostgresStore

    engine = create_async_engine(os.environ["CHAT_DATABASE_URL"], poolclass=NullPool)  # each test has its own loop
    return PostgresStore(async_sessionmaker(engine, expire_on_commit=False))


_store = {"memory": _memory, "dynamodb": _dynamodb, "postgres": _postgres}[os.environ["CHAT_UPSTREAM_STORE"]]()


class StoreInPlaceOfSQLite(Store[Any]):
    """Our store with upstream's constructor and upstream's context, a model with `user_id`."""

    def __init__(self, db_path: str) -> None:
        self.db_path = db_path
        test = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0]
        self._prefix = f"{test}|{db_path}|"[-400:]  # parametrized tests use the same file name

    def context(self, upstream_context: Any) -> RequestContext:
        """Our request context for the same user."""
        return RequestContext(user=User(self._prefix + upstream_context.user_id), request_id="upstream")


def _delegate(name: str) -> Any:
    signature = inspect.signature(getattr(Store, name))

    def call(self: StoreInPlaceOfSQLite, *args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(self, *args, **kwargs)
        bound.arguments["context"] = self.context(bound.arguments["context"])
        return getattr(_store, name)(*bound.args[1:], **bound.kwargs)

    return call


for _name in (*Store.__abstractmethods__, "generate_thread_id", "generate_item_id"):
    setattr(StoreInPlaceOfSQLite, _name, _delegate(_name))
StoreInPlaceOfSQLite.__abstractmethods__ = frozenset()

_tests = ModuleType("tests")  # our tests/ has an __init__.py and would shadow upstream's
_tests.__path__ = [str(Path.cwd() / "tests")]
sys.modules["tests"] = _tests
_module: Any = ModuleType("helpers.mock_store")
_module.SQLiteStore = StoreInPlaceOfSQLite
sys.modules["helpers.mock_store"] = _module
