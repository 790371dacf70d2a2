"""Arrival times of items: a hybrid logical clock per thread. Knows no row and no wall but the one handed in.

A thread's next item is ordered after everything this store has read or written in that thread, whatever the
clocks of other machines said; between strangers the order holds up to their clock skew.
"""

from collections import OrderedDict
from collections.abc import Callable

MAX_AHEAD_NS = 300 * 1_000_000_000  # five minutes: no honest clock is further off, and one bad row must not drag all
MAX_THREADS = 10_000  # threads remembered, about 2 MB; the longest unused is forgotten first


class ThreadClocks:
    """`next` mints, `follow` learns. Not thread-safe: it belongs to one event loop."""

    def __init__(self, clock: Callable[[], int], *, on_ahead: Callable[[], None]) -> None:
        self._clock = clock
        self._on_ahead = on_ahead
        self._last: OrderedDict[str, int] = OrderedDict()

    def next(self, thread: str) -> int:
        """Nanoseconds since 1970, later than everything known of `thread` (any key that names it)."""
        arrived = max(self._clock(), self._last.get(thread, 0) + 1)
        self._remember(thread, arrived)
        return arrived

    def follow(self, thread: str, arrived: int) -> None:
        """Learn that something in `thread` arrived at `arrived`; over five minutes ahead is counted, not followed."""
        if arrived > self._clock() + MAX_AHEAD_NS:
            self._on_ahead()
        elif arrived > self._last.get(thread, 0):
            self._remember(thread, arrived)

    def last(self, thread: str) -> int:
        """The newest arrival known of `thread`, for a lease to hand over; 0 when nothing is."""
        return self._last.get(thread, 0)

    def _remember(self, thread: str, arrived: int) -> None:
        self._last[thread] = arrived
        self._last.move_to_end(thread)
        if len(self._last) > MAX_THREADS:
            self._last.popitem(last=False)
