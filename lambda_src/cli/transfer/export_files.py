"""Exports as files: one JSON object per line, with the user it belongs to. Knows no store's inside and no terminal."""

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


def read_records(lines: Iterable[str]) -> Iterator[Record]:
    """The records of a file. RequestError names the first line that is none."""
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            kind, user, record_id = record["kind"], record["user"], record["id"]
        except (ValueError, KeyError, TypeError):
            raise RequestError(f"Line {number} is not a record of an export.") from None
        if kind not in ("thread", "item", "attachment", "feedback") or not isinstance(user + record_id, str):
            raise RequestError(f"Line {number} is not a record of an export.")
        yield record


def text_lines(path: Path) -> Iterator[str]:
    """The lines of a text file. RequestError: it is not UTF-8."""
    with path.open(encoding="utf-8") as lines:
        try:
            yield from lines
        except UnicodeDecodeError:
            raise RequestError(f"{path} is not a UTF-8 text file.") from None


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
    """The objects of a file of JSON lines. RequestError names the first line that is none."""
    for number, line in enumerate(text_lines(path), 1):
        try:
            value = json.loads(line)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise RequestError(f"Line {number} of {path} is damaged: it is not a JSON object.")
        yield value
