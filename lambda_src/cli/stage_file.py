"""Writes one variable of a stage into cdk.json. Everything else in the file stays as it is, byte for byte."""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lambda_src.errors import SettingsError

_DECODER = json.JSONDecoder()
_SPACE = " \t\r\n"


def set_variable(cdk_json: Path, stage: str, name: str, value: str) -> None:
    """Set `environment.name` of the stage. The file is replaced in one step. SettingsError: it cannot be."""
    file = cdk_json.resolve()
    try:
        before = file.read_bytes().decode("utf-8")
        after = with_member(before, ("context", "stages", stage, "environment", name), value)
        new = file.with_name(f".{file.name}.new")
        new.write_bytes(after.encode("utf-8"))
        shutil.copymode(file, new)
        new.replace(file)
    except (OSError, ValueError, TypeError, IndexError) as fault:
        reason = getattr(fault, "strerror", None) or "it is not the JSON that is expected"
        raise SettingsError(
            [f'{cdk_json} is not changed ({reason}): add "{name}": "{value}" to `environment` of stage {stage}.']
        ) from None


def with_member(text: str, keys: Sequence[str], value: str) -> str:
    """The JSON object in `text` with `value` at `keys`. ValueError, TypeError: it has no place for it."""
    start = _after_space(text, 0)
    for depth, key in enumerate(keys):
        if text[start] != "{":
            raise TypeError(f"{'.'.join(keys[:depth])} is no object")
        spans = [(at, end) for name, at, end in _members(text, start) if name == key]
        if not spans:
            missing: Any = value
            for inner in reversed(keys[depth + 1 :]):
                missing = {inner: missing}
            changed = _inserted(text, start, key, missing)
            break
        start, end = spans[-1]  # of a repeated key, JSON takes the last
    else:
        changed = text[:start] + json.dumps(value) + text[end:]
    json.loads(changed)
    return changed


def _members(text: str, start: int) -> Iterator[tuple[str, int, int]]:
    """The members of the object that begins at `start`: key, and where its value begins and ends."""
    at = _after_space(text, start + 1)
    while text[at] != "}":
        key, at = _DECODER.raw_decode(text, at)
        at = _after_space(text, _after_space(text, at) + 1)  # over the colon
        _, end = _DECODER.raw_decode(text, at)
        yield key, at, end
        at = _after_space(text, end)
        if text[at] == ",":
            at = _after_space(text, at + 1)


def _inserted(text: str, start: int, key: str, value: Any) -> str:  # noqa: ANN401 - any JSON
    """The text with a new last member in the object at `start`, spaced as the first member is."""
    first = _after_space(text, start + 1)
    member = f"{json.dumps(key)}: {json.dumps(value)}"
    ends = [end for _, _, end in _members(text, start)]
    if not ends:
        return f"{text[: start + 1]}{member}{text[first:]}"
    space = text[start + 1 : first] or " "
    return f"{text[: ends[-1]]},{space}{member}{text[ends[-1] :]}"


def _after_space(text: str, at: int) -> int:
    while text[at] in _SPACE:
        at += 1
    return at
