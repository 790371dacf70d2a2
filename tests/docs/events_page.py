"""Reads the tables of docs/events.md, which say what each model event and each error becomes."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "events.md"

Row = dict[str, str]  # a column's heading to its cell; code marks are removed


def rows(section: str) -> dict[str, Row]:
    """The first table of a section (`## <section>`), by its first column; one row may name several, with commas."""
    found = PAGE.read_text(encoding="utf-8").partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    assert found, f"docs/events.md has no section '{section}'"
    first = found[found.index("\n|") + 1 :].partition("\n\n")[0]
    heading, _, *lines = [_cells(line) for line in first.splitlines()]
    named = [(name, dict(zip(heading, cells, strict=True))) for cells in lines for name in cells[0].split("`, `")]
    assert len(dict(named)) == len(named), f"docs/events.md names something twice under '{section}'"
    return dict(named)


def unknown(section: str, names: set[str]) -> str:
    """What the page's section and the SDK's names do not share, as a sentence for a failed test; "" if nothing."""
    told = set(rows(section))
    new, gone = sorted(names - told), sorted(told - names)
    return " ".join(
        f"docs/events.md, '{section}': {what} {', '.join(which)}."
        for what, which in (("add a row for", new), ("the SDK no longer has", gone))
        if which
    )


def _cells(line: str) -> list[str]:
    return [re.sub(r"^`(.*)`$", r"\1", cell.strip()) for cell in line.strip("|").split("|")]
