"""Values to bytes and back: JSON as the model writes it, gzip where it wins, digests. Pure; knows no row.

Every stored payload has SCHEMA_VERSION beside it: ChatKit's minor versions change the models. A journal's batch under
1 KB is not compressed: DynamoDB bills by the KB, so gzip would cost CPU at every delta and save nothing.
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Literal, assert_never

from chatkit.types import Attachment, ThreadItem, ThreadMetadata, WorkflowItem
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from lambda_src.errors import TooLargeError
from lambda_src.store.ports import JournalBatch

SCHEMA_VERSION = 1
GZIP_FROM_BYTES = 1024  # below, DynamoDB bills the same 1 KB unit either way
GZIP_MUST_SAVE = 0.1  # less is not worth the CPU of every later read
GZIP_LEVEL = 6  # zlib's own default: text to a quarter at some 50 MB/s
BATCH_MAX_BYTES = 150 * 1024  # packed: as much as any other payload that stays in its row
BATCH_GZIP_LEVEL = 1  # events repeat themselves: half the CPU, and a second of them is one unit of 1 KB either way
LAST_BATCH = 999_999  # six digits in the key; a turn of 15 minutes writes some thousand batches
DIGEST_BYTES = 16
_GZIP_WINDOW = 31  # zlib's way to say: a gzip header around it

Encoding = Literal["json", "gzip"]
THREAD_FIELDS = frozenset(ThreadMetadata.model_fields)  # a full Thread has `items` too, which live in rows of their own

_ITEM: TypeAdapter[ThreadItem] = TypeAdapter(ThreadItem)
_ATTACHMENT: TypeAdapter[Attachment] = TypeAdapter(Attachment)
_MICROSECOND = timedelta(microseconds=1)
_BEFORE_ALL = timedelta(days=1)  # the largest offset from UTC: with it no time is negative


class UnreadableError(Exception):
    """Stored bytes that no longer make a value: an older or newer SDK wrote them, or they are damaged."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Stored bytes and how to read them."""

    data: bytes
    encoding: Encoding


def dump(model: BaseModel) -> bytes:
    """The whole model as JSON in UTF-8. Infinity and NaN survive, which pydantic's own JSON would turn into null.

    ValueError when it holds what no JSON can carry, a lone surrogate for one.
    """
    return _json(model.model_dump()).encode()


def pack(data: bytes, *, level: int = GZIP_LEVEL) -> Packed:
    """`data`, gzipped when it is over 1 KB and gzip saves at least a tenth."""
    if len(data) > GZIP_FROM_BYTES:
        squeezer = zlib.compressobj(level, zlib.DEFLATED, _GZIP_WINDOW)
        gzipped = squeezer.compress(data) + squeezer.flush()
        if len(gzipped) <= len(data) * (1 - GZIP_MUST_SAVE):
            return Packed(gzipped, "gzip")
    return Packed(data, "json")


def unpack(packed: Packed) -> bytes:
    """What `pack` was given; UnreadableError when the bytes are damaged."""
    match packed.encoding:
        case "json":
            return packed.data
        case "gzip":
            try:
                return zlib.decompress(packed.data, _GZIP_WINDOW)
            except zlib.error as fault:
                raise UnreadableError("the gzip is damaged") from fault
        case _:
            assert_never(packed.encoding)


def digest(data: bytes) -> bytes:
    """16 bytes that tell whether two payloads are the same."""
    return sha256(data).digest()[:DIGEST_BYTES]


def load_item(data: bytes) -> ThreadItem:
    """The item that `dump` was given; UnreadableError when this SDK does not know it."""
    try:
        return _ITEM.validate_json(data)
    except ValidationError as fault:
        raise UnreadableError("no item of this SDK") from fault


def is_open(item: ThreadItem) -> bool:
    """Whether the item is a workflow without a summary: the next run may go on with it, and adds it once more."""
    return isinstance(item, WorkflowItem) and item.workflow.summary is None


def is_open_workflow(data: bytes) -> bool:
    """The same of a dumped item; False for one that cannot be read."""
    try:
        return is_open(load_item(data))
    except UnreadableError:
        return False


def load_attachment(data: bytes) -> Attachment:
    """The attachment that `dump` was given; UnreadableError when this SDK does not know it."""
    try:
        return _ATTACHMENT.validate_json(data)
    except ValidationError as fault:
        raise UnreadableError("no attachment of this SDK") from fault


def dump_thread(thread: ThreadMetadata) -> dict[str, str]:
    """Each field of the thread as JSON of its own, so that a store can write what changed; `items` are left out."""
    fields = {name: _json(value) for name, value in thread.model_dump(include=set(THREAD_FIELDS)).items()}
    for text in fields.values():
        text.encode()  # a lone surrogate is refused here, as in dump
    return fields


def load_thread(fields: Mapping[str, str]) -> ThreadMetadata:
    """The thread that `dump_thread` was given; UnreadableError when this SDK does not know it."""
    try:
        return ThreadMetadata.model_validate_json("{" + ",".join(f'"{n}":{text}' for n, text in fields.items()) + "}")
    except ValidationError as fault:
        raise UnreadableError("no thread of this SDK") from fault


def thread_time_us(created_at: datetime) -> int:
    """Where a thread stands among others: microseconds since the day before the year 1, in UTC. Naive is UTC."""
    offset = created_at.utcoffset() or timedelta(0)
    return (created_at.replace(tzinfo=None) - datetime.min - offset + _BEFORE_ALL) // _MICROSECOND


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=to_jsonable_python)


def pack_batch(batch: JournalBatch) -> Packed:
    """The batch's bytes as they are stored. TooLargeError; ValueError for a number that no key has room for."""
    if not 0 <= batch.number <= LAST_BATCH:
        raise ValueError(f"A batch has a number from 0 to {LAST_BATCH}.")
    packed = pack(batch.data, level=BATCH_GZIP_LEVEL)
    if len(packed.data) > BATCH_MAX_BYTES:
        raise TooLargeError(f"This batch has {len(packed.data)} bytes; at most {BATCH_MAX_BYTES} can be kept.")
    return packed


def is_batch_number(text: str) -> bool:
    """Whether `text`, the end of a key, is a batch's number."""
    return len(text) == len(str(LAST_BATCH)) and text.isascii() and text.isdigit()
