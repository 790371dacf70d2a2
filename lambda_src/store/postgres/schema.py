"""PostgreSQL tables: one row per thread, item and attachment, with the user in every key. Created by migrations/.

Ids are text with collation "C", so that they sort by their bytes, as in DynamoDB. Payloads are bytea, because
PostgreSQL's JSON types reject NUL and infinity.
"""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, Table, Text

metadata = MetaData()


def _id(name: str, *, key: bool = False, null: bool = False) -> Column[str]:
    return Column(name, Text(collation="C"), primary_key=key, nullable=null)


def _payload() -> list[Column[object]]:
    return [
        Column("payload", LargeBinary, nullable=True),  # null: deleted, but still valid as a cursor
        Column("encoding", Text, nullable=False),
        Column("schema", Integer, nullable=False),
        Column("digest", LargeBinary, nullable=False),
        Column("expires_s", BigInteger, nullable=True),  # epoch seconds
    ]


threads = Table(
    "chat_threads",
    metadata,
    _id("user_id", key=True),
    _id("id", key=True),
    Column("place", BigInteger, nullable=False),  # codec.thread_time_us of the first created_at
    Column("fields", LargeBinary, nullable=True),  # null: deleted
    Column("schema", Integer, nullable=False),
    Column("expires_s", BigInteger, nullable=True),
    Column("deleted_s", BigInteger, nullable=True),
)
Index("chat_threads_by_place", threads.c.user_id, threads.c.place, threads.c.id)

items = Table(
    "chat_items",
    metadata,
    _id("user_id", key=True),
    _id("thread_id", key=True),
    _id("id", key=True),
    Column("place", BigInteger, nullable=False),  # arrival in nanoseconds since 1970
    *_payload(),
    Column("is_open", Boolean, nullable=False),  # a workflow that the next run may replace
    Column("deleted_s", BigInteger, nullable=True),
)
Index("chat_items_by_place", items.c.user_id, items.c.thread_id, items.c.place, items.c.id)

attachments = Table(
    "chat_attachments",
    metadata,
    _id("user_id", key=True),
    _id("id", key=True),
    _id("thread_id", null=True),
    *_payload(),
)
Index("chat_attachments_by_thread", attachments.c.user_id, attachments.c.thread_id)

feedback = Table(
    "chat_feedback",
    metadata,
    _id("user_id", key=True),
    _id("thread_id", key=True),
    _id("item_id", key=True),
    Column("kind", Text, nullable=False),
)

claims = Table(
    "chat_claims",
    metadata,
    _id("guest_id", key=True),
    _id("user_id"),  # the user who takes over the guest's threads
    Column("is_open", Boolean, nullable=False),  # the handover is unfinished
)
