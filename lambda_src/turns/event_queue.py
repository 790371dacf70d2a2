"""A turn's events on their way out: an unbounded queue to the turn's one reader, beside the journal.

An asyncio.Queue would do the same, at three times the cost per item.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

from lambda_src.turns.journal import Journal
from lambda_src.turns.lease import Lease
from lambda_src.turns.persistence import InterruptReason

T = TypeVar("T")


class OneReaderQueue(Generic[T]):
    """Any task may `put`. The one reader takes items while there are any, and otherwise awaits `more`."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._reader: asyncio.Future[None] | None = None  # set while the reader waits
        self._loop = asyncio.get_running_loop()

    @property
    def is_empty(self) -> bool:
        return not self._items

    def put(self, item: T) -> None:
        """Add an item, and wake the reader if it waits."""
        self._items.append(item)
        if self._reader is not None:
            if not self._reader.done():  # it is done when the reader was cancelled
                self._reader.set_result(None)
            self._reader = None

    def take(self) -> T:
        return self._items.popleft()

    def more(self) -> asyncio.Future[None]:
        """A future that is done as soon as there is an item to take."""
        more: asyncio.Future[None] = self._loop.create_future()
        if self._items:
            more.set_result(None)
        else:
            self._reader = more
        return more


@dataclass(frozen=True, slots=True)
class TurnEnd:
    """The last thing a reader gets: the error that ended the turn, and why it ended early, if it did."""

    error: Exception | None = None
    cut: InterruptReason | None = None


class TurnOutput:
    """Where a turn's events go: to its reader, and into its journal."""

    def __init__(self, journal: Journal, lease: Lease) -> None:
        self._journal, self._lease = journal, lease
        self.queue = OneReaderQueue[bytes | TurnEnd]()

    def emit(self, event: bytes) -> None:
        """Send one event. The journal is written early when a lot of it waits."""
        self.queue.put(event)
        if self._journal.add(event) and self._lease.thread_id is not None:
            self._journal.hurry(self._lease.thread_id)
