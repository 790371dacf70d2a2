"""Hashes a caller's address with a key that lasts one day: an attack can be counted, a person cannot be tracked.

The log and the counters of addresses have these hashes, never the address.
The key is random, shared by every process of a stage for one UTC day, and deleted afterwards (`DayKeys`). Without it a
hash leads back to no address, and the hashes of two days cannot be joined. Knows no HTTP and no row.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import os
import time
from collections.abc import Callable
from typing import Protocol

from lambda_src.errors import UnavailableError
from lambda_src.store.counters import day_of

KEY_BYTES = 32
HASH_CHARS = 16  # 64 bits: no two of a day's callers share one by chance
IPV6_BITS = 64  # of an address that say who it is; the rest is theirs to choose
TIMEOUT_S = 1.0  # for the day's key, once a day in each process
RETRY_S = 10  # before asking again for a key that could not be read: no guest is let in meanwhile


class DayKeys(Protocol):
    """Where a day's key is kept."""

    async def shared(self, day: int, proposal: bytes) -> bytes:
        """The key of `day`; `proposal` becomes it, if there is none yet. UnavailableError when it cannot be read."""
        ...


class MemoryDayKeys:
    """DayKeys of one process."""

    def __init__(self) -> None:
        self._keys: dict[int, bytes] = {}

    async def shared(self, day: int, proposal: bytes) -> bytes:
        """DayKeys."""
        self._keys = {day: self._keys.get(day, proposal)}
        return self._keys[day]


class Callers:
    """`hashed` asks for the key once a day. `clock` in nanoseconds since 1970."""

    def __init__(
        self,
        keys: DayKeys,
        *,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._keys, self._clock = keys, clock
        self._day, self._key = -1, b""
        self._not_before_ns = 0

    async def hashed(self, address: str) -> str | None:
        """What stands for this address (`network_of`) today; None while the day's key cannot be read."""
        day = day_of(self._clock())
        if day != self._day and not await self._fetch(day):
            return None
        return hmac.digest(self._key, network_of(address).encode(), hashlib.sha256).hex()[:HASH_CHARS]

    async def _fetch(self, day: int) -> bool:
        if self._clock() < self._not_before_ns:
            return False
        try:
            async with asyncio.timeout(TIMEOUT_S):
                self._key = await self._keys.shared(day, os.urandom(KEY_BYTES))
        except (UnavailableError, TimeoutError):
            self._not_before_ns = self._clock() + RETRY_S * 10**9
            return False
        self._day = day
        return True


def network_of(address: str) -> str:
    """The network that an address speaks for: an IPv4 address itself, in its usual notation; of IPv6 the /64.

    One household or server has a whole /64 (RFC 4291, section 2.5.4), so 2**64 addresses to come from.
    Anything that is not an address, as behind a proxy that hides it, is returned as it is.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])  # a zone (RFC 4007) is the sender's own business
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, IPV6_BITS), strict=False))
