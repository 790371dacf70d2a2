"""Quotas of turns: messages, concurrent turns and tokens, per user and per stage, and the operator's kill switch.

The ledger counts messages and running turns (one row per user); the counters count tokens. The order of the checks:
kill switch, messages, then the tokens of the user, of a guest's network, of all guests and of the stage. Tokens are
reserved before a turn begins: its estimated input and its longest possible answer. Its meter reserves more when a model
call needs it. When the turn ends, what the vendor counted replaces the reservation; calls that were not counted keep
their reservation as their cost. A dictation or an action without a stream counts as a message (`spend`).

A stage that counts its usage (store/usage.py) reserves its tokens in any case: that write counts the turns that begin,
and the end of each turn adds one row's worth of usage. Knows no HTTP and no thread.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from secrets import token_hex
from typing import Literal

from lambda_src.context import RequestContext, Turn, User
from lambda_src.errors import ChatError, QuotaError
from lambda_src.languages import Sentence
from lambda_src.meter import Meter
from lambda_src.quotas.turn_limits import turn_limits
from lambda_src.settings import Settings
from lambda_src.store.counters import Begun, Counters, day_of, seconds_left
from lambda_src.store.ports import QuotaLimits, QuotaRefused, TurnLedger
from lambda_src.store.usage import STAGE_TOKENS, Source, Usage, UsageRows

ID_BYTES = 16  # of the random id for a message that starts no turn
GUEST_PER_MINUTE, GUEST_RUNNING = 5, 1  # people do not type faster, and read one answer at a time
TAKEN_BACK_WITHIN_S = 0.5  # a write takes about 10 ms; a later one stays spent for today
SWITCH_S = 5.0  # how long the switch's state is cached: the docs promise that it works within ten seconds
SWITCH_RETRY_S = 60  # nobody knows when the operator resumes
PAUSED = "The operator has paused this assistant. Try again later."

ONE_GUEST, ONE_NETWORK = 1 / 3, 2 / 3  # shares of the guests' tokens: neither can use up the day for everybody
USER_TOKENS, GUEST_TOKENS = "tokens", "guest-tokens"  # counters in the user's partition, and in STAGE#
UNLIMITED = 10**15  # the ceiling of a stage that has no limit on tokens and counts its usage

Outcome = Literal["whole", "cut", "failed", "refused"]
"""How a turn ended. "refused": before its answer began."""

Ceiling = tuple[str, str | None, int]
"""(name of the counter, user id or None for the stage's, highest value that it may reach)."""


class Quotas:
    """Reserves a turn's cost before its lease (`admit`) and corrects it at its end (`settle`).

    `clock` returns nanoseconds since 1970. With `usage`, what turns and dictations use is counted there.
    """

    def __init__(
        self,
        ledger: TurnLedger,
        counters: Counters,
        settings: Settings,
        *,
        usage: UsageRows | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._ledger, self._counters, self._settings, self._clock = ledger, counters, settings, clock
        self._usage = usage
        self._switch: tuple[float, str | None] = (float("-inf"), None)

    async def look(self) -> None:
        """Read the kill switch early, beside other work, so that `admit` finds it cached. Ignores failures."""
        with suppress(ChatError):
            await self._switched_off()

    async def admit(self, context: RequestContext) -> None:
        """Reserve the cost of one turn.

        Raises QuotaError if the turn may not begin, UnavailableError if it could not be counted. Nothing is spent then,
        except for the message when tokens have run out.
        """
        turn = context.turn
        assert turn is not None, "only turns are counted"
        await self._check_switch()
        limits, ceilings = self._limits(context.user), self._ceilings(context)
        refused: QuotaRefused | None = None
        try:
            if _counts(limits):
                placed = context if limits.running else self._ended(context)
                refused = await self._ledger.spend_quota(turn.id, limits, context=placed)
            if refused is None and ceilings:
                day = day_of(self._clock())
                reserved = turn.input_tokens + turn_limits(self._settings, context.user).reserved_output
                reserve = partial(self._reserve, ceilings, day)
                await reserve(reserved, begun=self._begun(context))
                turn.meter = Meter(reserve, day=day, reserved=reserved)
                turn.is_counted = self._usage is not None
        except BaseException:  # including cancellation: a turn that never begins is never settled
            if limits.running:
                with suppress(ChatError):  # otherwise its place becomes free at its deadline
                    await self._ledger.end_quota(turn.id, context=context)
            raise
        if refused is not None:
            raise _of_ledger(refused)

    async def spend(self, context: RequestContext, *, tokens: int) -> None:
        """Spend a message and `tokens` on something that is not a turn. It occupies no place and is not settled.

        Raises QuotaError if it is not allowed. As in `admit`, the message stays spent when tokens have run out.
        """
        await self._check_switch()
        await self.count_message(context)
        if tokens and (ceilings := self._ceilings(context)):
            await self._reserve(ceilings, day_of(self._clock()), tokens, begun=self._begun(context))

    async def count_message(self, context: RequestContext) -> None:
        """Spend a message to a person, which costs no tokens, so it is allowed while new turns are paused.

        Raises QuotaError if the user may send no more messages at the moment.
        """
        limits = replace(self._limits(context.user), running=0)
        if _counts(limits):
            own_id = token_hex(ID_BYTES)
            refused = await self._ledger.spend_quota(own_id, limits, context=self._ended(context))
            if refused is not None:
                raise _of_ledger(refused)
            with suppress(ChatError):  # otherwise the next turn cleans up
                await self._ledger.end_quota(own_id, context=context)

    async def dictated(self, context: RequestContext, model: str, usage: Usage) -> None:
        """Count a dictation that has ended, for which `spend` was called before. No-op if usage is not counted."""
        if self._usage is not None:
            source = Source(day_of(self._clock()), context.user.assistant, model, context.release)
            await self._usage.add(source, replace(usage, dictations=1), mark=context.request_id)

    async def rated(
        self, context: RequestContext, kind: Literal["positive", "negative"], sources: Sequence[str]
    ) -> None:
        """Count thumbs up or down. `sources`: model, `#` and release of each rated item. Ignores failures."""
        if self._usage is None:
            return
        day = day_of(self._clock())
        for written_by, items in Counter(sources).items():
            model, _, release = written_by.rpartition("#")
            usage = Usage(thumbs_up=items) if kind == "positive" else Usage(thumbs_down=items)
            with suppress(ChatError):  # the feedback itself is stored
                await self._usage.add(
                    Source(day, context.user.assistant, model, release), usage, mark=context.request_id
                )

    async def _reserve(self, ceilings: Sequence[Ceiling], day: int, amount: int, *, begun: Begun | None = None) -> None:
        """Reserve `amount` under every ceiling, or under none. Raises QuotaError if there is not enough left.

        An addition that failed may have been written. It is not subtracted again, so no ceiling is ever exceeded. The
        reservation of the stage's tokens counts what has `begun`.
        """
        counted = [begun if _is_stage(ceiling) else None for ceiling in ceilings]
        adding = [
            asyncio.ensure_future(
                self._counters.add(name, amount, ceiling=ceiling, user_id=user_id, day=day, begun=count)
            )
            for (name, user_id, ceiling), count in zip(ceilings, counted, strict=True)
        ]
        try:
            await asyncio.wait(adding)
            for (name, user_id, _), task in zip(ceilings, adding, strict=True):
                if not task.result():
                    raise self._of_tokens(name, user_id)
        except BaseException:
            _, late = await asyncio.wait(adding, timeout=TAKEN_BACK_WITHIN_S)  # the turn may have been canceled
            for task in late:
                task.cancel()
            mark = token_hex(ID_BYTES)
            for one, task, count in zip(ceilings, adding, counted, strict=True):
                if task.done() and not task.cancelled() and task.exception() is None and task.result():
                    with suppress(ChatError):  # otherwise it stays spent for today
                        await self._correct(one, -amount, day=day, mark=mark, unbegun=count)
            raise

    async def settle(self, context: RequestContext, outcome: Outcome = "whole") -> None:
        """End the turn: free its place, replace the reservation by the actual cost, and count its usage.

        The writes are independent: if one fails, the others are still made, and the first error is raised afterwards.
        """
        turn = context.turn
        assert turn is not None, "only turns are counted"
        writes: list[Awaitable[None]] = []
        if self._limits(context.user).running:
            writes.append(self._ledger.end_quota(turn.id, context=context))
        if (meter := turn.meter) is not None:
            counted = (turn.tokens_in or 0) + (turn.tokens_out or 0)  # includes runs that a tool started itself
            if change := max(meter.cost, counted) - meter.reserved:
                limited = [one for one in self._ceilings(context) if one[2] != UNLIMITED]
                writes += [self._correct(one, change, day=meter.day, mark=turn.id) for one in limited]
            if self._usage is not None:
                source = Source(meter.day, context.user.assistant, turn.model or "", context.release)
                writes.append(self._usage.add(source, _usage_of(turn, outcome), mark=turn.id))
        for error in await asyncio.gather(*writes, return_exceptions=True):
            if error is not None:
                raise error

    async def _correct(self, one: Ceiling, amount: int, *, day: int, mark: str, unbegun: Begun | None = None) -> None:
        name, user_id, ceiling = one
        await self._counters.correct(
            name, amount, ceiling=ceiling, user_id=user_id, day=day, mark=mark, unbegun=unbegun
        )

    def _begun(self, context: RequestContext) -> Begun | None:
        return None if self._usage is None else Begun(context.user.assistant, context.release)

    def _ended(self, context: RequestContext) -> RequestContext:
        """A context whose deadline is now: its turn occupies no running place that must be freed later."""
        return replace(context, deadline_ms=self._clock() // 1_000_000)

    def _limits(self, user: User) -> QuotaLimits:
        """The limits that the ledger enforces for this user."""
        if user.is_guest:
            return QuotaLimits(GUEST_PER_MINUTE, self._settings.guest_quotas.messages_per_day, GUEST_RUNNING)
        quotas = self._settings.quotas
        return QuotaLimits(quotas.messages_per_minute, quotas.messages_per_day, quotas.running_turns)

    def _ceilings(self, context: RequestContext) -> list[Ceiling]:
        """The token ceilings that apply to this user's turns."""
        user, stage = context.user, self._settings.quotas.stage_tokens_per_day
        ceilings: list[Ceiling] = [(USER_TOKENS, user.id, self._settings.quotas.tokens_per_day)]
        if user.is_guest:
            percent = self._settings.guest_quotas.tokens_percent
            guests = max(1, stage * percent // 100) if stage else 0  # the rest stays for users who sign in
            ceilings = [
                (USER_TOKENS, user.person, int(guests * ONE_GUEST)),
                (f"{USER_TOKENS}-from-{context.source}", None, int(guests * ONE_NETWORK)),  # unknown sources share one
                (GUEST_TOKENS, None, guests if percent < 100 else 0),
            ]
        ceilings.append((STAGE_TOKENS, None, stage or (UNLIMITED if self._usage is not None else 0)))
        return [ceiling for ceiling in ceilings if ceiling[2] > 0]

    async def _check_switch(self) -> None:
        """Raises QuotaError, with the operator's text if there is one, while the kill switch is on."""
        if (text := await self._switched_off()) is not None:
            raise QuotaError(text or PAUSED, limit="switch", retry_after_s=SWITCH_RETRY_S)

    async def _switched_off(self) -> str | None:
        read_at_s, text = self._switch
        if self._clock() / 1e9 - read_at_s >= SWITCH_S:
            text = await self._counters.switched_off()
            self._switch = (self._clock() / 1e9, text)
        return text

    def _of_tokens(self, name: str, user_id: str | None) -> QuotaError:
        left_s = seconds_left(self._clock())
        if user_id is not None:
            sentence, limit = "You have used up today's allowance. It resets {when}, at midnight UTC.", "user_tokens"
        elif name in (STAGE_TOKENS, GUEST_TOKENS):
            sentence = "The assistant has used up today's allowance. It resets {when}, at midnight UTC."
            limit = "stage_tokens"
        else:
            sentence = "Guests from your network have used up today's allowance. It resets {when}, at midnight UTC."
            limit = "network_tokens"
        return QuotaError(Sentence(sentence, when=in_words(left_s)), limit=limit, retry_after_s=left_s)


def _is_stage(ceiling: Ceiling) -> bool:
    """Whether it is the ceiling of all tokens of the stage."""
    return ceiling[:2] == (STAGE_TOKENS, None)


def _usage_of(turn: Turn, outcome: Outcome) -> Usage:
    if outcome == "refused":
        return Usage(refused=1)
    assert turn.meter is not None, "a turn is counted if its tokens were reserved"
    return Usage(
        turns=1,
        cut=int(outcome == "cut"),
        failed=int(outcome == "failed"),
        unsettled=int(not turn.meter.is_settled),
        tokens_in=turn.tokens_in or 0,
        tokens_cached=turn.tokens_cached or 0,
        tokens_out=turn.tokens_out or 0,
    )


def _counts(limits: QuotaLimits) -> bool:
    """Whether the ledger has a limit to enforce."""
    return any((limits.per_minute, limits.per_day, limits.running))


def _of_ledger(refused: QuotaRefused) -> QuotaError:
    when = in_words(refused.retry_after_s)
    match refused.limit:
        case "minute":
            text = Sentence("You have reached the limit of messages per minute. Continue {when}.", when=when)
        case "day":
            text = Sentence("You have reached today's limit of messages. It resets {when}, at midnight UTC.", when=when)
        case "running":
            text = Sentence(
                "Too many of your messages are being answered at the moment. Wait until an answer is finished."
            )
    return QuotaError(text, limit=refused.limit, retry_after_s=refused.retry_after_s, running=refused.running)


def in_words(seconds: int) -> Sentence:
    """A duration from now, for a sentence: `in 5 minutes`."""
    if seconds < 120:
        return Sentence("in {count} seconds", count=seconds) if seconds != 1 else Sentence("in a second")
    if seconds < 7200:
        return Sentence("in {count} minutes", count=-(-seconds // 60))
    return Sentence("in {count} hours", count=-(-seconds // 3600))
