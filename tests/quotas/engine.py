"""The stores behind quotas (turn ledger and counters) with a clock that tests control. No app."""

import asyncio
from dataclasses import dataclass

from lambda_src.context import RequestContext, Turn, User
from lambda_src.errors import QuotaError
from lambda_src.json_settings import GuestQuotaSettings, QuotaSettings
from lambda_src.quotas.turn_limits import RESERVED_TOKENS, turn_limits
from lambda_src.quotas.turn_quota import Quotas
from lambda_src.settings import Settings
from lambda_src.store.counters import Counters
from lambda_src.store.ports import TurnLedger
from tests.store.local import Local


def settings_with(**limits: int) -> Settings:
    """Return settings with these quotas; the prefix `guest_` marks those of guests."""
    guests = {name.removeprefix("guest_"): limit for name, limit in limits.items() if name.startswith("guest_")}
    users = {name: limit for name, limit in limits.items() if not name.startswith("guest_")}
    return Settings(quotas=QuotaSettings(**users), guest_quotas=GuestQuotaSettings(**guests))


OF_GUESTS = turn_limits(Settings(), User("guest", is_guest=True))


def turn_of(name: str, number: int = 0, *, guest: bool = False) -> RequestContext:
    """Return the context of a turn that is about to begin."""
    source = f"net-of-{name}" if guest else ""
    return RequestContext(User(name, is_guest=guest), "r", turn=Turn(f"turn-{name}-{number:011d}"), source=source)


@dataclass
class QuotaEngine:
    """The turn ledger and the counters on one store engine and one clock."""

    local: Local
    ledger: TurnLedger
    counters: Counters

    def quotas(self, **limits: int) -> Quotas:
        """Return new quotas, like those of another process."""
        return Quotas(self.ledger, self.counters, settings_with(**limits), clock=lambda: self.local.now)


async def admitted(quotas: Quotas, *contexts: RequestContext) -> int:
    """Try to admit all turns at once; return how many were admitted."""
    results = await asyncio.gather(*(quotas.admit(context) for context in contexts), return_exceptions=True)
    assert all(result is None or isinstance(result, QuotaError) for result in results), results
    return results.count(None)


async def begin_model_call(context: RequestContext, used: int) -> None:
    """Begin another model call in a turn that has used `used` tokens so far."""
    assert context.turn is not None
    meter = context.turn.meter
    assert meter is not None
    await meter.begin(input_tokens=used - meter.cost, output_tokens=RESERVED_TOKENS)
