"""ChatKit's Store on PostgreSQL; `PostgresStore` is all that a server needs of it. Loaded only when chosen."""

from lambda_src.store.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
