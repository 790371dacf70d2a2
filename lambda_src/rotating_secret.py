"""A secret that is read where it is kept, remembered, and read again when it was refused or is old. Knows no AWS."""

import asyncio
import logging
import math
import time
from collections.abc import Callable

OLDEST_S = 60  # of what no other but we refuse: rotated away, it is taken for as long at most
REREAD_S = 30  # at most this often, also when it cannot be read: wrong tokens cannot make us ask for it all day

log = logging.getLogger(__name__)


class Secret:
    """One secret. `read` fetches it (it may block and may raise); what it raises leaves `value` as it is.

    One that is `oldest_s` old, by `now` in seconds, is read again by the next that needs it. Without an age, somebody
    else must refuse it: a vendor its key, and a deployment changes the proof of CloudFront.
    """

    def __init__(
        self,
        read: Callable[[], str],
        *,
        known: str | None = None,
        oldest_s: float = math.inf,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`known` is what `read` gave a moment ago, if somebody asked already."""
        self._read, self._oldest_s, self._now = read, oldest_s, now
        self._value = known
        self._read_s = self._asked_s = now()
        self._reading = asyncio.Lock()

    def __repr__(self) -> str:
        return "Secret(...)"  # whatever prints its surroundings prints no secret

    async def value(self) -> str:
        """The secret, from memory when it was read and is not too old; the old one when it cannot be read again."""
        async with self._reading:
            if self._value is None:
                await self._ask()
            elif self._now() - self._read_s >= self._oldest_s and self._may_ask():
                await self._ask_again()
            assert self._value is not None
            return self._value

    async def newer_than(self, refused: str) -> str | None:
        """What the secret is now, when `refused` was refused; None when it is still the same, or was just read."""
        async with self._reading:
            if self._value == refused and self._may_ask():
                await self._ask()
            return self._value if self._value != refused else None

    def _may_ask(self) -> bool:
        return self._now() - self._asked_s >= REREAD_S

    async def _ask_again(self) -> None:
        try:
            await self._ask()
        except Exception as error:  # noqa: BLE001 - whatever `read` raises: nobody is locked out for it
            log.warning("secret_not_read_again", extra={"error_type": type(error).__qualname__})

    async def _ask(self) -> None:
        self._asked_s = self._now()
        self._value = await asyncio.to_thread(self._read)
        self._read_s = self._now()
