"""Alembic revisions, oldest first by name. There are no downgrades: an older release can read the newer schema."""
