"""A cached secret that is read again when it is refused or too old, so it can be rotated. Knows no AWS."""

import asyncio
import logging
import math
import time
from collections.abc import Callable

OLDEST_S = 60  # for secrets that only we refuse: the longest time that a rotated one stays valid
REREAD_S = 30  # at most this often, even if reading fails, so that invalid tokens cannot cause constant reads

log = logging.getLogger(__name__)


class Secret:
    """One secret. `read` fetches it, and may block or raise; if it raises, the cached value stays.

    A value older than `oldest_s` (by `now`, in seconds) is read again when it is next needed. Without `oldest_s`, it is
    read again only after a refusal: a vendor refuses its key, and requests carry CloudFront's rotated secret.
    """

    def __init__(
        self,
        read: Callable[[], str],
        *,
        known: str | None = None,
        oldest_s: float = math.inf,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`known` is the value if the caller has just read it."""
        self._read, self._oldest_s, self._now = read, oldest_s, now
        self._value = known
        self._read_s = self._asked_s = now()
        self._reading = asyncio.Lock()

    def __repr__(self) -> str:
        return "Secret(...)"  # so that no log or traceback contains the secret

    async def value(self) -> str:
        """The secret, from the cache unless it is too old; the old one if it cannot be read again."""
        async with self._reading:
            if self._value is None:
                await self._ask()
            elif self._now() - self._read_s >= self._oldest_s and self._may_ask():
                await self._ask_again()
            assert self._value is not None
            return self._value

    async def newer_than(self, refused: str) -> str | None:
        """The current secret after `refused` was refused; None if it is the same, or was read only a moment ago."""
        async with self._reading:
            if self._value == refused and self._may_ask():
                await self._ask()
            return self._value if self._value != refused else None

    def _may_ask(self) -> bool:
        return self._now() - self._asked_s >= REREAD_S

    async def _ask_again(self) -> None:
        try:
            await self._ask()
        except Exception as error:  # noqa: BLE001 - no error of `read` may lock anybody out
            log.warning("secret_not_read_again", extra={"error_type": type(error).__qualname__})

    async def _ask(self) -> None:
        self._asked_s = self._now()
        self._value = await asyncio.to_thread(self._read)
        self._read_s = self._now()
