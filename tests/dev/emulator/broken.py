"""A handler module that cannot be imported, as when a connection is made while it loads."""

raise RuntimeError("no database")
