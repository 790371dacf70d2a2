"""Exports as files: one JSON object per line, with the user it belongs to. Knows no store's inside and no terminal."""

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from lambda_src.cli.stores import AdminStore, as_user
from lambda_src.errors import ConflictError, RequestError
from lambda_src.store.ports import Record


async def export_lines(store: AdminStore, user_id: str) -> AsyncIterator[Record]:
    """All data of a user, each record with its `user`."""
    async for record in store.export_user(as_user(user_id)):
        yield {"user": user_id, **record}


def line_of(record: Record) -> str:
    """A record as one line of JSON. NaN and Infinity become null: other programs could not read the line."""
    return to_json(record, inf_nan_mode="null").decode() + "\n"


def records_of(values: Iterable[dict[str, Any]]) -> Iterator[Record]:
    """The lines of an export as records. RequestError names the first line that is not a record."""
    for number, value in enumerate(values, 1):
        is_record = value.get("kind") in ("thread", "item", "attachment", "feedback")
        if not is_record or not all(isinstance(value.get(name), str) for name in ("user", "id")):
            raise RequestError(f"Line {number} is not a record of an export.")
        yield value


async def import_records(
    store: AdminStore,
    records_: Iterable[Record],
    *,
    user_of: Callable[[str], str],
    dry_run: bool,
    skip_changed: bool = False,
) -> AsyncIterator[bool]:
    """Put records back, under the user that `user_of` makes of theirs; True for each that was new.

    Records that are there already are left alone, so an import that died is finished by running it again. So are those
    that have changed here since, with `skip_changed`; without it, that is a ConflictError. RequestError: a record is
    damaged.
    """
    for record in records_:
        plain = {name: value for name, value in record.items() if name not in ("user", "links", "files")}
        who = as_user(user_of(record["user"]))
        try:
            yield True if dry_run else await store.import_record(plain, who)
        except ConflictError:
            if not skip_changed:
                raise
            yield False
        except (KeyError, TypeError, ValueError) as fault:
            raise RequestError(f"Record {record['id']} is damaged ({type(fault).__name__}).") from None


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines. RequestError names the first line that is not one."""
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not isinstance(value := _json(line), dict):
                    raise RequestError(f"Line {number} of {path} is damaged: it is not a JSON object.")
                yield value
    except UnicodeDecodeError:
        raise RequestError(f"{path} is not a UTF-8 text file.") from None


def _json(line: str) -> object:
    """The value of a line; None if it is not JSON."""
    with contextlib.suppress(ValueError):
        return json.loads(line)
    return None
