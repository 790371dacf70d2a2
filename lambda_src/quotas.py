"""Who may begin a turn now, and what it costs them: messages, turns at a time, tokens; and the operator's switch.

Messages and running turns are the ledger's (one row a user), tokens are counters'. Order: switch, messages, the user's
tokens, the stage's. Tokens are reserved before a turn and settled after it with what the model's vendor counted; what
nobody counted (an answer that was cut) costs what was reserved. A turn that asks the model again and again reserves
anew before each time, and ends there when nothing is left. What costs without being a turn is a message too (`spend`).
Knows no HTTP and no thread.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from secrets import token_hex

from lambda_src.context import RequestContext
from lambda_src.counters import Counters, seconds_left
from lambda_src.errors import ChatError, QuotaError
from lambda_src.store.ports import QuotaLimits, QuotaRefused, TurnLedger

RESERVED_TOKENS = 2_000  # one answer of middling length; a longer one is settled after it, so a day may end over
DICTATION_TOKENS = 2_000  # a body of MAX_BODY_BYTES holds some 190 s of Opus, and OpenAI counts 10 tokens a second
ID_BYTES = 16  # of what a message is spent under that no turn was made of
GUEST_PER_MINUTE, GUEST_RUNNING = 5, 1  # a person types no faster, and reads one answer at a time
SWITCH_S = 5.0  # how old the switch's state may be: it is promised to work within ten seconds
SWITCH_RETRY_S = 60  # when to ask again is the operator's secret
PAUSED = "The assistant is paused by those who run it. Try again later."

USER_TOKENS, STAGE_TOKENS, GUEST_TOKENS = "tokens", "tokens", "guest-tokens"  # in the user's partition; in STAGE#

Ceiling = tuple[str, str | None, int]
"""(name of the count, whose it is or None for the stage's, most that it may come to)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What people may spend; 0 is no limit. `running` turns at a time, the rest in a minute or a day of UTC."""

    messages_per_minute: int = 0
    messages_per_day: int = 0
    running: int = 0
    tokens_per_day: int = 0
    stage_tokens_per_day: int = 0
    guest_messages_per_day: int = 20
    guest_tokens_percent: int = 25  # of the stage's: however many guests come, the rest stays for those who sign in

    @property
    def of_guests(self) -> int:
        """Tokens of all guests together; 0 is no limit but the stage's."""
        stage, percent = self.stage_tokens_per_day, self.guest_tokens_percent
        return max(1, stage * percent // 100) if stage and percent < 100 else 0

    def of(self, context: RequestContext) -> QuotaLimits:
        """What the ledger counts for this user."""
        if context.user.is_guest:
            return QuotaLimits(GUEST_PER_MINUTE, self.guest_messages_per_day, GUEST_RUNNING)
        return QuotaLimits(self.messages_per_minute, self.messages_per_day, self.running)


class Quotas:
    """`admit` before a turn's lease, `settle` at its end. `clock` in nanoseconds since 1970, `now` in seconds."""

    def __init__(
        self,
        ledger: TurnLedger,
        counters: Counters,
        allowance: Allowance,
        *,
        clock: Callable[[], int] = time.time_ns,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger, self._counters, self._allowance = ledger, counters, allowance
        self._clock, self._now = clock, now
        self._switch: tuple[float, str | None] = (float("-inf"), None)

    async def look(self) -> None:
        """Read the switch, beside what else stands before `admit`, which then knows it. What fails here fails there."""
        with suppress(ChatError):
            await self._switched_off()

    async def admit(self, context: RequestContext) -> None:
        """Spend what one turn costs. What is raised has spent nothing, but for the message where tokens had run out.

        QuotaError: it may not begin. UnavailableError: it could not be counted.
        """
        assert context.turn is not None, "only turns are counted"
        await self._ask_switch()
        limits, ceilings = self._allowance.of(context), self._ceilings(context)
        refused: QuotaRefused | None = None
        try:
            if _counts(limits):
                placed = context if limits.running else self._over(context)
                refused = await self._ledger.spend_quota(context.turn.id, limits, context=placed)
            if refused is None:
                await self._reserve([(one, self._reserved(one[2])) for one in ceilings])
        except BaseException:  # a cancelled turn has a place too, and nobody settles what never began
            if limits.running:
                with suppress(ChatError):  # else its place is free when it would have had to end
                    await self._ledger.end_quota(context.turn.id, context=context)
            raise
        if refused is not None:
            raise _of_ledger(refused)
        if ceilings:
            context.turn.more = partial(self._more, context)

    async def spend(self, context: RequestContext, *, tokens: int) -> None:
        """Spend a message and so many tokens on what is no turn: it takes no turn's place, and nobody settles it.

        QuotaError: it may not be done; as for `admit`, where tokens had run out the message is spent.
        """
        await self._ask_switch()
        limits = replace(self._allowance.of(context), running=0)
        if _counts(limits):
            own_id = token_hex(ID_BYTES)
            refused = await self._ledger.spend_quota(own_id, limits, context=self._over(context))
            if refused is not None:
                raise _of_ledger(refused)
            with suppress(ChatError):  # else the next turn clears it up
                await self._ledger.end_quota(own_id, context=context)
        if tokens:
            await self._reserve([(one, min(tokens, one[2])) for one in self._ceilings(context)])

    async def _more(self, context: RequestContext, used: int) -> None:
        """The turn has used so many tokens and goes on: reserve for that. QuotaError: there are none left."""
        turn = context.turn
        assert turn is not None, "only turns are counted"
        wanted = used - turn.reserved_more
        if wanted <= 0:
            return
        await self._reserve([(one, wanted) for one in self._ceilings(context)])
        turn.reserved_more += wanted

    async def _reserve(self, amounts: Sequence[tuple[Ceiling, int]]) -> None:
        """Reserve so much under each ceiling, or under none of them. QuotaError: there is not that much left.

        An addition that failed may have landed: it is not taken back, as no ceiling may ever be passed.
        """
        spent: list[tuple[Ceiling, int]] = []
        try:
            for one, amount in amounts:
                name, user_id, ceiling = one
                if not await self._counters.add(name, amount, ceiling=ceiling, user_id=user_id):
                    raise self._of_tokens(user_id)
                spent.append((one, amount))
        except BaseException:
            for (name, user_id, ceiling), amount in spent:
                with suppress(ChatError):  # else it stays spent for today
                    await self._counters.correct(name, -amount, ceiling=ceiling, user_id=user_id)
            raise

    async def settle(self, context: RequestContext, *, ran: bool) -> None:
        """The turn is over: free its place, and put what it used in the place of what was reserved.

        Each on its own, so that one that fails leaves no other undone; the first fault is raised then.
        """
        turn = context.turn
        assert turn is not None, "only turns are counted"
        writes: list[Awaitable[None]] = []
        if self._allowance.of(context).running:
            writes.append(self._ledger.end_quota(turn.id, context=context))
        used = (turn.tokens_in or 0) + (turn.tokens_out or 0)
        for name, user_id, ceiling in self._ceilings(context):
            reserved = self._reserved(ceiling) + turn.reserved_more
            if not ran:
                cost = 0
            elif turn.tokens_in is None or turn.end_reason is not None:
                cost = max(used, reserved)
            else:
                cost = used
            if cost != reserved:
                writes.append(self._counters.correct(name, cost - reserved, ceiling=ceiling, user_id=user_id))
        for fault in await asyncio.gather(*writes, return_exceptions=True):
            if fault is not None:
                raise fault

    def _over(self, context: RequestContext) -> RequestContext:
        """For the ledger: its turn has ended by now, so it takes no running place that somebody would have to free."""
        return replace(context, deadline_ms=self._clock() // 1_000_000)

    def _ceilings(self, context: RequestContext) -> list[Ceiling]:
        """Of every count of tokens that this user's turns run into."""
        stage = self._allowance.stage_tokens_per_day
        found: list[Ceiling] = [
            (USER_TOKENS, context.user.id, self._allowance.tokens_per_day),
            (GUEST_TOKENS, None, self._allowance.of_guests if context.user.is_guest else 0),
            (STAGE_TOKENS, None, stage),
        ]
        return [one for one in found if one[2] > 0]

    @staticmethod
    def _reserved(ceiling: int) -> int:
        return min(RESERVED_TOKENS, ceiling)

    async def _ask_switch(self) -> None:
        """QuotaError: those who run this have paused it."""
        if (said := await self._switched_off()) is not None:
            raise QuotaError(said or PAUSED, limit="switch", retry_after_s=SWITCH_RETRY_S)

    async def _switched_off(self) -> str | None:
        seen_s, said = self._switch
        if self._now() - seen_s >= SWITCH_S:
            said = await self._counters.switched_off()
            self._switch = (self._now(), said)
        return said

    def _of_tokens(self, user_id: str | None) -> QuotaError:
        left_s = seconds_left(self._clock())
        whose = "You have used up today's allowance" if user_id else "The assistant has used up today's allowance"
        limit = "user_tokens" if user_id else "stage_tokens"
        return QuotaError(
            f"{whose}. It comes back {in_words(left_s)}, at midnight UTC.", limit=limit, retry_after_s=left_s
        )


def _counts(limits: QuotaLimits) -> bool:
    """Whether the ledger has anything to count."""
    return any((limits.per_minute, limits.per_day, limits.running))


def _of_ledger(refused: QuotaRefused) -> QuotaError:
    when = in_words(refused.retry_after_s)
    match refused.limit:
        case "minute":
            text = f"These were as many messages as a minute may have. Go on {when}."
        case "day":
            text = f"These were as many messages as a day may have. They come back {when}, at midnight UTC."
        case "running":
            text = "As many answers as may be are being written for you. Wait for one of them to end."
    return QuotaError(text, limit=refused.limit, retry_after_s=refused.retry_after_s)


def in_words(seconds: int) -> str:
    """How long from now."""
    if seconds < 120:
        return f"in {seconds} seconds" if seconds != 1 else "in a second"
    return f"in {-(-seconds // 60)} minutes" if seconds < 7200 else f"in {-(-seconds // 3600)} hours"
