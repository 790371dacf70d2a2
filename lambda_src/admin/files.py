"""Exports as files: one JSON object per line, with the user it belongs to. Knows no store's inside and no terminal."""

import csv
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from lambda_src.admin.stores import AdminStore, as_user
from lambda_src.errors import RequestError
from lambda_src.store.ports import Record


async def export_lines(store: AdminStore, user_id: str) -> AsyncIterator[Record]:
    """Everything of a user's, each record with its `user`."""
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


def read_map(path: Path) -> dict[str, str]:
    """The pairs `old user,new user` of a CSV file."""
    with path.open(newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    if any(len(row) != 2 for row in rows):
        raise RequestError(f"Every line of {path} must be: old user,new user")
    return dict(row for row in rows)


async def import_records(
    store: AdminStore, records_: Iterable[Record], *, users: Mapping[str, str], dry_run: bool
) -> AsyncIterator[bool]:
    """Put records back under their user, or the one it is mapped to; True for each that was new.

    What is there already is passed over, so an import that died is finished by running it again.
    """
    for record in records_:
        plain = {name: value for name, value in record.items() if name not in ("user", "links", "files")}
        who = as_user(users.get(record["user"], record["user"]))
        yield True if dry_run else await store.import_record(plain, who)


def json_lines(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines."""
    for line in lines:
        yield json.loads(line)
