"""The weather: how long requests to DynamoDB and S3 take, and which of them fail, in windows of time."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Fault = Literal["throttle", "500", "reset", "lost", "partial", "conflict", "slow"]
FAULTS: tuple[Fault, ...] = ("throttle", "500", "reset", "lost", "partial", "conflict", "slow")
Fate = Literal["hiccup", "unclear", "refused"]
"""What all attempts of one request meet: only the first response is lost; every one is; every attempt fails."""

READ_TIMEOUT_S = 2.0  # aws_calls.CLIENT_CONFIG
CALM_S = 30.0  # how long after a window its consequences may last
HICCUP_S = 3.2  # what a hiccup costs: the time-out, the pause before the second attempt, and that attempt


@dataclass(frozen=True, slots=True)
class Window:
    """From `begins_s` to `ends_s`, each attempt meets each fault of `rates`, and each request each fate of `fates`,
    with its probability.
    """

    begins_s: float
    ends_s: float
    rates: Mapping[Fault, float]
    fates: Mapping[Fate, float] = field(default_factory=dict)

    @property
    def is_bad(self) -> bool:
        """Whether a request may fail. After a hiccup it succeeds, so every promise holds, a little later."""
        return bool(self.rates) or bool(self.fates.keys() - {"hiccup"})

    def overlaps(self, begins_s: float, ends_s: float, *, calm_s: float = 0.0) -> bool:
        """Whether it and its consequences, which last for `calm_s`, touch this time."""
        return self.begins_s <= ends_s and begins_s <= self.ends_s + calm_s


class Weather:
    """`latency_s` is the median of a request, each way. `windows` may be added at any time."""

    def __init__(self, rng: random.Random, fates: random.Random, *, latency_s: float) -> None:
        self._rng, self._fates, self._latency_s = rng, fates, latency_s
        self.windows: list[Window] = []
        self._hiccups: list[tuple[float, str]] = []  # when each happened, and to which machine

    def one_way_s(self) -> float:
        """The time from client to service, or back."""
        return min(1.0, self._latency_s * self._rng.lognormvariate(0, 0.6))

    def fault(self, now_s: float) -> Fault | None:
        """What an attempt meets that is sent now."""
        for window in self.windows:
            if window.begins_s <= now_s < window.ends_s:
                for fault, rate in window.rates.items():
                    if self._rng.random() < rate:
                        return fault
        return None

    def fate(self, now_s: float, machine: str) -> Fate | None:
        """What a request of a machine meets that begins now."""
        for window in self.windows:
            if window.begins_s <= now_s < window.ends_s:
                for fate, rate in window.fates.items():
                    if self._fates.random() < rate:
                        if fate == "hiccup":
                            self._hiccups.append((now_s, machine))
                        return fate
        return None

    def slow_s(self) -> float:
        """How long a slow request takes one way: from below the time-out to far beyond it."""
        return self._rng.choice((0.3, 1.2, 2.5, 6.0, 20.0))

    def pause_s(self, attempt: int) -> float:
        """botocore's pause before another attempt (retry mode "standard")."""
        return float(self._rng.random() * min(20, 2**attempt))

    def clear_up(self, now_s: float) -> None:
        """End every window."""
        self.windows = [replace(window, ends_s=min(window.ends_s, now_s)) for window in self.windows]

    def is_bad(self, begins_s: float, ends_s: float) -> bool:
        """Whether anything between these times may have met a fault."""
        return any(window.is_bad and window.overlaps(begins_s, ends_s, calm_s=CALM_S) for window in self.windows)

    def has_hiccups(self, begins_s: float, ends_s: float) -> bool:
        """Whether a request between these times may have met a hiccup."""
        return any("hiccup" in window.fates and window.overlaps(begins_s, ends_s) for window in self.windows)

    def due_s(self, begins_s: float, machine: str, *, within_s: float) -> float:
        """When a request to this machine is due that takes `within_s`, and HICCUP_S for each hiccup that it meets."""
        due_s = begins_s + within_s
        for at_s, name in self._hiccups:
            due_s += HICCUP_S if name == machine and begins_s <= at_s <= due_s else 0
        return due_s

    def ends_before(self, begins_s: float, due_s: float, ends_s: float) -> bool:
        """Whether what is bad between `begins_s` and `ends_s` is over by `due_s`."""
        bad = [window for window in self.windows if window.is_bad and window.overlaps(begins_s, ends_s)]
        return all(window.ends_s <= due_s for window in bad)
