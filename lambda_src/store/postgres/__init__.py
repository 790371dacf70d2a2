"""ChatKit's Store on PostgreSQL. Other packages import only `PostgresStore`, and only if a server uses it."""

from lambda_src.store.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
