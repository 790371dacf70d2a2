"""Reads the tables of docs/reference/events.md, which map model events and errors to what the client receives."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "events.md"

Row = dict[str, str]  # column heading -> cell without backticks


def rows(section: str) -> dict[str, Row]:
    """Return the rows of a section's first table by the names in the first column; a row may list several names."""
    text = PAGE.read_text(encoding="utf-8").partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    assert text, f"docs/reference/events.md has no section '{section}'"
    first = text[text.index("\n|") + 1 :].partition("\n\n")[0]
    heading, _, *lines = [_cells(line) for line in first.splitlines()]
    named = [(name, dict(zip(heading, cells, strict=True))) for cells in lines for name in cells[0].split("`, `")]
    assert len(dict(named)) == len(named), f"docs/reference/events.md names something twice under '{section}'"
    return dict(named)


def unknown(section: str, names: set[str]) -> str:
    """Describe how the names in a section and in the SDK differ, for a failed assertion; "" if they are equal."""
    documented = set(rows(section))
    new, gone = sorted(names - documented), sorted(documented - names)
    return " ".join(
        f"docs/reference/events.md, '{section}': {problem} {', '.join(differing)}."
        for problem, differing in (("add a row for", new), ("the SDK no longer has", gone))
        if differing
    )


def _cells(line: str) -> list[str]:
    return [re.sub(r"^`(.*)`$", r"\1", cell.strip()) for cell in line.strip("|").split("|")]
