"""The rows as a JSON file that is safe to publish, and as a table. Knows no HTTP.

The file has no addresses or accounts: only the kind and region of the host, and anything that looks like an account id,
an AWS address or a token is replaced in every sentence.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from lambda_src.dev.verify.row import Outcome, Row

COLOURS = {
    Outcome.OK: "green",
    Outcome.FAILED: "red",
    Outcome.SEEN: "cyan",
    Outcome.NOT_SEEN: "dim",
    Outcome.NOT_HERE: "dim",
}
EMULATOR = "emulator"
_KINDS = (
    (re.compile(r"[a-z0-9]+\.lambda-url\.([a-z0-9-]+)\.on\.aws"), "function url"),
    (re.compile(r"[a-z0-9]+\.execute-api\.([a-z0-9-]+)\.amazonaws\.com"), "api gateway"),
    (re.compile(r"[a-z0-9]+\.cloudfront\.(net)"), "cloudfront"),
    (re.compile(r"127\.0\.0\.1|localhost|\[::1]"), EMULATOR),
)
_PRIVATE = re.compile(
    r"\b\d{12}\b|\b[a-z0-9-]+\.(?:lambda-url\.[a-z0-9-]+\.on\.aws|execute-api\.[a-z0-9-]+\.amazonaws\.com|cloudfront\.net)"
    r"|arn:aws[^\s\"]*|eyJ[\w-]+\.[\w-]+\.[\w-]+"
    r"|\b[a-z0-9.-]+\.amazonaws\.com\b(?<!\bcheckip\.amazonaws\.com)|\bchatkit-[a-z0-9-]+-(?:api|data|edge)-[\w-]+"
    r"|[^\s@\"]+@[^\s@\"]+\.[a-z]{2,}"
)


def kind_of(url: str) -> tuple[str, str | None]:
    """The kind of endpoint at a URL, and its region if the URL contains it; any other host is a custom domain."""
    host = urlsplit(url).netloc.rpartition("@")[2].partition(":")[0] or ""
    for pattern, kind in _KINDS:
        if match := pattern.fullmatch(host):
            region = match[1] if match.groups() and match[1] != "net" else None
            return kind, region
    return "domain", None


def scrubbed(text: str) -> str:
    """`text` without anything that identifies the deployment."""
    return _PRIVATE.sub("(withheld)", text)


def document(url: str, rows: Iterable[Row], *, when: datetime, release: str) -> dict[str, object]:
    """The content of the JSON file."""
    kind, region = kind_of(url)
    host = urlsplit(url).hostname or ""
    scrubbed_rows = [
        asdict(row) | {"what": scrubbed(row.what).replace(host, "(withheld)" if host else "")} for row in rows
    ]
    return {
        "kind": kind,
        "region": region,
        "when": when.strftime("%Y-%m-%d"),
        "release": release,
        "rows": scrubbed_rows,
    }


def write(folder: Path, result: dict[str, object]) -> Path:
    """Write the result to `folder`, named by date and kind; a second one on the same day replaces the first."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result['when']}-{str(result['kind']).replace(' ', '-')}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return path


def show(rows: Iterable[Row], console: Console) -> None:
    """Print the rows as a table."""
    table = Table(box=None, pad_edge=False)
    for heading in ("", "row", "what"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(f"[{COLOURS[row.outcome]}]{row.outcome}[/]", row.name, row.what)
    console.print(table)
