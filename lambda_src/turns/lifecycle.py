"""Begin, attach to, stop, resume and recover turns. Knows no HTTP.

A turn is one user input and everything it sets off. docs/explanation/turns.md draws its states; `Turns.open` has the
rules for duplicate requests.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal, Protocol

from chatkit.store import NotFoundError

from lambda_src.context import RequestContext
from lambda_src.errors import ConflictError, QuotaError, ThreadHeldError, UnavailableError
from lambda_src.quotas.turn_quota import Quotas
from lambda_src.store.followers import Follower
from lambda_src.store.ports import Hold, IdempotencyConflict, TurnRow
from lambda_src.turns import closing, duplicates, journal, kept_message, partial_answer, turn_ids
from lambda_src.turns.duplicates import UNBEGUN_S, IdempotencyKey, TurnRequest
from lambda_src.turns.turn_task import Begin, Check, RunningTurn, TurnServices, recover

STOP_S = 60  # how long a stop waits for the request that it names: a cold start, and the time on the network
LOOK_AGAIN_S = (0.05, 0.1, 0.25)  # pauses of a duplicate while the first request has not begun; then as a follower
END_S = 2.0  # a turn that lost its lease has noticed and ended by then, or it is dead


class TurnStream(Protocol):
    """The events of a turn, whether this process runs it or another one."""

    turn_id: str

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The events, encoded, from the first one on."""
        ...

    async def finished(self) -> None:
        """Wait until the turn is over, if this process runs it."""
        ...

    async def stop(self) -> None:
        """The reader has left."""
        ...


class Attached:
    """The stream of a turn that another request began: replayed from its first event, followed to its end."""

    def __init__(self, turn_id: str, thread_id: str, turns: "Turns", context: RequestContext) -> None:
        self.turn_id = turn_id
        self._thread_id, self._turns, self._context = thread_id, turns, context

    async def __aiter__(self) -> AsyncIterator[bytes]:
        services = self._turns.services
        follower = Follower(self.turn_id, services.clock(), secrets.token_hex(4))
        events: list[bytes] = []
        async for event in journal.follow(
            services.ledger,
            self._thread_id,
            follower,
            context=self._context,
            sleep=services.sleep,
            clock=services.clock,
        ):
            if event is None:
                yield closing.encoded(closing.translated(closing.CROWDED, self._context.language))
                return
            events.append(event)
            yield services.with_urls(event, self._context)
        still_open = set(partial_answer.left_open(events))  # its process died, or another turn took the thread
        if unfinished := partial_answer.unfinished(events):
            await self._turns.recover(self._thread_id, self._context)
            for item in await services.answers.kept(unfinished, self._context):
                still_open.discard(item.id)
                yield closing.done(item)
        if still_open and not events[-1].startswith(closing.NOTICE):
            row = await services.ledger.load_turn(self._thread_id, context=self._context)
            has_died = row is not None and row.turn_id == self.turn_id
            notice = closing.SHUTDOWN if has_died else closing.ELSEWHERE
            yield closing.encoded(closing.translated(notice, self._context.language))

    async def is_over(self) -> bool:
        """Whether the turn is over: its stream is what the journal has, and what its recovery adds."""
        return await self._turns.running_in(self._thread_id, self._context) != self.turn_id

    async def finished(self) -> None:
        """Nothing to wait for: another process runs the turn."""

    async def stop(self) -> None:
        """Nothing to do: the turn continues without this reader."""


