"""Lets guests in, one token each, and not too many: per source address and for the stage. Knows no HTTP."""

import time
from collections.abc import Callable

from lambda_src.auth import GuestTokens
from lambda_src.auth.guest_tokens import Minted
from lambda_src.context import User
from lambda_src.errors import AuthError, QuotaError, RequestError, UnavailableError
from lambda_src.quotas.source_addresses import Callers, MemoryDayKeys
from lambda_src.runs.hooks import Screening
from lambda_src.store.counters import Counters, seconds_left

PER_ADDRESS = 50  # a day: an office or a school behind one address, and no more than a nuisance in one hand
PER_STAGE = 20_000  # a day: rows of guests cost next to nothing, their tokens have a ceiling of their own (quotas.py)


class Guests:
    """`welcome` mints. `clock` in nanoseconds since 1970."""

    def __init__(
        self,
        tokens: GuestTokens,
        counters: Counters,
        *,
        callers: Callers | None = None,
        screening: Screening | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._tokens, self._counters, self._clock = tokens, counters, clock
        self._callers = callers or Callers(MemoryDayKeys())
        self._screening = screening or Screening()

    async def welcome(self, address: str, captcha: str = "") -> Minted:
        """A new guest's token. QuotaError when this address (`network_of`), or everybody, has had enough today.

        ForbiddenError: the user's hook refuses, which counts nothing. The address is kept as a hash with the day's key,
        for a day or two.
        """
        await self._screening.guest(captcha, address)
        if (source := await self._callers.hashed(address)) is None:
            raise UnavailableError("No guest can be let in at the moment. Try again later.")
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
