"""Keys of the DynamoDB table and of the S3 bucket, and the table's definition. Pure: no client, no request.

The owner is part of every partition key, so that a forgotten filter cannot leak data. See the layout in
docs/reference/stores.md.
"""

import re
from hashlib import sha256
from typing import Any

PARTITION_KEY = "pk"
SORT_KEY = "sk"
ORDER_INDEX = "by_order"
ORDER_KEY = "order"  # only rows that lists return have it: the index is sparse
TTL_ATTRIBUTE = "expires_at"  # epoch seconds; DynamoDB deletes rows up to days late, so every read filters too

THREAD_PREFIX = "THREAD#"
ITEM_PREFIX = "ITEM#"
ATTACHMENT_PREFIX = "ATTACHMENT#"
FEEDBACK_PREFIX = "FEEDBACK#"
EVENTS_PREFIX = "EVENTS#"
REQUEST_PREFIX = "REQUEST#"
MATTER_PREFIX = "MATTER#"  # in a thread's partition: leads to a row of the operators' inbox, to delete both together
TURN = "TURN"  # sort key of the thread's lease, and of a deleted thread's first tombstone, which replaces it
GONE = "GONE"  # sort key of the second tombstone, see FIRST_ORDER
QUOTA = "QUOTA"
FOLLOWERS = "FOLLOWERS"
CLAIMED = "CLAIMED"  # sort key, in a guest's partition, of the row that names the user who took over the threads
ORPHANS_PASS = ("SWEEP#orphans", "PASS")  # progress of the daily pass over the bucket
CLAIMS_PARTITION = "SWEEP#guests"  # guests whose threads are not all moved yet

# A deleted thread's two tombstones sort before and after every item (orders begin with a digit), so that a page in
# either direction returns one of them first and needs no second request.
FIRST_ORDER = "!"
LAST_ORDER = "~"

SWEEP_SHARDS = 4  # one partition takes 1,000 writes a second; deletes of threads are far rarer than that
SORT_KEY_MAX_BYTES = 1024  # DynamoDB's limit; a partition key may have 2,048
ORDER_DIGITS = 20  # nanoseconds since 1970 have 19 digits until the year 2286

OFFLOAD_PREFIX = "offload/"  # payloads too large for a row
PENDING_PREFIX = "pending/"  # uploads that no message has yet; a lifecycle rule deletes them after a day
KEPT_PREFIX = "kept/"  # uploads that belong to a message

_OWNED = re.compile(r"USER#((?:[^#]|##)*)(?:#THREAD#(.*))?", re.DOTALL)
_PLAIN_SEGMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}", re.ASCII)


