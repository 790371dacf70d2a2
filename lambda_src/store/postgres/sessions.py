"""Transactions of a PostgresStore, with errors of ours. Knows no table."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from lambda_src.errors import UnavailableError

Sessions = async_sessionmaker[AsyncSession]


@asynccontextmanager
async def transaction(sessions: Sessions) -> AsyncIterator[AsyncSession]:
    """One transaction. UnavailableError when the database cannot be reached or breaks off.

    Then nothing was written, unless the answer to the COMMIT was lost: every write of a store may be repeated.
    """
    try:
        async with sessions.begin() as session:
            yield session
    except (OperationalError, InterfaceError, PoolTimeoutError, OSError) as fault:
        raise UnavailableError("The database could not be reached.") from fault
    except DBAPIError as fault:
        if fault.connection_invalidated:
            raise UnavailableError("The database broke the connection off.") from fault
        raise
