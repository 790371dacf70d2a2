"""Arrival times of items: a hybrid logical clock per thread. Knows no row and no wall but the one handed in.

A thread's next item is ordered after everything this store has read or written in that thread, whatever the
clocks of other machines said; between strangers the order holds up to their clock skew.

What a turn writes is ordered by its lease: a hair after the moment that its last renewal handed over. Who takes the
lease begins ROOM_NS later, so whatever the older turn still has under way then lands before it, however late it comes.
"""

from collections import OrderedDict
from collections.abc import Callable

MAX_AHEAD_NS = 300 * 1_000_000_000  # five minutes: no honest clock is further off, and one bad row must not drag all
ROOM_NS = 1_000_000  # a millisecond: a million items of one turn between two renewals
MAX_THREADS = 10_000  # threads remembered, about 2 MB; the longest unused is forgotten first
MAX_TURNS = 1_000  # leases remembered: more turns than a process runs at once


class ThreadClocks:
    """`next` mints, `follow` learns. Not thread-safe: it belongs to one event loop."""

    def __init__(self, clock: Callable[[], int], *, on_ahead: Callable[[], None]) -> None:
        self._clock = clock
        self._on_ahead = on_ahead
        self._last: OrderedDict[str, int] = OrderedDict()
        self._held: OrderedDict[tuple[str, str], tuple[int, int]] = OrderedDict()  # since when, and the last order

    def next(self, thread: str, turn_id: str | None = None) -> int:
        """Nanoseconds since 1970, later than everything known of `thread` (any key that names it).

        For a turn whose lease is known here: later than its own last item, before all of the next turn's.
        """
        if turn_id is not None and (held := self._held.get((thread, turn_id))) is not None:
            since, last = held
            arrived = max(since, last) + 1
            self._held[thread, turn_id] = since, arrived
        else:
            arrived = max(self._clock(), self._last.get(thread, 0) + 1)
        self._remember(thread, max(arrived, self._last.get(thread, 0)))
        return arrived

    def first(self, thread: str) -> int:
        """Where a turn that takes the lease begins, as far as this process knows: with room for what comes late."""
        return max(self._clock(), self._last.get(thread, 0) + ROOM_NS)

    def ahead(self, thread: str) -> int:
        """What a renewal hands over: no item of the turn is ordered ROOM_NS after it before the next renewal."""
        return max(self._clock(), self._last.get(thread, 0))

    def hold(self, thread: str, turn_id: str, since: int) -> None:
        """The lease is the turn's, and `since` handed over: its next items come right after that."""
        _, last = self._held.pop((thread, turn_id), (0, 0))
        self._held[thread, turn_id] = since, last
        self._remember(thread, max(since, self._last.get(thread, 0)))
        if len(self._held) > MAX_TURNS:
            self._held.popitem(last=False)

    def release(self, thread: str, turn_id: str) -> None:
        """The turn has ended: it writes nothing more."""
        self._held.pop((thread, turn_id), None)

    def reach(self, thread: str, turn_id: str | None) -> int | None:
        """The arrival behind which a turn may remove nothing: that is the next turn's. None without a lease here."""
        held = None if turn_id is None else self._held.get((thread, turn_id))
        return None if held is None else held[0] + ROOM_NS

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
