"""Fixes of the past, each of which can be reverted, to see which seed finds it.

A revert replaces a text of the product. `make simulate SEEDS=40 FLAGS=--reverts` prints the table of
docs/explanation/simulation.md.
"""

import shutil
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

    @property
    def path(self) -> Path:
        """The file."""
        return ROOT / "lambda_src" / self.file

    def text_without(self) -> str:
        """The text of the file without the fix."""
        text = self.path.read_text(encoding="utf-8")
        assert text.count(self.old) == 1, f"{self.name}: {self.file} has changed, change the revert with it"
        return text.replace(self.old, self.new)


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
        "if not await self._turns.close(guest_id, thread_id):",
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
        " AND {turn_rows.NOT_HELD} AND {_NOT_THIS_CALL}",
        " AND {turn_rows.NOT_HELD}",
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
        (copy / "lambda_src" / revert.file).write_text(revert.text_without(), encoding="utf-8")
        yield copy
