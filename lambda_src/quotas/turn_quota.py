"""Who may begin a turn now, and what it costs them: messages, turns at a time, tokens; and the operator's switch.

The ledger counts messages and running turns (one row a user), the counters count tokens. Order: switch, messages, the
user's tokens, those of a guest's network, the stage's. Tokens are reserved before a turn, from an estimate of its input
and the most it may answer, and its meter reserves more where a call needs it. At its end the turn is settled with what
the vendor counted; calls that nobody counted cost what was reserved for them. A dictation or an action without a stream
is a message too (`spend`). Knows no HTTP and no thread.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from secrets import token_hex

from lambda_src.context import RequestContext
from lambda_src.errors import ChatError, QuotaError
from lambda_src.meter import Meter
from lambda_src.quotas.turn_limits import DEFAULT_LIMITS, LimitsByUser
from lambda_src.store.counters import Counters, day_of, seconds_left
from lambda_src.store.ports import QuotaLimits, QuotaRefused, TurnLedger

ID_BYTES = 16  # of what a message is spent under that no turn was made of
GUEST_PER_MINUTE, GUEST_RUNNING = 5, 1  # a person types no faster, and reads one answer at a time
TAKEN_BACK_WITHIN_S = 0.5  # a write takes some 10 ms; one that is later stays spent for today
SWITCH_S = 5.0  # how old the switch's state may be: it is promised to work within ten seconds
SWITCH_RETRY_S = 60  # when to ask again is the operator's secret
PAUSED = "The assistant is paused by those who run it. Try again later."

ONE_GUEST, ONE_NETWORK = 1 / 3, 2 / 3  # of what guests may use: so neither takes the day from everybody else
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

    @property
    def of_one_guest(self) -> int:
        """Tokens of one guest; 0 is no limit."""
        return int((self.of_guests or self.stage_tokens_per_day) * ONE_GUEST)

    @property
    def of_one_network(self) -> int:
        """Tokens of all guests from one source address; 0 is no limit."""
        return int((self.of_guests or self.stage_tokens_per_day) * ONE_NETWORK)

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
        limits: LimitsByUser = DEFAULT_LIMITS,
        clock: Callable[[], int] = time.time_ns,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger, self._counters, self._allowance = ledger, counters, allowance
        self._limits, self._clock, self._now = limits, clock, now
        self._switch: tuple[float, str | None] = (float("-inf"), None)

    async def look(self) -> None:
        """Read the switch, beside what else stands before `admit`, which then knows it. What fails here fails there."""
        with suppress(ChatError):
            await self._switched_off()

    async def admit(self, context: RequestContext) -> None:
        """Spend what one turn costs. What is raised has spent nothing, but for the message where tokens had run out.

        QuotaError: it may not begin. UnavailableError: it could not be counted.
        """
        turn = context.turn
        assert turn is not None, "only turns are counted"
        await self._ask_switch()
        limits, ceilings = self._allowance.of(context), self._ceilings(context)
        refused: QuotaRefused | None = None
        try:
            if _counts(limits):
                placed = context if limits.running else self._over(context)
                refused = await self._ledger.spend_quota(turn.id, limits, context=placed)
            if refused is None and ceilings:
                day = day_of(self._clock())
                reserved = turn.input_tokens + self._limits.of(context.user).reserved_output
                reserve = partial(self._reserve, ceilings, day)
                await reserve(reserved)
                turn.meter = Meter(reserve, day=day, reserved=reserved)
        except BaseException:  # a cancelled turn has a place too, and nobody settles what never began
            if limits.running:
                with suppress(ChatError):  # else its place is free when it would have had to end
                    await self._ledger.end_quota(turn.id, context=context)
            raise
        if refused is not None:
            raise _of_ledger(refused)

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
        if tokens and (ceilings := self._ceilings(context)):
            await self._reserve(ceilings, day_of(self._clock()), tokens)

    async def _reserve(self, ceilings: Sequence[Ceiling], day: int, amount: int) -> None:
        """Reserve so much under each ceiling, or under none of them. QuotaError: there is not that much left.

        An addition that failed may have landed: it is not taken back, as no ceiling may ever be passed.
        """
        adding = [
            asyncio.ensure_future(self._counters.add(name, amount, ceiling=ceiling, user_id=user_id, day=day))
            for name, user_id, ceiling in ceilings
        ]
        try:
            await asyncio.wait(adding)
            for (name, user_id, _), task in zip(ceilings, adding, strict=True):
                if not task.result():
                    raise self._of_tokens(name, user_id)
        except BaseException:
            _, late = await asyncio.wait(adding, timeout=TAKEN_BACK_WITHIN_S)  # of a turn that is canceled meanwhile
            for task in late:
                task.cancel()
            mark = token_hex(ID_BYTES)
            for one, task in zip(ceilings, adding, strict=True):
                if task.done() and not task.cancelled() and task.exception() is None and task.result():
                    with suppress(ChatError):  # else it stays spent for today
                        await self._correct(one, -amount, day=day, mark=mark)
            raise

    async def settle(self, context: RequestContext) -> None:
        """The turn is over: free its place, and put what it costs in the place of what was reserved.

        Each on its own, so that one that fails leaves no other undone; the first fault is raised then.
        """
        turn = context.turn
        assert turn is not None, "only turns are counted"
        writes: list[Awaitable[None]] = []
        if self._allowance.of(context).running:
            writes.append(self._ledger.end_quota(turn.id, context=context))
        if (meter := turn.meter) is not None:
            counted = (turn.tokens_in or 0) + (turn.tokens_out or 0)  # with the runs that a tool began by itself
            if change := max(meter.cost, counted) - meter.reserved:
                writes += [self._correct(one, change, day=meter.day, mark=turn.id) for one in self._ceilings(context)]
        for fault in await asyncio.gather(*writes, return_exceptions=True):
            if fault is not None:
                raise fault

    async def _correct(self, one: Ceiling, amount: int, *, day: int, mark: str) -> None:
        name, user_id, ceiling = one
        await self._counters.correct(name, amount, ceiling=ceiling, user_id=user_id, day=day, mark=mark)

    def _over(self, context: RequestContext) -> RequestContext:
        """For the ledger: its turn has ended by now, so it takes no running place that somebody would have to free."""
        return replace(context, deadline_ms=self._clock() // 1_000_000)

    def _ceilings(self, context: RequestContext) -> list[Ceiling]:
        """Of every count of tokens that this user's turns run into."""
        allowance, user = self._allowance, context.user
        found: list[Ceiling] = [(USER_TOKENS, user.id, allowance.tokens_per_day)]
        if user.is_guest:
            found = [
                (USER_TOKENS, user.person, allowance.of_one_guest),
                (
                    f"{USER_TOKENS}-from-{context.source}",
                    None,
                    allowance.of_one_network,
                ),  # unknown sources share one count
                (GUEST_TOKENS, None, allowance.of_guests),
            ]
        found.append((STAGE_TOKENS, None, allowance.stage_tokens_per_day))
        return [one for one in found if one[2] > 0]

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

    def _of_tokens(self, name: str, user_id: str | None) -> QuotaError:
        left_s = seconds_left(self._clock())
        if user_id is not None:
            whose, limit = "You have used up today's allowance", "user_tokens"
        elif name in (STAGE_TOKENS, GUEST_TOKENS):
            whose, limit = "The assistant has used up today's allowance", "stage_tokens"
        else:
            whose, limit = "Guests from your network have used up today's allowance", "network_tokens"
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
    return QuotaError(text, limit=refused.limit, retry_after_s=refused.retry_after_s, running=refused.running)


def in_words(seconds: int) -> str:
    """How long from now."""
    if seconds < 120:
        return f"in {seconds} seconds" if seconds != 1 else "in a second"
    return f"in {-(-seconds // 60)} minutes" if seconds < 7200 else f"in {-(-seconds // 3600)} hours"
