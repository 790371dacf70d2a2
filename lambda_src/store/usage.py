"""What a stage uses by day, assistant, model and release: tokens, and how turns ended. Knows no row and no model.

A turn that begins is counted where the stage's tokens are reserved (`Begun`), and a turn that ends adds one `Usage`.
Turns that began and never ended lost their process: `used` reports them as unsettled.
"""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, fields
from typing import Protocol

from lambda_src.store.counters import Begun, Counters

KEPT_S = 400 * 86_400  # a year and a month, so that a month can be compared with the same one a year ago
STAGE_TOKENS = "tokens"  # the counter of the stage's tokens, where turns that begin are counted


@dataclass(frozen=True, slots=True)
class Source:
    """What used the tokens. `day` is the number of days since 1970, in UTC; `model` is "" if none has answered."""

    day: int
    assistant: str
    model: str
    release: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Sums. `tokens_cached` is the part of `tokens_in` that the vendor read from its prompt cache.

    `unsettled` counts turns and dictations of which the vendor did not report all tokens: they were cut off, or their
    process died. `cut` were stopped, replaced by a newer message, or reached a limit of time; `failed` ended with an
    error. `refused` were refused after their tokens had been reserved, and used none.
    """

    turns: int = 0
    dictations: int = 0
    tokens_in: int = 0
    tokens_cached: int = 0
    tokens_out: int = 0
    unsettled: int = 0
    cut: int = 0
    failed: int = 0
    refused: int = 0
    thumbs_up: int = 0
    thumbs_down: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(**{name: getattr(self, name) + getattr(other, name) for name in NAMES})

    @property
    def ended(self) -> int:
        """How many of the turns and dictations that began have ended."""
        return self.turns + self.dictations + self.refused


NAMES = tuple(field.name for field in fields(Usage))


class UsageRows(Protocol):
    """Stores usage: one row for each source."""

    async def add(self, source: Source, usage: Usage, *, mark: str) -> None:
        """Add to the source's sums, in one write. Repeating it with the same `mark` changes nothing."""
        ...

    async def of_day(self, day: int) -> dict[Source, Usage]:
        """The sums of one day."""
        ...


class MemoryUsage:
    """UsageRows of one process."""

    def __init__(self) -> None:
        self.sums: dict[Source, Usage] = {}

    async def add(self, source: Source, usage: Usage, *, mark: str) -> None:
        """UsageRows. No response is lost in memory, so `mark` is not needed."""
        self.sums[source] = self.sums.get(source, Usage()) + usage

    async def of_day(self, day: int) -> dict[Source, Usage]:
        """UsageRows."""
        return {source: usage for source, usage in self.sums.items() if source.day == day}


async def used(
    rows: UsageRows, counters: Counters, *, first_day: int, last_day: int
) -> AsyncIterator[dict[Source, Usage]]:
    """The usage of each day, first to last. A turn that still runs is among the unsettled ones of its day."""
    begun = await counters.begun(STAGE_TOKENS, first_day=first_day, last_day=last_day)
    for day in range(first_day, last_day + 1):
        sums = await rows.of_day(day)
        missing = Counter({who: number for (began, who), number in begun.items() if began == day})
        for source, usage in sums.items():
            missing[Begun(source.assistant, source.release)] -= usage.ended
        for who, number in missing.items():
            if number > 0:
                source = Source(day, who.assistant, "", who.release)
                sums[source] = sums.get(source, Usage()) + Usage(unsettled=number)
        yield sums
