"""The result of one check: name, outcome, a sentence, and figures. Values only."""

from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """The outcome of a check. Only FAILED means that something is broken."""

    OK = "ok"
    FAILED = "failed"
    SEEN = "seen"  # a behavior that AWS leaves open, as observed in this deployment
    NOT_SEEN = "not seen"  # not observable from outside, or not with this run's options; `what` says why
    NOT_HERE = "not here"  # a local AWS or a region without the feature


@dataclass(frozen=True, slots=True)
class Row:
    """`what` is a sentence about this deployment; `figures` have their units in their names."""

    name: str
    outcome: Outcome
    what: str
    figures: dict[str, float | int | str | bool | None] = field(default_factory=dict)


def judged(name: str, good: bool, what: str, **figures: float | str | None) -> Row:
    """A check that passed or failed."""
    return Row(name, Outcome.OK if good else Outcome.FAILED, what, dict(figures))


def seen(name: str, what: str, **figures: float | str | None) -> Row:
    """An observation that can neither pass nor fail."""
    return Row(name, Outcome.SEEN, what, dict(figures))


def not_seen(name: str, why: str) -> Row:
    """A check that could not be made, and why."""
    return Row(name, Outcome.NOT_SEEN, why)


def not_here(name: str, why: str) -> Row:
    """A check of something that this AWS does not have."""
    return Row(name, Outcome.NOT_HERE, why)
