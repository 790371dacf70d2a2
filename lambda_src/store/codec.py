"""Encodes ChatKit's models for storage: JSON, gzip where it pays, digests. Pure; knows no row.

SCHEMA_VERSION is stored with every payload, because ChatKit's minor versions change the models. A journal batch under
1 KB is not compressed: DynamoDB bills by the KB, so gzip would cost CPU for every delta and save nothing.
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Literal, assert_never

from chatkit.types import (
    Annotation,
    AssistantMessageContent,
    AssistantMessageItem,
    Attachment,
    FileTask,
    InferenceOptions,
    SearchTask,
    TaskItem,
    ThreadItem,
    ThreadMetadata,
    UserMessageItem,
    Workflow,
    WorkflowItem,
)
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from lambda_src.errors import TooLargeError
from lambda_src.store.ports import JournalBatch

SCHEMA_VERSION = 1
GZIP_FROM_BYTES = 1024  # below this, DynamoDB bills the same 1 KB unit either way
GZIP_MUST_SAVE = 0.1  # saving less is not worth the CPU of every later read
GZIP_LEVEL = 6  # zlib's default: text shrinks to a quarter at about 50 MB/s
BATCH_MAX_BYTES = 150 * 1024  # packed; the same limit as for any other payload in a row
BATCH_GZIP_LEVEL = 1  # half the CPU; events are repetitive, so a second of them fits in one 1 KB unit either way
LAST_BATCH = 999_999  # six digits in the key; a turn of 15 minutes writes about a thousand batches
DIGEST_BYTES = 16
_GZIP_WINDOW = 31  # tells zlib to add a gzip header

Encoding = Literal["json", "gzip"]
THREAD_FIELDS = frozenset(ThreadMetadata.model_fields)  # a full Thread also has `items`, which have their own rows

# ChatKit leaves these models incomplete. Completed first, the inner ones before the others, they are shared by the
# adapter and by all events that contain them; otherwise pydantic builds a copy for each.
_INCOMPLETE: tuple[type[BaseModel], ...] = (
    *(Annotation, AssistantMessageContent, SearchTask, FileTask, Workflow, InferenceOptions),
    *(UserMessageItem, AssistantMessageItem, TaskItem, WorkflowItem),
)
for _model in _INCOMPLETE:
    _model.model_rebuild()

_ITEM: TypeAdapter[ThreadItem] = TypeAdapter(ThreadItem)
_ATTACHMENT: TypeAdapter[Attachment] = TypeAdapter(Attachment)
_MICROSECOND = timedelta(microseconds=1)
_BEFORE_ALL = timedelta(days=1)  # the largest offset from UTC, so that no time is negative


class UnreadableError(Exception):
    """Stored bytes that cannot be decoded: an older or newer SDK wrote them, or they are damaged."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Stored bytes and their encoding."""

    data: bytes
    encoding: Encoding


def dump(model: BaseModel) -> bytes:
    """The whole model as JSON in UTF-8. Unlike pydantic's JSON, it preserves Infinity and NaN.

    ValueError if the model contains a value that JSON cannot represent, such as a lone surrogate.
    """
    return _json(model.model_dump()).encode()


def pack(data: bytes, *, level: int = GZIP_LEVEL) -> Packed:
    """`data`, gzipped if it is over 1 KB and gzip saves at least 10 %."""
    if len(data) > GZIP_FROM_BYTES:
        compressor = zlib.compressobj(level, zlib.DEFLATED, _GZIP_WINDOW)
        gzipped = compressor.compress(data) + compressor.flush()
        if len(gzipped) <= len(data) * (1 - GZIP_MUST_SAVE):
            return Packed(gzipped, "gzip")
    return Packed(data, "json")


def unpack(packed: Packed) -> bytes:
    """The bytes that were passed to `pack`; UnreadableError if they are damaged."""
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
    """A hash of 16 bytes by which payloads are compared."""
    return sha256(data).digest()[:DIGEST_BYTES]


def load_item(data: bytes) -> ThreadItem:
    """The item that was passed to `dump`; UnreadableError if this SDK cannot parse it."""
    try:
        return _ITEM.validate_json(data)
    except ValidationError as fault:
        raise UnreadableError("this SDK cannot parse the item") from fault


def is_open(item: ThreadItem) -> bool:
    """Whether the item is a workflow without a summary: the next run may continue it, and then adds it again."""
    return isinstance(item, WorkflowItem) and item.workflow.summary is None


def is_open_workflow(data: bytes) -> bool:
    """`is_open` for a dumped item; False if it cannot be read."""
    try:
        return is_open(load_item(data))
    except UnreadableError:
        return False


def load_attachment(data: bytes) -> Attachment:
    """The attachment that was passed to `dump`; UnreadableError if this SDK cannot parse it."""
    try:
        return _ATTACHMENT.validate_json(data)
    except ValidationError as fault:
        raise UnreadableError("this SDK cannot parse the attachment") from fault


def dump_thread(thread: ThreadMetadata) -> dict[str, str]:
    """Each field of the thread as separate JSON, so that a store can write only those that changed. Without `items`."""
    fields = {name: _json(value) for name, value in thread.model_dump(include=set(THREAD_FIELDS)).items()}
    for text in fields.values():
        text.encode()  # raises for a lone surrogate, as `dump` does
    return fields


def load_thread(fields: Mapping[str, str]) -> ThreadMetadata:
    """The thread that was passed to `dump_thread`; UnreadableError if this SDK cannot parse it."""
    try:
        return ThreadMetadata.model_validate_json("{" + ",".join(f'"{n}":{text}' for n, text in fields.items()) + "}")
    except ValidationError as fault:
        raise UnreadableError("this SDK cannot parse the thread") from fault


def thread_time_us(created_at: datetime) -> int:
    """A thread's position among others: microseconds since the day before year 1. A naive time is taken as UTC."""
    offset = created_at.utcoffset() or timedelta(0)
    return (created_at.replace(tzinfo=None) - datetime.min - offset + _BEFORE_ALL) // _MICROSECOND


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=to_jsonable_python)


def pack_batch(batch: JournalBatch) -> Packed:
    """The batch's bytes as stored. TooLargeError; ValueError for a number that does not fit in the key."""
    if not 0 <= batch.number <= LAST_BATCH:
        raise ValueError(f"The number of a batch must be from 0 to {LAST_BATCH}.")
    packed = pack(batch.data, level=BATCH_GZIP_LEVEL)
    if len(packed.data) > BATCH_MAX_BYTES:
        raise TooLargeError(f"This batch has {len(packed.data)} bytes; the limit is {BATCH_MAX_BYTES}.")
    return packed


def is_batch_number(text: str) -> bool:
    """Whether `text`, the end of a sort key, is a batch number."""
    return len(text) == len(str(LAST_BATCH)) and text.isascii() and text.isdigit()
