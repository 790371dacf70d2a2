"""Writes one benchmark's section of docs/benchmarks.md, between its two marks."""

import platform
from collections.abc import Sequence
from pathlib import Path

REPORT = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"


def machine() -> str:
    """Where it ran."""
    return f"{platform.system()} {platform.machine()}, CPython {platform.python_version()}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def section(mark: str, lines: Sequence[str]) -> str:
    """The section between its marks."""
    return "\n".join([f"<!-- {mark}: begin -->", *lines, f"<!-- {mark}: end -->"]) + "\n"


def write(mark: str, text: str) -> None:
    """Put the section in the place of the last one of that name, or at the end."""
    page = REPORT.read_text(encoding="utf-8")
    before, found, rest = page.partition(f"<!-- {mark}: begin -->")
    after = rest.partition(f"<!-- {mark}: end -->")[2].lstrip("\n") if found else ""
    parts = [before.rstrip(), text.rstrip(), after.rstrip()]
    REPORT.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")