class Turns:
    """The turns of one store."""

    def __init__(self, services: TurnServices) -> None:
        self.services = services

    async def open(self, request: TurnRequest, check: Check, begin: Begin, *, context: RequestContext) -> TurnStream:
        """The stream for a request: a turn of its own, or the turn that this request repeats.

        `context.turn` is minted from the request's key. `check` raises if the request is not valid, before it could end
        the turn that runs. It writes nothing, and does not count for a repeated request, since the first one has
        already changed the thread. A request that is answered once is checked again right before the lease is taken:
        another one may have answered meanwhile, and be running. `begin` starts the run.

        A request that its client named attaches to the turn of that name for BOUND_S. So does a new thread with a file,
        by its bytes. Without a name, the same bytes of the same user attach while their turn runs, and those of a new
        message or a new thread for SAME_BODY_S after it: a second "hi" looks like a transport that sent the first one
        again. Later than that, "continue" twice, a second Regenerate or "hi" in two new chats each run; a client that
        means two at once names them. Whatever `check`, the quotas or `begin` refuse is raised, for each duplicate
        alike, and leaves no trace.

        While the thread waits for a person or has one, a message is stored without beginning a turn (KeptMessage).

        ConflictError: the name was used for another body, or the request resumes a turn that is no longer available.
        ThreadHeldError: a person has the thread, and the request is no message.
        """
        key = IdempotencyKey(self.services.ledger, request, context, clock=self.services.clock)
        if request.resumes:
            return await self._resumed(key, context)
        holder, invalid, _, hold = await asyncio.gather(
            key.claim(), check(), self._read_quota_switch(), self._hold(request, context), return_exceptions=True
        )
        while holder is not None:
            if isinstance(holder, BaseException):
                await key.refuse(holder)
                raise holder
            other = await self._attach(key, holder, context)
            if isinstance(other, Attached):
                return other
            holder = await key.claim(instead_of=other)
        try:
            for refused in (invalid, hold):
                if isinstance(refused, BaseException):
                    raise refused
            if hold is not None:
                if self.services.quotas is not None:
                    await self.services.quotas.count_message(context)
                return await kept_message.keep(key, begin, self.services, context)
            if self.services.quotas is not None:
                await self._admit(self.services.quotas, context)
            running = RunningTurn(key, context, self.services)
            check_again = check if request.is_answered_once else None
            try:
                await running.open(begin, thread_id=request.thread_id, check=check_again)
            except ThreadHeldError:
                if not request.is_message:
                    raise
                return await kept_message.keep(key, begin, self.services, context)
        except BaseException as error:
            await key.refuse(error)
            raise
        return running

    async def stop(self, context: RequestContext, *, turn_id: str | None, thread_id: str | None) -> bool:
        """Ask a turn of this user to stop, by its id, its name or its thread's id; False when there is none.

        A turn that has claimed its key but not begun stops when it begins. So does one whose request has not arrived
        yet, if that comes within STOP_S.
        """
        ledger = self.services.ledger
        if turn_id is not None:
            own_id = turn_id if turn_ids.key_in(turn_id) else None
            key = turn_ids.key_of_name(turn_id, context.user.id)
            request = await ledger.stop_request(key, turn_id, turn_id=own_id, ttl_s=STOP_S, context=context)
            if request is None or request.refusal is not None:
                return False
            if request.thread_id is None:
                return True
            turn_id, thread_id = request.turn_id, request.thread_id
        return thread_id is not None and await ledger.ask_to_stop(thread_id, turn_id, context=context) is not None

    async def running_in(self, thread_id: str, context: RequestContext) -> str | None:
        """The id of the turn that runs in a thread; None when none does, or the thread is missing or someone else's."""
        row = await self.services.ledger.load_turn(thread_id, context=context)
        is_running = row is not None and not row.ended and not await self._has_died(thread_id, row, context)
        return row.turn_id if row is not None and is_running else None

    async def resume(self, turn_id: str, context: RequestContext) -> TurnStream:
        """The stream of a turn, by its id or its name, from its first event.

        NotFoundError: it is unknown or another user's, its thread is deleted, it began more than BOUND_S ago, or its
        request was repeated since and began another one.
        """
        key = turn_ids.key_of_name(turn_id, context.user.id)
        request = await self.services.ledger.load_request(key, context=context)
        is_id = turn_ids.key_in(turn_id) is not None
        if request is None or request.thread_id is None or (is_id and request.turn_id != turn_id):
            raise NotFoundError("There is no such turn.")
        if await self.services.ledger.load_turn(request.thread_id, context=context) is None:
            raise NotFoundError("The thread of this turn is deleted.")
        return Attached(request.turn_id, request.thread_id, self, context)

    async def read_thread(
        self, thread_id: str, read: Callable[[], Awaitable[bytes]], *, context: RequestContext
    ) -> bytes:
        """The result of `read`, which reads a thread, after the answer of a turn that crashed in it was stored.

        The lease is looked at meanwhile; `read` runs a second time only after a recovery.
        """
        recovered, answer = await asyncio.gather(self.recover(thread_id, context), read(), return_exceptions=True)
        if isinstance(recovered, BaseException):
            raise recovered
        if recovered:
            return await read()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def recover(self, thread_id: str, context: RequestContext) -> bool:
        """Store the answer of a turn whose process died; False when there is no such turn."""
        row = await self.services.ledger.load_turn(thread_id, context=context)
        if row is None or row.ended or not await self._has_died(thread_id, row, context):
            return False
        await recover(self.services, thread_id, row, context)  # without the lease: a reader must not end a newer turn
        await self.services.ledger.end_lease(thread_id, row.turn_id, died=True, context=context)
        return True

    async def _resumed(self, key: IdempotencyKey, context: RequestContext) -> Attached:
        """The turn of which the client has received events. ConflictError when it is no longer available."""
        holder = await key.load()
        attached = None if holder is None else await self._attach(key, holder, context)
        if isinstance(attached, Attached):
            return attached
        raise ConflictError("The rest of this answer is no longer available. Reload the thread to see what was saved.")

    async def _hold(self, request: TurnRequest, context: RequestContext) -> Hold | None:
        """Who has the thread of a message. Only a hint, which saves admitting a turn: the lease decides."""
        if not self.services.has_operators or not request.is_message or request.thread_id is None:
            return None
        row = await self.services.ledger.load_turn(request.thread_id, context=context)
        return None if row is None else row.hold

    async def _read_quota_switch(self) -> None:
        if self.services.quotas is not None:
            await self.services.quotas.look()

    async def _has_died(self, thread_id: str, row: TurnRow, context: RequestContext) -> bool:
        """Whether nobody renews a lease that has not ended: it has expired by our clock, and is the same UNRENEWED_S
        later. One look is not enough, as the clock of the process that renews it may be behind ours.
        """
        expired_ms = self.services.clock() - row.expires_ms
        if not 0 <= expired_ms <= journal.SKEW_MS:
            return expired_ms > 0
        await self.services.sleep(journal.UNRENEWED_S)  # a living turn renews its lease in this time
        again = await self.services.ledger.load_turn(thread_id, context=context)
        return again is not None and (again.turn_id, again.expires_ms, again.ended) == (
            row.turn_id,
            row.expires_ms,
            False,
        )

    async def _admit(self, quotas: Quotas, context: RequestContext) -> None:
        """Quotas.admit; a turn whose process died does not count as running once its lease has expired."""
        try:
            await quotas.admit(context)
        except QuotaError as full:
            running = await asyncio.gather(*(self._runs(turn_id, context) for turn_id in full.running))
            dead = [turn_id for turn_id, runs in zip(full.running, running, strict=True) if not runs]
            if not dead:
                raise
            for turn_id in dead:
                await self.services.ledger.end_quota(turn_id, context=context)
            await quotas.admit(context)

    async def _runs(self, turn_id: str, context: RequestContext) -> bool:
        """Whether a turn that counts as running still runs, or is about to."""
        if (key := turn_ids.key_in(turn_id)) is None:
            return True
        request = await self.services.ledger.load_request(key, context=context)
        if request is None or request.turn_id != turn_id:
            return False
        return request.thread_id is None or await self.running_in(request.thread_id, context) == turn_id

    async def _attach(
        self, key: IdempotencyKey, holder: IdempotencyConflict, context: RequestContext
    ) -> Attached | str | None:
        """The stream of the turn that holds the key; its id, when it is over or dead; None when the key is free.

        Raises the refusal, if the request that holds the key was refused.
        """
        current: IdempotencyConflict | None = holder
        pauses_s = iter(LOOK_AGAIN_S)
        waited_s = 0.0
        while current is not None:
            if not current.same_body:
                raise ConflictError("This turn id (x-chat-turn) was used for another request. Mint a new one.")
            if current.refusal is not None:
                raise duplicates.unpacked(current.refusal)
            if (thread_id := current.thread_id) is not None:
                match await self._state(key.request, current, thread_id, context):
                    case "attach":
                        return Attached(current.turn_id, thread_id, self, context)
                    case "ending" if waited_s < END_S:
                        pass
                    case "ending" | "over":
                        return current.turn_id
            elif waited_s > UNBEGUN_S + END_S:
                raise UnavailableError("The same request came in a moment ago and has not begun yet. Try again.")
            pause_s = next(pauses_s, journal.FOLLOW_EVERY_S)
            await self.services.sleep(pause_s)  # until the first request's turn has begun or ended
            waited_s += pause_s
            current = await key.load()
        return None

    async def _state(
        self, request: TurnRequest, holder: IdempotencyConflict, thread_id: str, context: RequestContext
    ) -> Literal["attach", "ending", "over"]:
        """Whether `request` attaches to a turn that has begun, waits for its end, or runs anew.

        NotFoundError: the turn's thread is deleted.
        """
        row = await self.services.ledger.load_turn(thread_id, context=context)
        if request.is_unique:
            if row is None:
                raise NotFoundError("The thread of this turn is deleted.")
            return "attach"
        if row is None:
            return "over"
        if row.turn_id != holder.turn_id:  # another turn took its lease, and it ends as soon as it notices
            return "attach" if holder.ended else "ending"
        if not row.ended:
            return "over" if await self._has_died(thread_id, row, context) else "attach"
        ended_s = (self.services.clock() - row.expires_ms) / 1000
        return "attach" if request.is_retried and ended_s < duplicates.SAME_BODY_S else "over"
