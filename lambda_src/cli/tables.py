"""Prints rows as a table, CSV or JSON. Knows no command."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

NOTHING = "-"  # an empty value in a table, such as the assistant without a name


class Format(StrEnum):
    """How rows are printed."""

    table = "table"
    csv = "csv"
    json = "json"


def print_rows(rows: Sequence[Mapping[str, Any]], how: Format, file: Any, *, summed: bool = False) -> None:  # noqa: ANN401 - a text file
    """Print rows, which all have the same keys. A table ends with the sums of its numbers if `summed`."""
    match how:
        case Format.json:
            json.dump(list(rows), file, indent=2)
            file.write("\n")
        case Format.csv if rows:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        case Format.table if rows:
            file.writelines(f"{line}\n" for line in _lines(rows, summed=summed))
        case _:
            pass


def _lines(rows: Sequence[Mapping[str, Any]], *, summed: bool) -> Iterator[str]:
    names = list(rows[0])
    texts = [name for name in names if all(isinstance(row[name], str) for row in rows)]
    cells = [[name.replace("_", " ") for name in names]]
    cells += [[_cell(row[name]) for name in names] for row in rows]
    if summed:
        sums = {name: _cell(sum(row[name] or 0 for row in rows)) for name in names if name not in texts}
        cells.append([sums.get(name, "total" if name == names[0] else "") for name in names])
    widths = [max(len(line[at]) for line in cells) for at in range(len(names))]
    for line in cells:
        padded = [
            cell.ljust(width) if name in texts else cell.rjust(width)
            for cell, width, name in zip(line, widths, names, strict=True)
        ]
        yield "  ".join(padded).rstrip()


def _cell(value: object) -> str:
    match value:
        case None | "":
            return NOTHING
        case float():
            return f"{value:,.4f}"
        case int():
            return f"{value:,}"
        case _:
            return str(value)
