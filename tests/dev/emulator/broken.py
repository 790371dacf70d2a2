"""A handler module whose import fails, as if it could not connect to a database."""

raise RuntimeError("no database")
