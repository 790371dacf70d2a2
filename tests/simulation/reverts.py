"""Fixes of the past, each of which can be reverted, to see which seed finds it: `python -m tests.simulation.reverts`.

A revert replaces a text in a copy of the product. Prints the table of docs/explanation/simulation.md.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Revert:
    """`name` is what the fix achieves; `old` is its text in `file`, `new` the text without it."""

    name: str
    file: str
    old: str
    new: str


REVERTS = (
    Revert(
        "a turn that loses its lease ends",
        "turns/turn_task.py",
        "        self._start(self._end_when_lease_is_lost())\n",
        "",
    ),
    Revert(
        "a Stop that comes before the turn begins stops it",
        "turns/turn_task.py",
        "if self._stop_requested and event",
        "if False and event",
    ),
    Revert(
        "an answer that was cut is charged",
        "meter.py",
        "return self._spent + sum(call.bound for call in self._open)",
        "return self._spent",
    ),
    Revert(
        "an answer nobody counted is charged",
        "meter.py",
        "self._spent += used or call.bound",
        "self._spent += used",
    ),
    Revert(
        "saving a thread does not bring it back after a delete",
        "store/dynamodb/threads.py",
        "conditions = [rows.NOT_DELETED if changes is None else rows.LISTED, rows.SCHEMA_KNOWN]",
        "conditions = [rows.SCHEMA_KNOWN]",
    ),
    Revert(
        "a title that a model suggests does not replace the owner's",
        "store/dynamodb/threads.py",
        "if changes is not None and in_turn:",
        "if False and changes is not None:",
    ),
    Revert(
        "a message that is sent again has the same id",
        "turns/duplicates.py",
        "turn.message_id = turn_ids.message_id(key)",
        "turn.message_id = None",
    ),
    Revert(
        "a batch of the journal that failed is sent again unchanged",
        "turns/journal.py",
        "if self._batch is None:",
        "if True:",
    ),
    Revert(
        "a turn first stores what its predecessor left",
        "turns/turn_task.py",
        "await recover(services, thread_id, previous, context)",
        "await asyncio.sleep(0)",
    ),
    Revert(
        "a reader recovers a crashed turn's answer",
        "turns/lifecycle.py",
        "if row is None or row.ended or not await self._has_died(thread_id, row, context):\n            return False",
        "if True:\n            return False",
    ),
    Revert(
        "a linked thread is closed before it is copied",
        "store/dynamodb/maintenance/handover.py",
        "if not await self._close(guest_id, thread_id):",
        "if False:",
    ),
    Revert(
        "an erasure deletes every thread first",
        "store/dynamodb/maintenance/userdata.py",
        "yield Erased(threads=int(await self._threads.delete(user_id, thread_id)))",
        "yield Erased()",
    ),
    Revert(
        "a newer turn's items come after all of the older one's",
        "store/clock.py",
        "return max(self._clock(), self._last.get(thread, 0) + WINDOW_NS)",
        "return self._clock()",
    ),
    Revert(
        "Regenerate waits for the turn whose answer it removes",
        "turns/turn_task.py",
        "await services.sleep(NOTICED_S)",
        "await services.sleep(0)",
    ),
    Revert(
        "a claim whose response was lost is recognized",
        "store/dynamodb/turns/idempotency.py",
        'if fault.old.get(turn_rows.MARK, {}).get("S") == mark:',
        "if False:",
    ),
    Revert(
        "a lease whose response was lost is not its own predecessor",
        "store/dynamodb/turns/leases.py",
        "{rows.NOT_DELETED} AND {_NOT_THIS_CALL}",
        "{rows.NOT_DELETED} AND (attribute_not_exists(#{turn_rows.MARK}) OR #{turn_rows.MARK} <> :ttl_)",
    ),
    Revert(
        "an answer is stored again when the store is back",
        "turns/closing.py",
        "            await self._store_when_possible(cut)\n",
        "            pass\n",
    ),
    Revert(
        "a lease is ended only when the answer is stored",
        "turns/closing.py",
        "        if not self._is_stored:\n            return True\n",
        "",
    ),
    Revert(
        "a crashed turn does not count as running",
        "turns/lifecycle.py",
        "if not dead:",
        "if True:",
    ),
    Revert(
        "an item that a turn began and did not end is removed from the page",
        "turns/closing.py",
        "            self._remove_open_items()\n",
        "",
    ),
    Revert(
        "a turn journals its last events before it ends its lease",
        "turns/closing.py",
        "        await self._write_journal(cut)\n        if cut",
        "        if cut",
    ),
    Revert(
        "a counter's correction is counted once",
        "store/dynamodb/counters.py",
        'conditions.append("(attribute_not_exists(#mark) OR #mark <> :mark)")',
        'conditions.append("(attribute_not_exists(#mark) OR #mark <> :ttl)")',
    ),
)


@contextmanager
def without(revert: Revert) -> Iterator[Path]:
    """A copy of the product without a fix."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        shutil.copytree(
            ROOT / "lambda_src", copy / "lambda_src", ignore=shutil.ignore_patterns("web", "agent", "__pycache__")
        )
        (copy / "tests").symlink_to(ROOT / "tests")
        file = copy / "lambda_src" / revert.file
        text = file.read_text(encoding="utf-8")
        assert text.count(revert.old) == 1, f"{revert.name}: {revert.file} has changed, change the revert with it"
        file.write_text(text.replace(revert.old, revert.new), encoding="utf-8")
        yield copy


def seed_that_finds(revert: Revert, seeds: str) -> tuple[str, str] | None:
    """The first seed that breaks a promise without the fix, and the promise; None if none does."""
    with without(revert) as copy:
        command = [sys.executable, "-m", "tests.simulation", "--seeds", seeds, "--no-shrink"]
        played = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    found = re.search(r"^([a-z-]+): .*?^make simulate SEED=(\d+)", played.stdout, re.MULTILINE | re.DOTALL)
    if played.returncode and found is None:
        return "?", (played.stdout + played.stderr)[-500:]
    broken = re.findall(r"\n\n([a-z-]+): ", played.stdout)
    return (found[2], broken[-1]) if found is not None else None


def main(arguments: list[str]) -> int:
    """Exit code 0: every revert was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.reverts")
    parser.add_argument("--seeds", default="300")
    parser.add_argument("--only", default="")
    options = parser.parse_args(arguments)
    missed = 0
    print("| without the fix: | found by seed | promise |\n|---|---|---|")
    for revert in REVERTS:
        if options.only in revert.name:
            found = seed_that_finds(revert, options.seeds)
            missed += found is None
            print(f"| {revert.name} | {found[0] if found else 'none'} | {found[1] if found else ''} |", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
