"""ChatKit's JSON format, safe for browsers: a UTC offset on every time, null for NaN and Infinity. Pure.

Browsers read a time without an offset as local time. JSON has no NaN and no Infinity, so a single one, from a tool or
from the store, would make the whole response unparseable.
"""

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_json


def encoded(obj: BaseModel) -> bytes:
    """`obj` as ChatKit's server encodes it, but with every time in UTC. Naive times are UTC, as in the process."""
    plain = obj.model_dump(by_alias=True, exclude_none=True, context={"exclude_metadata": True})
    return to_json(_in_utc(plain), inf_nan_mode="null")


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
