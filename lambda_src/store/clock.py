"""Arrival times of items: a hybrid logical clock per thread. Knows no row and no wall but the one handed in.

A thread's next item is ordered after everything this store has read or written in that thread, whatever the
clocks of other machines said; between strangers the order holds up to their clock skew.

The items of a turn are ordered by its lease, within ROOM_NS after the time that its last renewal handed over. Whoever
takes the lease next begins ROOM_NS after that time, so what the older turn still has on its way to the store lands
before the newer turn's items, however late it arrives. A turn that has read something behind this room hands a later
time on before it writes or deletes, if the lease is still its own (`is_outrun`).
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

MAX_AHEAD_NS = 300 * 1_000_000_000  # five minutes: no honest clock is further off, and one bad row must not drag all
ROOM_NS = 1_000_000  # a millisecond: a million items of one turn between two renewals
MAX_THREADS = 10_000  # threads remembered, about 2 MB; the longest unused is forgotten first
MAX_TURNS = 1_000  # leases remembered: more turns than a process runs at once


@dataclass(slots=True)
class Held:
    """A turn's lease as this process knows it. `lost`: another turn has it by now, so its room stays where it is."""

    since: int
    last: int = 0  # where the turn's newest item stands
    lost: bool = False


class ThreadClocks:
    """`next` mints, `follow` learns. Not thread-safe: it belongs to one event loop."""

    def __init__(self, clock: Callable[[], int], *, on_ahead: Callable[[], None]) -> None:
        self._clock = clock
        self._on_ahead = on_ahead
        self._last: OrderedDict[str, int] = OrderedDict()
        self._held: OrderedDict[tuple[str, str], Held] = OrderedDict()

    def next(self, thread: str, turn_id: str | None = None) -> int:
        """Nanoseconds since 1970, later than everything known of `thread` (any key that names it).

        For a turn whose lease is known here: later than its own last item, before all of the next turn's.
        """
        known = self._last.get(thread, 0)
        if turn_id is not None and (held := self._held.get((thread, turn_id))) is not None:
            read = known if known < held.since + ROOM_NS else 0  # beyond it are the next turn's items
            held.last = arrived = max(held.since, held.last, read) + 1
        else:
            arrived = max(self._clock(), known + 1)
        self._remember(thread, max(arrived, known))
        return arrived

    def first(self, thread: str) -> int:
        """Where a turn that takes the lease begins, as far as this process knows: with room for what comes late."""
        return max(self._clock(), self._last.get(thread, 0) + ROOM_NS)

    def ahead(self, thread: str) -> int:
        """The time that a renewal hands over: until the next one, no item of the turn is ROOM_NS later."""
        return max(self._clock(), self._last.get(thread, 0))

    def hold(self, thread: str, turn_id: str, since: int) -> None:
        """The lease is the turn's, and `since` handed over: its next items come right after that."""
        before = self._held.pop((thread, turn_id), Held(0))
        self._held[thread, turn_id] = Held(since, before.last)
        self._remember(thread, max(since, self._last.get(thread, 0)))
        if len(self._held) > MAX_TURNS:
            self._held.popitem(last=False)

    def is_outrun(self, thread: str, turn_id: str) -> bool:
        """Whether `thread` holds something behind the turn's room, and the lease may still be the turn's."""
        held = self._held.get((thread, turn_id))
        return held is not None and not held.lost and self._last.get(thread, 0) >= held.since + ROOM_NS

    def lose(self, thread: str, turn_id: str) -> None:
        """Another turn has the lease: what this one still writes keeps its room."""
        if (held := self._held.get((thread, turn_id))) is not None:
            held.lost = True

    def release(self, thread: str, turn_id: str) -> None:
        """The turn has ended: it writes nothing more."""
        self._held.pop((thread, turn_id), None)

    def reach(self, thread: str, turn_id: str | None) -> int | None:
        """The arrival from which on a turn may remove nothing, since that is the next turn's. None without a lease."""
        held = None if turn_id is None else self._held.get((thread, turn_id))
        return None if held is None else held.since + ROOM_NS

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