def table_definition(name: str) -> dict[str, Any]:
    """Arguments of CreateTable for a local table. The stack creates the deployed one; a test compares the two."""
    return {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": attribute, "AttributeType": "S"} for attribute in (PARTITION_KEY, SORT_KEY, ORDER_KEY)
        ],
        "KeySchema": [
            {"AttributeName": PARTITION_KEY, "KeyType": "HASH"},
            {"AttributeName": SORT_KEY, "KeyType": "RANGE"},
        ],
        "LocalSecondaryIndexes": [
            {
                "IndexName": ORDER_INDEX,
                "KeySchema": [
                    {"AttributeName": PARTITION_KEY, "KeyType": "HASH"},
                    {"AttributeName": ORDER_KEY, "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    }


def user_partition(user_id: str) -> str:
    """Partition of a user's threads, attachments, idempotency keys and quota. `#` is doubled, so that no two users
    share a key.
    """
    return "USER#" + user_id.replace("#", "##")


def thread_partition(user_id: str, thread_id: str) -> str:
    """Partition of a thread's items, lease, journal and feedback."""
    return user_partition(user_id) + "#THREAD#" + thread_id


def owner_of(partition: str) -> tuple[str, str]:
    """(user, thread) of a partition key. The thread is "" in a user's own partition; both are "" in any other."""
    match = _OWNED.fullmatch(partition)
    return (match[1].replace("##", "#"), match[2] or "") if match else ("", "")


def thread_sort(thread_id: str) -> str:
    """Sort key of a thread in its user's partition."""
    return THREAD_PREFIX + thread_id


def item_sort(item_id: str) -> str:
    """Sort key of an item in its thread's partition."""
    return ITEM_PREFIX + item_id


def attachment_sort(attachment_id: str) -> str:
    """Sort key of an attachment in its user's partition."""
    return ATTACHMENT_PREFIX + attachment_id


def feedback_sort(item_id: str) -> str:
    """Sort key of the feedback on an item in its thread's partition."""
    return FEEDBACK_PREFIX + item_id


def events_prefix(turn_id: str) -> str:
    """Prefix of the sort keys of a turn's journal."""
    return f"{EVENTS_PREFIX}{turn_id}#"


def events_sort(turn_id: str, batch: int) -> str:
    """Sort key of one batch of a turn's journal in its thread's partition."""
    return f"{events_prefix(turn_id)}{batch:06d}"


def request_sort(key: str) -> str:
    """Sort key of an idempotency key in its user's partition; also of the row that maps a turn to its thread."""
    return REQUEST_PREFIX + key


def inbox_partition(assistant: str) -> str:
    """Partition of an assistant's inbox for operators; "" is the assistant without a name."""
    return f"INBOX#{assistant}"


def matter_sort(occasion: str) -> str:
    """Sort key, in its thread's partition, of the row that leads to a matter in the inbox."""
    return MATTER_PREFIX + occasion


def sweep_partition(shard: int) -> str:
    """Partition of the pending sweeps; a thread's shard is `sweep_shard`."""
    return f"SWEEP#{shard}"


def sweep_shard(thread_id: str) -> int:
    """The number of the sweep partition that records the deletion of this thread."""
    return sha256(thread_id.encode()).digest()[0] % SWEEP_SHARDS


def sweep_sort(user_id: str, thread_id: str) -> str:
    """Sort key of a pending sweep: the thread's partition key, or its hash if that is too long for a sort key."""
    partition = thread_partition(user_id, thread_id)
    if len(partition.encode()) <= SORT_KEY_MAX_BYTES:
        return partition
    return "~" + sha256(partition.encode()).hexdigest()


def usage_partition(day: int) -> str:
    """Partition of what the stage used on one UTC day, by its number since 1970. Nothing in it belongs to a user."""
    return f"USAGE#{day}"


def usage_sort(assistant: str, model: str, release: str) -> str:
    """Sort key of one source's usage. Neither an assistant's name nor a release contains a `#`."""
    return f"{assistant}#{model}#{release}"


def usage_source(sort: str) -> tuple[str, str, str]:
    """(assistant, model, release) of a usage row's sort key."""
    assistant, _, rest = sort.partition("#")
    model, _, release = rest.rpartition("#")
    return assistant, model, release


def order_of(arrived_ns: int, row_id: str) -> str:
    """The `order` of an item or thread: fixed width, so that it sorts by time; the id makes it unique."""
    return f"{arrived_ns:0{ORDER_DIGITS}d}#{row_id}"


def arrived_ns(order: str) -> int:
    """The nanoseconds at the start of an `order`."""
    return int(order[:ORDER_DIGITS])


def object_segment(text: str) -> str:
    """`text` as one segment of an object key: unchanged if plain, else hashed, so that no id can escape its prefix."""
    return text if _PLAIN_SEGMENT.fullmatch(text) else "~" + sha256(text.encode()).hexdigest()


def user_objects(prefix: str, user_id: str) -> str:
    """Prefix of a user's objects under OFFLOAD_PREFIX, PENDING_PREFIX or KEPT_PREFIX."""
    return f"{prefix}{object_segment(user_id)}/"


def thread_objects(user_id: str, thread_id: str) -> str:
    """Prefix of a thread's offloaded payloads."""
    return f"{user_objects(OFFLOAD_PREFIX, user_id)}{object_segment(thread_id)}/"


def offload_object(user_id: str, thread_id: str, item_id: str, write_id: str) -> str:
    """Key of one offloaded payload. Each write has its own key, so that no reader gets the bytes of another write."""
    return f"{thread_objects(user_id, thread_id)}{object_segment(item_id)}/{write_id}"


def attachment_payload(user_id: str, attachment_id: str, write_id: str) -> str:
    """Key of an attachment's metadata that is too large for a row. `~~` never occurs as a thread's segment."""
    return f"{user_objects(OFFLOAD_PREFIX, user_id)}~~/{object_segment(attachment_id)}/{write_id}"


def attachment_objects(user_id: str, attachment_id: str) -> str:
    """Prefix of an attachment's bytes once it belongs to a message."""
    return f"{user_objects(KEPT_PREFIX, user_id)}{object_segment(attachment_id)}/"


def row_of_attachment_object(key: str) -> tuple[str, str] | None:
    """The row of the attachment whose bytes have this key; None if the key contains a hash instead of an id."""
    match key.removeprefix(KEPT_PREFIX).split("/"):
        case [user_id, attachment_id, _] if _are_plain(user_id, attachment_id):
            return user_partition(user_id), attachment_sort(attachment_id)
        case _:
            return None


def row_of_payload(key: str) -> tuple[str, str] | None:
    """The row whose offloaded payload has this key; None if the key contains a hash instead of an id."""
    match key.removeprefix(OFFLOAD_PREFIX).split("/"):
        case [user_id, "~~", attachment_id, _] if _are_plain(user_id, attachment_id):
            return user_partition(user_id), attachment_sort(attachment_id)
        case [user_id, thread_id, item_id, _] if _are_plain(user_id, thread_id, item_id):
            return thread_partition(user_id, thread_id), item_sort(item_id)
        case _:
            return None


def _are_plain(*segments: str) -> bool:
    return all(_PLAIN_SEGMENT.fullmatch(segment) for segment in segments)
