"""Alembic environment: runs the migrations on the connection that migrate.py passes in."""

from alembic import context

from lambda_src.store.postgres.migrate import VERSION_TABLE
from lambda_src.store.postgres.schema import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, version_table=VERSION_TABLE
)
with context.begin_transaction():
    context.run_migrations()
