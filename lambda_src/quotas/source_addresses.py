"""Hashes callers' IP addresses with a key that changes daily: attacks can be counted, people cannot be tracked.

The log and the per-address counters hold these hashes, never the address. The key is random, shared by every process of
a stage for one UTC day, and deleted afterwards (`DayKeys`). Without the key, a hash cannot be traced back to an
address, and hashes of different days cannot be matched. Knows no HTTP and no row.
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
HASH_CHARS = 16  # 64 bits: two callers of one day practically never share a hash
IPV6_BITS = 64  # the prefix that is assigned to a network; its owner chooses the rest freely
TIMEOUT_S = 1.0  # for reading the day's key, which each process does once a day
RETRY_S = 10  # before reading again a key that could not be read; until then guests are refused


class DayKeys(Protocol):
    """Stores the key of each day."""

    async def shared(self, day: int, proposal: bytes) -> bytes:
        """The key of `day`; stores `proposal` if there is none yet. Raises UnavailableError if it cannot be read."""
        ...


class MemoryDayKeys:
    """DayKeys in memory, for a single process."""

    def __init__(self) -> None:
        self._keys: dict[int, bytes] = {}

    async def shared(self, day: int, proposal: bytes) -> bytes:
        """DayKeys."""
        self._keys = {day: self._keys.get(day, proposal)}
        return self._keys[day]


class Callers:
    """Hashes addresses with the key of the day, read once a day. `clock` returns nanoseconds since 1970."""

    def __init__(self, keys: DayKeys, *, clock: Callable[[], int] = time.time_ns) -> None:
        self._keys, self._clock = keys, clock
        self._day, self._key = -1, b""
        self._not_before_ns = 0

    async def hashed(self, address: str) -> str | None:
        """Today's hash of the address's network (`network_of`); None while the key cannot be read."""
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
    """The network of an address: an IPv4 address itself, in canonical notation; for IPv6 its /64.

    A single household or server controls a whole /64 (RFC 4291, section 2.5.4), which is 2**64 addresses.
    Anything that is not an address (a proxy may hide it) is returned unchanged.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])  # without its zone, which is local (RFC 4007)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, IPV6_BITS), strict=False))
