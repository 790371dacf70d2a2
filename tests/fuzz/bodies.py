"""Hypothesis strategies for ChatKit request bodies, from the SDK's types: mostly valid, sometimes broken. No app.

They follow pydantic's JSON schema of ChatKitReq, so additions to the SDK are fuzzed automatically.
"""

import json
import warnings
from typing import Any

from chatkit.types import ChatKitReq
from hypothesis import strategies as st
from pydantic import TypeAdapter
from pydantic.json_schema import PydanticJsonSchemaWarning

with warnings.catch_warnings():
    warnings.simplefilter("ignore", PydanticJsonSchemaWarning)  # an SDK default is a type variable
    SCHEMA: dict[str, Any] = TypeAdapter(ChatKitReq).json_schema()
KNOWN_IDS = ("edited_item_id", "thr_ann", "msg_ann", "widget_ann", "form_ann", "call_ann", "atc_ann", "model", "")

text = st.one_of(st.sampled_from(KNOWN_IDS), st.text(max_size=40))
scalar = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), text)
anything: st.SearchStrategy[Any] = st.recursive(
    scalar, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(text, inner, max_size=4)), max_leaves=8
)


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        resolved: dict[str, Any] = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
        return resolved
    return schema


def values_of(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for values that the schema allows, approximately."""
    schema = _resolved(schema)
    for choice in ("oneOf", "anyOf"):
        if choice in schema:
            return st.one_of([values_of(option) for option in schema[choice]])
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "object" if "properties" in schema:
            fields = {name: values_of(inner) for name, inner in schema["properties"].items()}
            required = {*schema.get("required", ()), *({"type"} & fields.keys())}
            return st.fixed_dictionaries(
                {name: value for name, value in fields.items() if name in required},
                optional={name: value for name, value in fields.items() if name not in required},
            )
        case "object":
            inner = schema.get("additionalProperties")
            return st.dictionaries(text, values_of(inner) if isinstance(inner, dict) else anything, max_size=3)
        case "array":
            return st.lists(values_of(schema.get("items", {})), max_size=4)
        case "string":
            return text
        case "integer":
            return st.integers()
        case "number":
            return st.floats(allow_nan=False, allow_infinity=False)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case _:
            return anything


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    paths = [path]
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in entries:
        paths += _paths(inner, (*path, name))
    return paths


def _put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _put(value[path[0]], path[1:], new)
    return copy


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Draw a body: valid, or with one value replaced by anything, or truncated."""
    value = draw(values_of(SCHEMA))
    fault = draw(st.sampled_from(["none", "none", "value", "cut"]))
    if fault == "value":
        value = _put(value, draw(st.sampled_from(_paths(value))), draw(anything))
    body = json.dumps(value).encode()
    return body[: draw(st.integers(0, len(body)))] if fault == "cut" else body
