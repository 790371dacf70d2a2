"""Limits the streams that follow a turn: the newest may stay, older ones must leave. Pure; the same for every ledger.

Each follower has an entry that contains its start time and its turn, and that expires unless it is renewed, so that a
follower that crashes frees its slot. Every follower applies the same rule to all entries of its user.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

OF_A_TURN, OF_A_USER = 3, 5  # at a time: each one occupies an invocation as long as the turn runs
EXPIRES_MS = 6_000  # three renewals
MAX_EXPIRED = 40  # expired entries, about 4 KB; at this number they are removed


@dataclass(frozen=True, slots=True)
class Follower:
    """One stream that follows a turn. `began_ms` in milliseconds since 1970, `mark` is random."""

    turn_id: str
    began_ms: int
    mark: str

    @property
    def entry(self) -> str:
        """The entry's name; entries sort by the time at which their followers began."""
        return f"{self.began_ms:015d}_{self.mark}_{self.turn_id}"


def may_stay(own: Follower, entries: Mapping[str, int], *, now_ms: int) -> bool:
    """Whether fewer than OF_A_TURN followers of the same turn, and OF_A_USER of all turns, began later."""
    later = [name for name, expires_ms in entries.items() if name > own.entry and expires_ms > now_ms]
    of_turn = sum(name.split("_", 2)[2] == own.turn_id for name in later)
    return of_turn < OF_A_TURN and len(later) < OF_A_USER


def expired(entries: Mapping[str, int], *, now_ms: int) -> Iterable[str]:
    """Entries that are no longer renewed."""
    return [name for name, expires_ms in entries.items() if expires_ms <= now_ms]
