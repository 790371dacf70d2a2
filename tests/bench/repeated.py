"""Runs every benchmark several times, and writes medians and ranges into docs/reference/benchmarks.md.

    .venv/bin/python -m tests.bench.repeated [--runs 5] [--only bench-turn bench-cold]

Each run is a process that writes its own section. The sections are then merged: a number that differs between runs
becomes the median, with the lowest and the highest in parentheses. A note says how much CPU other processes used
meanwhile. It takes hours; --only selects benchmarks. Linux only.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench import report

BENCHMARKS = {
    "bench-runtime": (),
    "bench-store": ("--dynamodb-local",),
    "bench-turns": (),
    "bench-cold": (),
    "bench-turn": (),
    "bench-streams": (),
    "bench-page": (),
    "bench-people": (),
    "bench-auth": (),
    "bench-journal": (),
}
SHARE = re.compile(r"(\d+) of (\d+)")
TICKS = os.sysconf("SC_CLK_TCK")


class MismatchError(Exception):
    """The tables of the runs cannot be merged, because they differ in rows or in words."""


def merged(sections: Sequence[str], note: str) -> str:
    """Merge the sections of several runs. `note` becomes the paragraph before the first table."""
    lines: list[str] = []
    for versions in _zipped([section.split("\n") for section in sections]):
        if versions[0].startswith("|"):
            if not any(line.startswith("|") for line in lines):
                lines += [note, ""]
            cells = _zipped([line.replace(report.MISSED, "").split(" | ") for line in versions])
            lines.append(" | ".join(merged_cell(cell) for cell in cells))
        else:
            lines.append(versions[-1])
    return "\n".join(lines)


def merged_cell(cells: Sequence[str]) -> str:
    """`0.4x`, `0.5x` and `0.7x` become `0.5x (0.4 to 0.7)`; of `9 of 10` and `10 of 10`, the worst remains."""
    if len(set(cells)) == 1:
        return cells[0]
    if all(SHARE.match(cell) for cell in cells):
        return min(cells, key=lambda cell: int(cell.partition(" of ")[0]))
    words = {re.sub(report.QUANTITY, _unit, cell) for cell in cells}
    if len(words) != 1:
        raise MismatchError(f"no two runs may differ in more than numbers: {' / '.join(cells)}")
    quantities = [[match[1] for match in report.QUANTITY.finditer(cell)] for cell in cells]
    columns = iter(_zipped(quantities))

    def replaced(match: re.Match[str]) -> str:
        numbers = next(columns)
        suffix = match[0][len(match[1]) :]
        unit, gap = suffix.rstrip(), suffix[len(suffix.rstrip()) :]
        text = f"{_median(numbers)}{unit}"
        in_brackets = match.string.count("(", 0, match.start()) > match.string.count(")", 0, match.start())
        if in_brackets or len(set(numbers)) == 1:
            return text + gap
        return f"{text} ({min(numbers, key=_value)} to {max(numbers, key=_value)}){gap}"

    return re.sub(report.QUANTITY, replaced, cells[0]).replace(") (", "; ")


def _zipped(lists: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    if len(set(map(len, lists))) != 1:
        raise MismatchError("the runs' tables do not have the same rows and columns")
    return list(zip(*lists, strict=True))


def _unit(match: re.Match[str]) -> str:
    return f"#{match[0][len(match[1]) :]}"


def _value(number: str) -> float:
    return float(number.replace(",", ""))


def _median(numbers: Sequence[str]) -> str:
    """The median, with as many decimals as the most precise number."""
    decimals = max(len(number.partition(".")[2]) for number in numbers)
    comma = "," if any("," in number for number in numbers) else ""
    return f"{statistics.median(map(_value, numbers)):{comma}.{decimals}f}"


def others_cpu_s() -> float:
    """CPU seconds of this machine used by other processes than this one and its finished children."""
    busy = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(ticks) / TICKS for ticks in busy[:8])
    times = os.times()
    ours = times.user + times.system + times.children_user + times.children_system
    return user + nice + system + irq + softirq + steal - ours


def repeat(mark: str, arguments: Sequence[str], runs: int) -> None:
    """Run a benchmark `runs` times and write its merged section."""
    sections: list[str] = []
    loads: list[float] = []
    for number in range(runs):
        sys.stderr.write(f"{mark}: run {number + 1} of {runs}\n")
        began_s, others_s = time.monotonic(), others_cpu_s()
        module = f"tests.bench.{mark.replace('-', '_')}"
        subprocess.run([sys.executable, "-m", module, *arguments], check=True, stdout=subprocess.DEVNULL)
        loads.append(max(0.0, (others_cpu_s() - others_s) / (time.monotonic() - began_s)))
        sections.append(report.read(mark))
    note = (
        f"Medians of {runs} runs, with the lowest and the highest value in parentheses. During the runs, other "
        f"processes used {min(loads):.1f} to {max(loads):.1f} of the machine's {os.cpu_count()} cores."
    )
    report.write(mark, merged(sections, note))


def main() -> None:
    """Run, merge and write. A benchmark that fails keeps its old section, and the others still run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=list(BENCHMARKS), default=list(BENCHMARKS))
    options = parser.parse_args()
    failed: list[str] = []
    for mark in options.only:
        before = report.read(mark)
        try:
            repeat(mark, BENCHMARKS[mark], options.runs)
        except (subprocess.CalledProcessError, MismatchError) as error:
            report.write(mark, before)
            failed.append(f"{mark}: {error}")
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
