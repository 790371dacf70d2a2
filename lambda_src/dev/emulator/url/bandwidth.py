"""How fast a streamed answer may leave: a bucket of `burst` bytes that fills at `rate` bytes a second. Pure."""


class Bandwidth:
    """https://docs.aws.amazon.com/lambda/latest/dg/configuration-response-streaming.html, "Bandwidth limits"."""

    def __init__(self, burst: int, rate: int) -> None:
        self._burst = self._level = float(burst)
        self._rate = rate
        self._at: float | None = None

    def take(self, size: int, now: float) -> float:
        """Seconds to wait before `size` more bytes may leave; `now` in seconds, of any clock that only goes forward."""
        if self._at is not None:
            self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now
        self._level -= size
        return max(0.0, -self._level / self._rate)
