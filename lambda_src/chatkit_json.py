"""ChatKit's JSON format, safe for browsers: a UTC offset on every time, null for NaN and Infinity. Pure.

Browsers read a time without an offset as local time. JSON has no NaN and no Infinity, so a single one, from a tool or
from the store, would make the whole response unparseable. Attached files get a `size`, which ChatKit leaves out with
the rest of their metadata.
"""

from datetime import UTC, datetime
from typing import Any

from chatkit.types import FileAttachment, Page, Thread, ThreadItemDoneEvent, UserMessageItem
from pydantic import BaseModel
from pydantic_core import to_json


def encoded(obj: BaseModel) -> bytes:
    """`obj` as ChatKit's server encodes it, but with every time in UTC. Naive times are UTC, as in the process."""
    plain = obj.model_dump(by_alias=True, exclude_none=True, context={"exclude_metadata": True})
    _add_sizes(obj, plain)
    return to_json(_in_utc(plain), inf_nan_mode="null")


def _add_sizes(obj: object, plain: Any) -> None:  # noqa: ANN401 - the JSON of `obj`
    """Add the sizes of files to `plain`, the JSON of a thread, a page, an item, an event or an attachment."""
    match obj:
        case Thread(items=items):
            _add_sizes(items, plain["items"])
        case Page(data=data):
            for item, shown in zip(data, plain["data"], strict=True):
                _add_sizes(item, shown)
        case ThreadItemDoneEvent(item=item):
            _add_sizes(item, plain["item"])
        case UserMessageItem(attachments=attachments):
            for attachment, shown in zip(attachments, plain["attachments"], strict=True):
                _add_sizes(attachment, shown)
        case FileAttachment(metadata={"size": int(size)}):
            plain["size"] = size
        case _:
            pass


def _in_utc(value: Any) -> Any:  # noqa: ANN401 - any JSON-like value
    """`value` with every datetime in UTC."""
    match value:
        case datetime():
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        case dict():
            return {key: _in_utc(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_in_utc(inner) for inner in value]
        case _:
            return value
