"""Lets guests in, one token each, and not too many: per source address and for the stage. Knows no HTTP."""

import time
from collections.abc import Callable

from lambda_src.auth import GuestTokens
from lambda_src.auth.guests import Minted
from lambda_src.callers import source_of
from lambda_src.context import User
from lambda_src.counters import Counters, seconds_left
from lambda_src.errors import AuthError, QuotaError, RequestError

PER_ADDRESS = 50  # a day: an office or a school behind one address, and no more than a nuisance in one hand
PER_STAGE = 20_000  # a day: rows of guests cost next to nothing, their tokens have a ceiling of their own (quotas.py)


class Guests:
    """`welcome` mints. `clock` in nanoseconds since 1970."""

    def __init__(self, tokens: GuestTokens, counters: Counters, *, clock: Callable[[], int] = time.time_ns) -> None:
        self._tokens, self._counters, self._clock = tokens, counters, clock

    async def welcome(self, address: str) -> Minted:
        """A new guest's token. QuotaError when this address (`network_of`), or everybody, has had enough today.

        The address is kept as a hash, for a day or two.
        """
        source = source_of(address)
        for name, ceiling in ((f"guests-from-{source}", PER_ADDRESS), ("guests", PER_STAGE)):
            if not await self._counters.add(name, 1, ceiling=ceiling):
                left_s = seconds_left(self._clock())
                raise QuotaError("No more guests today. Sign in instead.", limit="guests", retry_after_s=left_s)
        return await self._tokens.mint()

    async def who(self, token: str) -> User:
        """The guest whose token this is. RequestError: it is nobody's, or it has ended."""
        try:
            return await self._tokens(f"Bearer {token}")
        except AuthError:
            raise RequestError("guest_token is no guest's token, or it has ended.") from None
