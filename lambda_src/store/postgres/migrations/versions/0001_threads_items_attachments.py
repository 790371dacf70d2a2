"""Creates the tables of threads, items, attachments and feedback."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _id(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(collation="C"), nullable=null)


def _payload() -> list[sa.Column[object]]:
    return [
        sa.Column("payload", sa.LargeBinary, nullable=True),
        sa.Column("encoding", sa.Text, nullable=False),
        sa.Column("schema", sa.Integer, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("expires_s", sa.BigInteger, nullable=True),
    ]


def upgrade() -> None:
    """Create the four tables and their indexes."""
    op.create_table(
        "chat_threads",
        _id("user_id"),
        _id("id"),
        sa.Column("place", sa.BigInteger, nullable=False),
        sa.Column("fields", sa.LargeBinary, nullable=True),
        sa.Column("schema", sa.Integer, nullable=False),
        sa.Column("expires_s", sa.BigInteger, nullable=True),
        sa.Column("deleted_s", sa.BigInteger, nullable=True),
        sa.PrimaryKeyConstraint("user_id", "id"),
    )
    op.create_index("chat_threads_by_place", "chat_threads", ["user_id", "place", "id"])
    op.create_table(
        "chat_items",
        _id("user_id"),
        _id("thread_id"),
        _id("id"),
        sa.Column("place", sa.BigInteger, nullable=False),
        *_payload(),
        sa.Column("is_open", sa.Boolean, nullable=False),
        sa.Column("deleted_s", sa.BigInteger, nullable=True),
        sa.PrimaryKeyConstraint("user_id", "thread_id", "id"),
    )
    op.create_index("chat_items_by_place", "chat_items", ["user_id", "thread_id", "place", "id"])
    op.create_table(
        "chat_attachments",
        _id("user_id"),
        _id("id"),
        _id("thread_id", null=True),
        *_payload(),
        sa.PrimaryKeyConstraint("user_id", "id"),
    )
    op.create_index("chat_attachments_by_thread", "chat_attachments", ["user_id", "thread_id"])
    op.create_table(
        "chat_feedback",
        _id("user_id"),
        _id("thread_id"),
        _id("item_id"),
        sa.Column("kind", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "thread_id", "item_id"),
    )
