"""Verifies installed wheels: compares each file with the hash in its wheel's RECORD. Knows no uv.

Without this check, a file that another program changed in uv's cache would go into the zip unnoticed.
"""

import base64
import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path

from infra.errors import BundleError

MAX_LISTED = 5  # wrong files in the error; one is enough to know what to do


def verify(folder: Path) -> int:
    """Check the files under `folder` and return their number; BundleError if one differs or is in no RECORD."""
    wrong: list[str] = []
    listed: set[Path] = set()
    checked = 0
    for record in sorted(folder.glob("*.dist-info/RECORD")):
        listed.add(record)
        for path, expected in _entries(record, folder=folder):
            listed.add(path)
            if not expected:
                continue  # RECORD itself, and files that the installer added
            checked += 1
            if not path.is_file() or _digest(path, expected) != expected:
                wrong.append(str(path.relative_to(folder)))
    wrong += [
        str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file() and path not in listed
    ]
    if wrong:
        listing = ", ".join(wrong[:MAX_LISTED]) + (" and more" if len(wrong) > MAX_LISTED else "")
        raise BundleError(f"{listing}: not what the wheels hold. Run `uv cache clean`, then build again.")
    return checked


def _entries(record: Path, *, folder: Path) -> Iterator[tuple[Path, str]]:
    """The files of one wheel inside `folder`, each with `algorithm=digest` or ''. Scripts are not shipped."""
    with record.open(encoding="utf-8", newline="") as lines:
        for name, expected, _ in csv.reader(lines):
            path = folder / name
            inside = ".." not in Path(name).parts and path.relative_to(folder).parts[0] != "bin"
            if inside and not name.startswith("/"):
                yield path, expected


def _digest(path: Path, expected: str) -> str:
    algorithm = expected.partition("=")[0]
    digest = hashlib.new(algorithm, path.read_bytes()).digest()
    return f"{algorithm}={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"
