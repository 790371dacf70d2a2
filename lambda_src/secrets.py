"""A secret that is read where it is kept, remembered, and read again when it proves to be an old one. Knows no AWS."""

import asyncio
import time
from collections.abc import Callable

REREAD_S = 30  # at most this often: whoever sends wrong tokens cannot make us ask for the secret all day


class Secret:
    """One secret. `read` fetches it (it may block and may raise); what it raises leaves `value` as it is."""

    def __init__(
        self, read: Callable[[], str], *, known: str | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        """`known` is what `read` gave a moment ago, if somebody asked already."""
        self._read, self._now = read, now
        self._value = known
        self._read_s = now()
        self._reading = asyncio.Lock()

    def __repr__(self) -> str:
        return "Secret(...)"  # whatever prints its surroundings prints no secret

    async def value(self) -> str:
        """The secret, from memory when it was read before."""
        async with self._reading:
            if self._value is None:
                await self._ask()
            assert self._value is not None
            return self._value

    async def newer_than(self, refused: str) -> str | None:
        """What the secret is now, when `refused` was refused; None when it is still the same, or was just read."""
        async with self._reading:
            if self._value == refused and self._now() - self._read_s >= REREAD_S:
                await self._ask()
            return self._value if self._value != refused else None

    async def _ask(self) -> None:
        self._value = await asyncio.to_thread(self._read)
        self._read_s = self._now()
