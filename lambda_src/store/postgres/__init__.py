"""ChatKit's Store on PostgreSQL. Other packages import only these names, and only if a server uses it."""

from lambda_src.store.postgres.sessions import engine_of
from lambda_src.store.postgres.store import PostgresStore

__all__ = ["PostgresStore", "engine_of"]
