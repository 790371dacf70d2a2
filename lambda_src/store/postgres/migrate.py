"""Migrates a database to this release's schema with Alembic. Run by `chat migrate` only, never at startup."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

VERSION_TABLE = "chat_schema"  # not Alembic's default, in case the database has another program's migrations too
_FOLDER = Path(__file__).with_name("migrations")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    return config


def newest() -> str:
    """The revision that this release needs."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


async def current(engine: AsyncEngine) -> str | None:
    """The revision that the database has; None before the first migration."""
    async with engine.connect() as connection:
        return await connection.run_sync(_current)


async def migrate(engine: AsyncEngine) -> str:
    """Apply the missing migrations, if any, in one transaction, and return the resulting revision."""
    async with engine.begin() as connection:
        await connection.run_sync(_upgrade)
    return newest()


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()


def _upgrade(connection: Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
