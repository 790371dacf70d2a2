"""One row of a verification: what was looked at, what came of it, the figures. Values only."""

from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """What came of a row. Only FAILED means that something is broken."""

    OK = "ok"
    FAILED = "failed"
    SEEN = "seen"  # a behaviour that AWS leaves open: now it is known for this deployment
    NOT_SEEN = "not seen"  # cannot be seen from outside, or not with what this run was given; `what` says why
    NOT_HERE = "not here"  # this AWS does not have it: a local one, or a region without the feature


@dataclass(frozen=True, slots=True)
class Row:
    """`what` is a sentence about this deployment; `figures` have their units in their names."""

    name: str
    outcome: Outcome
    what: str
    figures: dict[str, float | int | str | bool | None] = field(default_factory=dict)


def judged(name: str, good: bool, what: str, **figures: float | str | None) -> Row:
    """A row that is right or wrong."""
    return Row(name, Outcome.OK if good else Outcome.FAILED, what, dict(figures))


def seen(name: str, what: str, **figures: float | str | None) -> Row:
    """A row that tells what is, where nothing is promised."""
    return Row(name, Outcome.SEEN, what, dict(figures))


def not_seen(name: str, why: str) -> Row:
    """A row that could not be filled, and why."""
    return Row(name, Outcome.NOT_SEEN, why)


def not_here(name: str, why: str) -> Row:
    """A row about something that this AWS does not have."""
    return Row(name, Outcome.NOT_HERE, why)
