"""ChatKit's wire format, with an offset on every time: a naive one would be read in the browser's own zone. Pure."""

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_json


def encoded(obj: BaseModel) -> bytes:
    """`obj` as ChatKit's server encodes it; every time in UTC. Naive means UTC here, since the process runs in it."""
    plain = obj.model_dump(by_alias=True, exclude_none=True, context={"exclude_metadata": True})
    return to_json(_in_utc(plain))


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
