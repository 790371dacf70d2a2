"""New guests: issues a token to each, within daily limits per source address and per stage. Knows no HTTP."""

import time
from collections.abc import Callable

from lambda_src.auth import GuestTokens
from lambda_src.auth.guest_tokens import Minted
from lambda_src.context import User
from lambda_src.errors import AuthError, QuotaError, RequestError, UnavailableError
from lambda_src.quotas.source_addresses import Callers, MemoryDayKeys
from lambda_src.runs.hooks import Screening
from lambda_src.store.counters import Counters, seconds_left

PER_ADDRESS = 50  # a day: enough for an office or a school behind one address, too few for one person to do harm
PER_STAGE = 20_000  # a day: guests' rows cost next to nothing, and turn_quota.py limits their tokens


class Guests:
    """Issues guest tokens and reads them back. `clock` returns nanoseconds since 1970."""

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
        """A token for a new guest.

        QuotaError: the limit of this address (`network_of`) or of the stage is reached for today. ForbiddenError: the
        operator's hook refused the guest, who is not counted. Only a hash of the address is stored, made with a key
        that changes daily.
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
        """The guest of this token. RequestError: it is no guest token, or it has expired."""
        try:
            return await self._tokens(f"Bearer {token}")
        except AuthError:
            raise RequestError("guest_token is no guest's token, or it has ended.") from None
