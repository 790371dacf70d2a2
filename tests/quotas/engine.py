"""What quotas stand on, on one engine and one clock: ledger and counters. Knows no app."""

import asyncio
from dataclasses import dataclass

from lambda_src.context import RequestContext, Turn, User
from lambda_src.errors import QuotaError
from lambda_src.quotas.turn_limits import RESERVED_TOKENS, turn_limits
from lambda_src.quotas.turn_quota import Quotas
from lambda_src.settings import GuestQuotaSettings, QuotaSettings, Settings
from lambda_src.store.counters import Counters
from lambda_src.store.ports import TurnLedger
from tests.store.local import Local


def settings_with(**limits: int) -> Settings:
    """Settings with these quotas; the names of those of guests begin with `guest_`."""
    guests = {name.removeprefix("guest_"): limit for name, limit in limits.items() if name.startswith("guest_")}
    users = {name: limit for name, limit in limits.items() if not name.startswith("guest_")}
    return Settings(quotas=QuotaSettings(**users), guest_quotas=GuestQuotaSettings(**guests))


OF_GUESTS = turn_limits(Settings(), User("guest", is_guest=True))


def turn_of(name: str, number: int = 0, *, guest: bool = False) -> RequestContext:
    """One turn that somebody wants to begin."""
    source = f"net-of-{name}" if guest else ""
    return RequestContext(User(name, is_guest=guest), "r", turn=Turn(f"turn-{name}-{number:011d}"), source=source)


@dataclass
class QuotaEngine:
    """Ledger and counters of one engine, on one clock."""

    local: Local
    ledger: TurnLedger
    counters: Counters

    def quotas(self, **limits: int) -> Quotas:
        """Quotas as another process would have them."""
        return Quotas(self.ledger, self.counters, settings_with(**limits), clock=lambda: self.local.now)


async def admitted(quotas: Quotas, *contexts: RequestContext) -> int:
    """How many of them may begin, asked all at once."""
    results = await asyncio.gather(*(quotas.admit(context) for context in contexts), return_exceptions=True)
    assert all(result is None or isinstance(result, QuotaError) for result in results), results
    return results.count(None)


async def asks_again(context: RequestContext, used: int) -> None:
    """The turn has used so many tokens, and is about to ask its model once more."""
    assert context.turn is not None
    meter = context.turn.meter
    assert meter is not None
    await meter.begin(input_tokens=used - meter.cost, output_tokens=RESERVED_TOKENS)
