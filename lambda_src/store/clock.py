"""Arrival times of items: a hybrid logical clock per thread. Reads only the wall clock that is passed in.

A thread's next item is ordered after everything that this store has read or written in that thread, even if other
machines' clocks disagree. Between processes that have not seen each other's items, the order is as good as their
clocks are synchronized.

Each renewal of a turn's lease stores a time. The turn's items are ordered within WINDOW_NS after that time, and the
next turn's items start WINDOW_NS after it. So writes of the older turn that are still in flight are ordered before the
newer turn's items, however late they arrive. A turn that has read an item past its window stores a later time before
it writes or deletes, provided that it still holds the lease (`needs_new_window`).
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

MAX_AHEAD_NS = 300 * 1_000_000_000  # five minutes: no working clock is further off, and one bad row must not move all
WINDOW_NS = 1_000_000  # a millisecond: a million items of one turn between two renewals
MAX_THREADS = 10_000  # threads kept in memory, about 2 MB; the least recently used is dropped first
MAX_TURNS = 1_000  # leases kept in memory: more turns than a process runs at once


@dataclass(slots=True)
class HeldLease:
    """A turn's lease as this process knows it. `lost`: another turn has it now, so the window no longer moves."""

    since: int
    last: int = 0  # arrival of the turn's newest item
    lost: bool = False


class ThreadClocks:
    """Issues arrival times (`next`) and observes those of other processes (`follow`). Not thread-safe: use it in one
    event loop.

    `thread` is any key that identifies a thread and its owner. `on_ahead` is called for a row too far in the future.
    """

    def __init__(self, clock: Callable[[], int], *, on_ahead: Callable[[], None]) -> None:
        self._clock = clock
        self._on_ahead = on_ahead
        self._last: OrderedDict[str, int] = OrderedDict()
        self._held: OrderedDict[tuple[str, str], HeldLease] = OrderedDict()

    def next(self, thread: str, turn_id: str | None = None) -> int:
        """An arrival time in nanoseconds since 1970, later than every item of `thread` that was seen here.

        For a turn whose lease this process holds: later than the turn's last item, before any item of the next turn.
        """
        newest = self._last.get(thread, 0)
        if turn_id is not None and (held := self._held.get((thread, turn_id))) is not None:
            seen = newest if newest < held.since + WINDOW_NS else 0  # later ones are the next turn's
            held.last = arrived = max(held.since, held.last, seen) + 1
        else:
            arrived = max(self._clock(), newest + 1)
        self._remember(thread, max(arrived, newest))
        return arrived

    def first(self, thread: str) -> int:
        """The start of the window of a turn that takes the lease now, as far as this process knows. It leaves room for
        late writes of the previous turn.
        """
        return max(self._clock(), self._last.get(thread, 0) + WINDOW_NS)

    def ahead(self, thread: str) -> int:
        """The time that a renewal stores: until the next one, every item of the turn arrives within WINDOW_NS of it."""
        return max(self._clock(), self._last.get(thread, 0))

    def hold(self, thread: str, turn_id: str, since: int) -> None:
        """Record that the turn holds the lease and that `since` is stored: its next items come right after it."""
        before = self._held.pop((thread, turn_id), HeldLease(0))
        self._held[thread, turn_id] = HeldLease(since, before.last)
        self._remember(thread, max(since, self._last.get(thread, 0)))
        if len(self._held) > MAX_TURNS:
            self._held.popitem(last=False)

    def needs_new_window(self, thread: str, turn_id: str) -> bool:
        """Whether `thread` has an item past the turn's window while the turn may still hold the lease."""
        held = self._held.get((thread, turn_id))
        return held is not None and not held.lost and self._last.get(thread, 0) >= held.since + WINDOW_NS

    def lose(self, thread: str, turn_id: str) -> None:
        """Record that another turn has the lease: what this one still writes stays in its window."""
        if (held := self._held.get((thread, turn_id))) is not None:
            held.lost = True

    def release(self, thread: str, turn_id: str) -> None:
        """Drop the lease of a turn that has ended and writes nothing more."""
        self._held.pop((thread, turn_id), None)

    def window_end(self, thread: str, turn_id: str | None) -> int | None:
        """The arrival from which items are the next turn's, so that this turn must not delete them. None without a
        lease.
        """
        held = None if turn_id is None else self._held.get((thread, turn_id))
        return None if held is None else held.since + WINDOW_NS

    def follow(self, thread: str, arrived: int) -> None:
        """Observe an arrival in `thread`. One more than five minutes in the future is counted and ignored."""
        if arrived > self._clock() + MAX_AHEAD_NS:
            self._on_ahead()
        elif arrived > self._last.get(thread, 0):
            self._remember(thread, arrived)

    def last(self, thread: str) -> int:
        """The newest arrival seen in `thread`; 0 if none was."""
        return self._last.get(thread, 0)

    def _remember(self, thread: str, arrived: int) -> None:
        self._last[thread] = arrived
        self._last.move_to_end(thread)
        if len(self._last) > MAX_THREADS:
            self._last.popitem(last=False)
