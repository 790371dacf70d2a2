"""What a user has spent, against what they may spend. Pure; the same for every ledger. Knows no row and no clock.

Minutes and days are those of UTC, counted from 1970, so that every process names a window alike and an old one needs
no reset. A turn runs until it says that it ended, or until the time by which Lambda has killed it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lambda_src.store.bounds import LONGEST_INVOCATION_S
from lambda_src.store.ports import QuotaLimits, QuotaRefused

MINUTE_MS = 60_000
DAY_MS = 86_400_000
SKEW_MS = 300_000  # five minutes, as for the order of items: a window may be over here and not yet on another machine
RUNNING_MAX_MS = LONGEST_INVOCATION_S * 1000  # a turn that did not end by then has crashed
RUNNING_RETRY_S = 5  # when a slot comes free nobody knows; answers take some 10 s, so on average one does by then


@dataclass(frozen=True, slots=True)
class Spending:
    """Turns counted in this minute and this day, and when each running turn has ended at the latest (milliseconds)."""

    minute: int
    day: int
    runs: Mapping[str, int]

    def dead(self, *, now_ms: int) -> list[str]:
        """Turns that never said that they ended and cannot run any more."""
        return [turn_id for turn_id, expires_ms in self.runs.items() if expires_ms <= now_ms]


def windows(now_ms: int) -> tuple[str, str]:
    """The names of this minute and this day."""
    return f"minute_{now_ms // MINUTE_MS}", f"day_{now_ms // DAY_MS}"


def is_past(name: str, *, now_ms: int) -> bool:
    """Whether `name` is that of a window which is over on every machine."""
    kind, _, number = name.partition("_")
    window_ms = {"minute": MINUTE_MS, "day": DAY_MS}.get(kind)
    return window_ms is not None and (int(number) + 1) * window_ms <= now_ms - SKEW_MS


def run_expires_ms(*, now_ms: int, deadline_ms: int | None) -> int:
    """When a turn that starts now has ended at the latest: at its invocation's deadline, where there is one."""
    latest = now_ms + RUNNING_MAX_MS
    return latest if deadline_ms is None else min(deadline_ms, latest)


def refusal(spent: Spending, limits: QuotaLimits, *, now_ms: int) -> QuotaRefused | None:
    """Why one turn more may not run; of several limits the one that lasts longest. None when it may."""
    if 0 < limits.per_day <= spent.day:
        return QuotaRefused("day", _until_next(DAY_MS, now_ms))
    if 0 < limits.per_minute <= spent.minute:
        return QuotaRefused("minute", _until_next(MINUTE_MS, now_ms))
    if 0 < limits.running <= len(spent.runs) - len(spent.dead(now_ms=now_ms)):
        return QuotaRefused("running", RUNNING_RETRY_S, tuple(turn for turn in spent.runs if spent.runs[turn] > now_ms))
    return None


def _until_next(window_ms: int, now_ms: int) -> int:
    """Whole seconds until the next window begins, at least one."""
    return -((now_ms % window_ms - window_ms) // 1000)
