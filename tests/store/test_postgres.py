"""PostgresStore on a real PostgreSQL: the contract, the state machine test, the schema, and a missing server."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from chatkit.store import NotFoundError
from sqlalchemy import Connection, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from lambda_src.dev.store_contract import ErasureContract, StoreContract, UnreadableContract
from lambda_src.dev.store_contract.samples import context_of, file_of, item_ids, message_of, thread_of
from lambda_src.errors import ConflictError, UnavailableError
from lambda_src.store.bounds import LATE_WRITES_S
from lambda_src.store.postgres import PostgresStore
from lambda_src.store.postgres.migrate import VERSION_TABLE, current, migrate, newest
from lambda_src.store.postgres.schema import items, metadata, threads
from tests.store.model import StoreMachine, machine_settings
from tests.store.postgres import emptied, sessions_of

ADA = context_of("ada")


@pytest.fixture
async def engine(postgres_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine on an empty database."""
    async with emptied(postgres_url) as engine:
        yield engine


@pytest.fixture
def store(engine: AsyncEngine) -> PostgresStore:
    """A store on an empty database."""
    return PostgresStore(sessions_of(engine))


class TestPostgresStore(StoreContract, ErasureContract, UnreadableContract):
    """Run the contract."""

    @pytest.fixture
    def store(self, engine: AsyncEngine) -> PostgresStore:
        """A store on an empty database."""
        return PostgresStore(sessions_of(engine))

    @pytest.fixture
    def spoil(self, engine: AsyncEngine) -> Any:
        """Mark a thread as written by a newer release."""

        async def spoil(thread_id: str) -> None:
            async with engine.begin() as connection:
                await connection.execute(update(threads).where(threads.c.id == thread_id).values(schema=99))

        return spoil


async def test_the_migrations_make_the_schema(engine: AsyncEngine) -> None:
    def differences(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        return list(compare_metadata(context, metadata))

    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    assert await current(engine) == newest()
    assert await migrate(engine) == newest()


async def test_an_unreachable_database_raises_unavailable_error() -> None:
    unreachable = create_async_engine("postgresql+asyncpg://nobody@/nothing?host=/nowhere")
    store = PostgresStore(sessions_of(unreachable))
    with pytest.raises(UnavailableError):
        await store.load_thread("thr_1", ADA)
    with pytest.raises(UnavailableError):
        await store.add_thread_item("thr_1", message_of(), ADA)


async def test_a_connection_that_breaks_is_replaced(engine: AsyncEngine, store: PostgresStore) -> None:
    await store.save_thread(thread_of(), ADA)
    other = create_async_engine(engine.url)
    async with other.connect() as connection:
        other_backends = "pid <> pg_backend_pid() AND backend_type = 'client backend'"
        await connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {other_backends}"))
    await other.dispose()
    with pytest.raises(UnavailableError):
        await store.load_thread("thr_1", ADA)
    assert (await store.load_thread("thr_1", ADA)).id == "thr_1"


async def test_a_damaged_row_becomes_a_placeholder(engine: AsyncEngine) -> None:
    counted: list[str] = []
    store = PostgresStore(sessions_of(engine), count=counted.append)
    await store.save_thread(thread_of(), ADA)
    for number in range(3):
        await store.add_thread_item("thr_1", message_of(f"msg_{number}"), ADA)
    for damage in ({"payload": b"{}"}, {"schema": 99}, {"encoding": "gzip"}, {"encoding": "zstd"}):
        async with engine.begin() as connection:
            await connection.execute(update(items).where(items.c.id == "msg_1").values(**damage))
        page = await store.load_thread_items("thr_1", None, 10, "asc", ADA)
        assert [item.type for item in page.data] == ["user_message", "task", "user_message"]
    assert counted == ["unreadable_row"] * 4


@pytest.mark.parametrize("damage", [{"fields": b"no JSON"}, {"schema": 99}])
async def test_a_thread_that_cannot_be_read_cannot_be_renamed_and_its_row_stays(
    engine: AsyncEngine, store: PostgresStore, damage: dict[str, Any]
) -> None:
    await store.save_thread(thread_of(title="old"), ADA)
    async with engine.begin() as connection:
        await connection.execute(update(threads).values(**damage))
        before = (await connection.execute(select(threads))).one()
    placeholder = await store.load_thread("thr_1", ADA)
    placeholder.title = "renamed"
    with pytest.raises(ConflictError, match="cannot be changed"):
        await store.save_thread(placeholder, ADA)
    async with engine.begin() as connection:
        assert (await connection.execute(select(threads))).one() == before


async def test_expired_rows_are_filtered_on_read_and_removed_by_the_sweep(engine: AsyncEngine) -> None:
    now = 10**18
    store = PostgresStore(sessions_of(engine), clock=lambda: now, retention_s=60)
    await store.save_thread(thread_of(), ADA)
    await store.add_thread_item("thr_1", message_of(), ADA)
    now += 60 * 10**9
    with pytest.raises(NotFoundError):
        await store.load_thread("thr_1", ADA)
    assert await item_ids(store, "thr_1", ADA) == []
    erased = await store.sweep(stop=lambda: False)
    assert (erased.threads, erased.items) == (1, 1)


async def test_an_export_imported_elsewhere_exports_the_same_and_erase_leaves_nothing(engine: AsyncEngine) -> None:
    store = PostgresStore(sessions_of(engine))
    await store.save_thread(thread_of(title="t"), ADA)
    for number in range(150):
        await store.add_thread_item("thr_1", message_of(f"msg_{number:03d}"), ADA)
    await store.save_attachment(file_of(thread_id="thr_1"), ADA)
    await store.add_feedback("thr_1", ["msg_000", "msg_missing"], "negative", ADA)
    exported = [record async for record in store.export_user(ADA)]
    assert len(exported) == 153
    (erased,) = [step async for step in store.erase_user(ADA)]
    assert (erased.threads, erased.items, erased.attachments) == (1, 150, 1)
    async with engine.connect() as connection:
        (tombstone,) = (await connection.execute(select(metadata.tables["chat_threads"]))).mappings()
    assert (tombstone["id"], tombstone["fields"]) == ("thr_1", None)
    later = PostgresStore(sessions_of(engine), clock=lambda: time.time_ns() + (LATE_WRITES_S + 1) * 1_000_000_000)
    await later.sweep(stop=lambda: False)
    async with engine.connect() as connection:
        for table in metadata.tables:
            assert (await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one() == 0
    for record in exported:
        assert await store.import_record(record, ADA)
    assert [record async for record in store.export_user(ADA)] == exported


def test_the_model_agrees(postgres_url: str) -> None:
    class PostgresMachine(StoreMachine):
        """PostgresStore, whose engine uses the machine's own loop."""

        def open(self) -> PostgresStore:
            self.database = emptied(postgres_url)
            self.engine = self.run(self.database.__aenter__())
            return self.reopen()

        def reopen(self) -> PostgresStore:
            return PostgresStore(sessions_of(self.engine), clock=self.clock)

        def close(self) -> None:
            self.run(self.database.__aexit__(None, None, None))

    PostgresMachine.TestCase.settings = machine_settings(fast=False)
    PostgresMachine.TestCase().runTest()
