"""Writes a benchmark's section of docs/reference/benchmarks.md between its markers, and marks missed targets."""

import platform
import re
from collections.abc import Sequence
from pathlib import Path

AIM = "aimed at"  # heading of a column with upper bounds for the column before it
MISSED = " **missed**"
QUANTITY = re.compile(r"(\d[\d,]*(?:\.\d+)?) ?(x|ms|us|s|bytes|KB|MB|MiB)?(?![\w.])")
REPORT = Path(__file__).resolve().parents[2] / "docs" / "reference" / "benchmarks.md"


def machine() -> str:
    """The machine and Python version of this run."""
    return f"{platform.system()} {platform.machine()}, CPython {platform.python_version()}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def section(mark: str, lines: Sequence[str]) -> str:
    """The section between its markers."""
    return "\n".join([f"<!-- {mark}: begin -->", *lines, f"<!-- {mark}: end -->"]) + "\n"


def marked(text: str) -> str:
    """The text, in which exactly the missed targets of its tables are marked."""
    lines, column = [], None
    for line in text.split("\n"):
        cells = line.split(" | ")
        if AIM in line and line.startswith("|"):
            column = next(number for number, cell in enumerate(cells) if cell.strip(" |") == AIM)
        elif not line.startswith("|"):
            column = None
        elif column is not None and len(cells) > column:
            measured, aim = cells[column - 1], cells[column].replace(MISSED, "")
            end = " |" if aim.endswith(" |") else ""
            cells[column] = aim.removesuffix(" |") + (MISSED if is_missed(measured, aim) else "") + end
        lines.append(" | ".join(cells))
    return "\n".join(lines)


def is_missed(measured: str, aim: str) -> bool:
    """Whether a measured quantity exceeds its target. Quantities of the same unit are compared in order.

    `70 s, 18 s of them CPU` misses `60 s`; `33 MB, 94 MB unzipped` meets `40 MB, 110 MB`; `99 of 100` misses `all`.
    Text in parentheses explains a figure and is not compared.
    """
    if share := re.match(r"(\d+) of (\d+)", measured):
        return share[1] != share[2]
    figures, aims = _quantities(re.sub(r"\(.*?\)", "", measured)), _quantities(aim)
    for unit in dict.fromkeys(unit for _, unit in aims):
        limits = [number for number, aim_unit in aims if aim_unit == unit]
        values = [number for number, value_unit in figures if "" in (unit, value_unit) or value_unit == unit]
        values = values[:1] if not unit else values
        pairs = zip(values, limits, strict=False) if len(limits) > 1 else ((number, limits[0]) for number in values)
        if any(number > limit for number, limit in pairs):
            return True
    return False


def _quantities(text: str) -> list[tuple[float, str]]:
    return [(float(number.replace(",", "")), unit) for number, unit in QUANTITY.findall(text)]


def read(mark: str) -> str:
    """The section that the page has under this marker, or an empty string."""
    match = re.search(rf"<!-- {mark}: begin -->.*?<!-- {mark}: end -->\n?", REPORT.read_text("utf-8"), re.DOTALL)
    return match[0] if match else ""


def write(mark: str, text: str) -> None:
    """Replace the section with this marker, or append it."""
    page = REPORT.read_text(encoding="utf-8")
    before, begin, rest = page.partition(f"<!-- {mark}: begin -->")
    after = rest.partition(f"<!-- {mark}: end -->")[2].lstrip("\n") if begin else ""
    parts = [before.rstrip(), marked(text).rstrip(), after.rstrip()]
    REPORT.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")
