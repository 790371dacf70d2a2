"""The weather: how long requests to DynamoDB and S3 take, and which of them fail, in windows of time."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Fault = Literal["throttle", "500", "reset", "lost", "partial", "conflict", "slow"]
FAULTS: tuple[Fault, ...] = ("throttle", "500", "reset", "lost", "partial", "conflict", "slow")
READ_TIMEOUT_S = 2.0  # aws_calls.CLIENT_CONFIG
CALM_S = 30.0  # how long after a window its consequences may last


@dataclass(frozen=True, slots=True)
class Window:
    """From `begins_s` to `ends_s`, each request meets each fault of `rates` with its probability."""

    begins_s: float
    ends_s: float
    rates: Mapping[Fault, float]


class Weather:
    """`latency_s` is the median of a request, each way. `windows` may be added at any time."""

    def __init__(self, rng: random.Random, *, latency_s: float) -> None:
        self._rng, self._latency_s = rng, latency_s
        self.windows: list[Window] = []

    def one_way_s(self) -> float:
        """The time from client to service, or back."""
        return min(1.0, self._latency_s * self._rng.lognormvariate(0, 0.6))

    def fault(self, now_s: float) -> Fault | None:
        """What a request meets that is sent now."""
        for window in self.windows:
            if window.begins_s <= now_s < window.ends_s:
                for fault, rate in window.rates.items():
                    if self._rng.random() < rate:
                        return fault
        return None

    def slow_s(self) -> float:
        """How long a slow request takes one way: from below the time-out to far beyond it."""
        return self._rng.choice((0.3, 1.2, 2.5, 6.0, 20.0))

    def pause_s(self, attempt: int) -> float:
        """botocore's pause before another attempt (retry mode "standard")."""
        return float(self._rng.random() * min(20, 2**attempt))

    def is_bad(self, begins_s: float, ends_s: float) -> bool:
        """Whether anything between these times may have met a fault."""
        return any(window.begins_s <= ends_s and begins_s <= window.ends_s + CALM_S for window in self.windows)
