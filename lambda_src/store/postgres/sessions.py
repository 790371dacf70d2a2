"""PostgreSQL engines, and transactions with database errors translated to UnavailableError."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from lambda_src.errors import UnavailableError

Sessions = async_sessionmaker[AsyncSession]


def engine_of(url: str) -> AsyncEngine:
    """An engine on a database, whose URL may leave out the driver: postgresql://user@host/db. Connects later."""
    return create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://", 1))


@asynccontextmanager
async def transaction(sessions: Sessions) -> AsyncIterator[AsyncSession]:
    """One transaction. UnavailableError if the database cannot be reached or the connection breaks.

    In that case nothing was written, unless the response to COMMIT was lost; a store's writes can all be repeated.
    """
    try:
        async with sessions.begin() as session:
            yield session
    except (OperationalError, InterfaceError, PoolTimeoutError, OSError) as fault:
        raise UnavailableError("The database could not be reached.") from fault
    except DBAPIError as fault:
        if fault.connection_invalidated:
            raise UnavailableError("The database closed the connection.") from fault
        raise
