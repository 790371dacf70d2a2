"""Turn quotas: decides whether a user may start a turn, given the turns counted so far. The same for every ledger.

Windows are UTC minutes and days, numbered from 1970, so that every process uses the same names and no reset is needed.
A turn counts as running until it ends, or until the time by which Lambda has killed it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lambda_src.store.bounds import LONGEST_INVOCATION_S
from lambda_src.store.ports import QuotaLimits, QuotaRefused

MINUTE_MS = 60_000
DAY_MS = 86_400_000
SKEW_MS = 300_000  # five minutes, as for the order of items: another machine's clock may still be in the window
RUNNING_MAX_MS = LONGEST_INVOCATION_S * 1000  # a turn that has not ended by then has crashed
RUNNING_RETRY_S = 5  # an estimate: answers take about 10 s, so on average one ends within 5


@dataclass(frozen=True, slots=True)
class Spending:
    """Turns counted in this minute and this day, and by when each running turn has ended (milliseconds)."""

    minute: int
    day: int
    runs: Mapping[str, int]

    def dead(self, *, now_ms: int) -> list[str]:
        """Turns that crashed: still counted as running although their time is over."""
        return [turn_id for turn_id, expires_ms in self.runs.items() if expires_ms <= now_ms]


def windows(now_ms: int) -> tuple[str, str]:
    """The names of this minute and this day."""
    return f"minute_{now_ms // MINUTE_MS}", f"day_{now_ms // DAY_MS}"


def is_past(name: str, *, now_ms: int) -> bool:
    """Whether `name` is a window that is over on every machine."""
    kind, _, number = name.partition("_")
    window_ms = {"minute": MINUTE_MS, "day": DAY_MS}.get(kind)
    return window_ms is not None and (int(number) + 1) * window_ms <= now_ms - SKEW_MS


def run_expires_ms(*, now_ms: int, deadline_ms: int | None) -> int:
    """By when a turn that starts now has ended: the deadline of its invocation, if it has one."""
    latest = now_ms + RUNNING_MAX_MS
    return latest if deadline_ms is None else min(deadline_ms, latest)


def refusal(spent: Spending, limits: QuotaLimits, *, now_ms: int) -> QuotaRefused | None:
    """The limit that one more turn would exceed (if several, the one that lasts longest); None if it may run."""
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
