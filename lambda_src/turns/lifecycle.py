"""Every way into a turn: begin one, attach to the one that runs, stop it, resume it, recover it. Knows no HTTP.

A turn is one user input and everything it sets off. docs/turns.md draws its states; the rules for duplicates stand in
`Turns.open`.
"""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

from chatkit.store import NotFoundError

from lambda_src.context import RequestContext, Turn
from lambda_src.errors import ChatError, ConflictError, QuotaError, UnavailableError
from lambda_src.quotas.turn_quota import Quotas
from lambda_src.store.bounds import LONGEST_INVOCATION_S
from lambda_src.store.followers import Follower
from lambda_src.store.ports import IdempotencyConflict, TurnRow
from lambda_src.turns import duplicates, endings, journal, partial_answer, turn_ids
from lambda_src.turns.turn_task import Begin, RunningTurn, TurnCallbacks, TurnServices, recover

BOUND_S = LONGEST_INVOCATION_S + 60  # how long a turn is found by its id or name
UNBEGUN_S = 10  # how long a request may take to begin its turn: then another one may have its key
SAME_BODY_S = 5  # how long after its end a new message with the same bytes is taken for a retry
STOP_S = 60  # how long a Stop waits for the request that it is about: a cold start and the way there
LOOK_AGAIN_S = (0.05, 0.1, 0.25)  # a duplicate whose first one has not begun asks that often, then as a follower does
END_S = 2.0  # a turn that lost its lease has noticed and ended by then, or it is dead

CREATE = "threads.create"
RETRIED = frozenset({CREATE, "threads.add_user_message"})  # what a client's transport sends again by itself
ONCE = frozenset({"threads.add_client_tool_output", "threads.add_structured_input"})  # a second tab's is refused
REMOVING = frozenset({"threads.retry_after_item"})  # what takes items away before it answers

Check = Callable[[], Awaitable[None]]


class TurnStream(Protocol):
    """A turn's events, whoever runs it."""

    turn_id: str

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The events, encoded, from the first one on."""
        ...

    async def finished(self) -> None:
        """Wait until the turn is over, if this process runs it."""
        ...

    async def stop(self) -> None:
        """Nobody reads any more."""
        ...


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """What a streaming request says of its turn.

    `named` is the client's name for it (x-chat-turn), if it sent one. A request that `resumes` has seen events of it
    already (Last-Event-ID), so it must not begin a turn. `brings_files`: its message has attachments.
    """

    operation: str
    thread_id: str | None
    body: bytes
    named: str | None
    resumes: bool = False
    brings_files: bool = False

    @property
    def is_unique(self) -> bool:
        """Whether a second request with the same key is always a retry: the client named it, or it begins a thread with
        a file, and a file belongs to one thread.
        """
        return self.named is not None or (self.operation == CREATE and self.brings_files)

    def key(self, user_id: str) -> str:
        """The key that this request and its duplicates share; the id of its turn is minted from it."""
        return (
            turn_ids.key_of_body(self.body, user_id)
            if self.named is None
            else turn_ids.key_of_name(self.named, user_id)
        )

    def turn(self, user_id: str) -> Turn:
        """A new turn for this request."""
        key = self.key(user_id)
        turn = Turn(id=turn_ids.mint(key))
        if self.is_unique:
            turn.message_id = turn_ids.message_id(key)
            turn.thread_id = turn_ids.thread_id(key) if self.operation == CREATE else None
        return turn


class Attached:
    """The stream of a turn that runs elsewhere, or ran: replayed from its first event, followed to its end."""

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
                yield endings.encoded(endings.CROWDED)
                return
            events.append(event)
            yield event if services.links is None else services.links.linked(event, self._context)
        if unfinished := partial_answer.unfinished(events):  # its process died, or another turn took the thread
            await self._turns.recover(self._thread_id, self._context)
            for item in await services.answers.kept(unfinished, self._context):
                yield endings.done(item)

    async def is_over(self) -> bool:
        """Whether the turn emits nothing more than it has journaled, and what its recovery adds."""
        return await self._turns.running_in(self._thread_id, self._context) != self.turn_id

    async def finished(self) -> None:
        """Nothing to wait for: the turn is not ours."""

    async def stop(self) -> None:
        """Nothing to do: the turn is not ours."""


class Turns:
    """The turns of one store."""

    def __init__(self, services: TurnServices) -> None:
        self.services = services

    async def open(self, asked: TurnRequest, check: Check, begin: Begin, *, context: RequestContext) -> TurnStream:
        """The stream for a request: a turn of its own, or the one that this request repeats.

        `context.turn` is minted from the request's key. `check` raises what is wrong with the request, before it may
        end the turn that runs; it writes nothing, and does not count for a repeated request, whose first one has
        changed the thread already. What only one request may answer (ONCE) is checked again right before the lease is
        taken: another one may have answered it meanwhile, and runs. `begin` starts the run.

        A request that its client named attaches to the turn of that name for BOUND_S; so does a new thread with a file,
        by its bytes. Without a name the same bytes of the same user attach while their turn runs, and those of a new
        message or a new thread SAME_BODY_S after: nobody can tell a second "hi" from a transport that sent the first
        one again. After that "continue" twice, a second Regenerate or "hi" in two new chats each run; a client that
        means two at once names them. What `check`, the
        quotas and `begin` refuse is raised, for each duplicate alike, and leaves no trace.

        ConflictError: the name was used for another body, or the request resumes a turn that is no longer found.
        """
        turn = context.turn
        assert turn is not None, "the app gives every streaming request a turn"
        ledger = self.services.ledger
        key = asked.key(context.user.id)
        digest = hashlib.sha256(asked.body).digest()
        if asked.resumes:
            return await self._resumed(asked, key, digest, context)
        claim = partial(ledger.claim_request, key, turn.id, body_hash=digest, ttl_s=UNBEGUN_S, context=context)
        began_ms = self.services.clock()
        begin_by_ms = began_ms + UNBEGUN_S * 1000
        claimed, refused, _ = await asyncio.gather(claim(), check(), self._look(), return_exceptions=True)
        while claimed is not None:
            if isinstance(claimed, BaseException):
                with suppress(ChatError):  # its write may have landed, or may land still: the key is free in UNBEGUN_S
                    await ledger.release_request(key, turn.id, context=context)
                raise claimed
            found = await self._attach(asked, key, claimed, digest, context)
            if isinstance(found, Attached):
                return found
            begin_by_ms = self.services.clock() + UNBEGUN_S * 1000
            claimed = await claim(instead_of=found)
        try:
            if isinstance(refused, BaseException):
                raise refused
            if self.services.quotas is not None:
                await self._admit(self.services.quotas, context)
            hooks = self._hooks(asked, key, check, context, began_ms=began_ms, begin_by_ms=begin_by_ms)
            running = RunningTurn(turn, context, self.services, hooks)
            await running.open(begin, thread_id=asked.thread_id)
        except BaseException as error:
            with suppress(ChatError):  # else the key is free in UNBEGUN_S; what is raised is the refusal
                if (refusal := duplicates.packed(error)) is not None:
                    await ledger.refuse_request(key, turn.id, refusal, context=context)
                else:
                    await ledger.release_request(key, turn.id, context=context)
            raise
        return running

    async def stop(self, context: RequestContext, *, turn_id: str | None, thread_id: str | None) -> bool:
        """Ask a turn to stop, by its id, its name or its thread's id; False when there is none that is this user's.

        One that has claimed its key but not begun stops when it begins; so does one whose name is not known here yet,
        if its request comes within STOP_S.
        """
        ledger = self.services.ledger
        if turn_id is not None:
            own = turn_id if turn_ids.key_in(turn_id) else None
            key = turn_ids.key_of_name(turn_id, context.user.id)
            found = await ledger.stop_request(key, turn_id, turn_id=own, ttl_s=STOP_S, context=context)
            if found is None or found.refusal is not None:
                return False
            if found.thread_id is None:
                return True
            turn_id, thread_id = found.turn_id, found.thread_id
        return thread_id is not None and await ledger.ask_to_stop(thread_id, turn_id, context=context) is not None

    async def running_in(self, thread_id: str, context: RequestContext) -> str | None:
        """The id of the turn that runs in a thread; None when none does, or the thread is missing or someone else's."""
        row = await self.services.ledger.load_turn(thread_id, context=context)
        is_running = row is not None and not row.ended and not await self._has_died(thread_id, row, context)
        return row.turn_id if row is not None and is_running else None

    async def resume(self, turn_id: str, context: RequestContext) -> TurnStream:
        """The stream of a turn, by its id or its name, from its first event.

        NotFoundError: it is unknown or foreign, its thread is deleted, it began more than BOUND_S ago, or its request
        came again since and began another one.
        """
        found = await self.services.ledger.load_request(turn_ids.key_of_name(turn_id, context.user.id), context=context)
        own = turn_ids.key_in(turn_id) is not None
        if found is None or found.thread_id is None or (own and found.turn_id != turn_id):
            raise NotFoundError("There is no such turn.")
        return await self._attached(found.turn_id, found.thread_id, context)

    async def shown(self, thread_id: str, read: Callable[[], Awaitable[bytes]], *, context: RequestContext) -> bytes:
        """What `read` reads of a thread, read beside its lease; once more when a crashed turn had to be kept first."""
        recovered, answer = await asyncio.gather(self.recover(thread_id, context), read(), return_exceptions=True)
        if isinstance(recovered, BaseException):
            raise recovered
        if recovered:
            return await read()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def recover(self, thread_id: str, context: RequestContext) -> bool:
        """Keep what a turn whose process died had said; False when there is no such turn."""
        row = await self.services.ledger.load_turn(thread_id, context=context)
        if row is None or row.ended or not await self._has_died(thread_id, row, context):
            return False
        await recover(self.services, thread_id, row, context)  # without the lease: a reader must not end a newer turn
        await self.services.ledger.end_lease(thread_id, row.turn_id, died=True, context=context)
        return True

    async def _resumed(self, asked: TurnRequest, key: str, digest: bytes, context: RequestContext) -> Attached:
        """The turn that a request has seen events of. ConflictError when it is no longer found."""
        found = await self.services.ledger.load_request(key, body_hash=digest, context=context)
        attached = None if found is None else await self._attach(asked, key, found, digest, context)
        if isinstance(attached, Attached):
            return attached
        raise ConflictError("The rest of this answer is no longer available. Reload the thread to see what was saved.")

    async def _look(self) -> None:
        if self.services.quotas is not None:
            await self.services.quotas.look()

    async def _has_died(self, thread_id: str, row: TurnRow, context: RequestContext) -> bool:
        """Whether nobody renews a lease that has not ended: it has run out by our clock, and a second look finds it the
        same. One look is not enough, as the clock of the process that renews it may be behind ours.
        """
        expired_ms = self.services.clock() - row.expires_ms
        if not 0 <= expired_ms <= journal.SKEW_MS:
            return expired_ms > 0
        await self.services.sleep(journal.UNRENEWED_S)
        again = await self.services.ledger.load_turn(thread_id, context=context)
        return again is not None and (again.turn_id, again.expires_ms, again.ended) == (
            row.turn_id,
            row.expires_ms,
            False,
        )

    async def _admit(self, quotas: Quotas, context: RequestContext) -> None:
        """Quotas.admit; a turn whose process died holds no place once its lease has run out."""
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
        """Whether a turn that has a place still runs, or is about to."""
        if (key := turn_ids.key_in(turn_id)) is None:
            return True
        found = await self.services.ledger.load_request(key, context=context)
        if found is None or found.turn_id != turn_id:
            return False
        return found.thread_id is None or await self.running_in(found.thread_id, context) == turn_id

    async def _attached(self, turn_id: str, thread_id: str, context: RequestContext) -> Attached:
        """The turn's stream. NotFoundError when its thread is deleted, and its journal with it."""
        if await self.services.ledger.load_turn(thread_id, context=context) is None:
            raise NotFoundError("The thread of this turn is deleted.")
        return Attached(turn_id, thread_id, self, context)

    async def _attach(
        self, asked: TurnRequest, key: str, claimed: IdempotencyConflict, digest: bytes, context: RequestContext
    ) -> Attached | str | None:
        """The stream of the turn that has the key; or that turn, when it is over or dead; or None: the key is free.

        A refused request's refusal is raised.
        """
        standing: IdempotencyConflict | None = claimed
        looks = iter(LOOK_AGAIN_S)
        waited_s = 0.0
        while standing is not None:
            if not standing.same_body:
                raise ConflictError("This turn id (x-chat-turn) was used for another request. Mint a new one.")
            if standing.refusal is not None:
                raise duplicates.unpacked(standing.refusal)
            if (thread_id := standing.thread_id) is not None:
                match await self._state(asked, standing, thread_id, context):
                    case "attach":
                        return Attached(standing.turn_id, thread_id, self, context)
                    case "ending" if waited_s < END_S:
                        pass
                    case "ending" | "over":
                        return standing.turn_id
            elif waited_s > UNBEGUN_S + END_S:
                raise UnavailableError("The same request came in a moment ago and has not begun yet. Try again.")
            pause_s = next(looks, journal.FOLLOW_EVERY_S)
            await self.services.sleep(pause_s)
            waited_s += pause_s
            standing = await self.services.ledger.load_request(key, body_hash=digest, context=context)
        return None

    async def _state(
        self, asked: TurnRequest, standing: IdempotencyConflict, thread_id: str, context: RequestContext
    ) -> Literal["attach", "ending", "over"]:
        """What a turn that has begun is to the next request with its key. NotFoundError: its thread is deleted."""
        row = await self.services.ledger.load_turn(thread_id, context=context)
        if asked.is_unique:
            if row is None:
                raise NotFoundError("The thread of this turn is deleted.")
            return "attach"
        if row is None:
            return "over"
        if row.turn_id != standing.turn_id:  # another turn took its lease: it says itself when it has noticed
            return "attach" if standing.ended else "ending"
        if not row.ended:
            return "over" if await self._has_died(thread_id, row, context) else "attach"
        ended_s = (self.services.clock() - row.expires_ms) / 1000
        return "attach" if asked.operation in RETRIED and ended_s < SAME_BODY_S else "over"

    def _hooks(
        self, asked: TurnRequest, key: str, check: Check, context: RequestContext, *, began_ms: int, begin_by_ms: int
    ) -> TurnCallbacks:
        assert context.turn is not None
        ledger, turn_id = self.services.ledger, context.turn.id

        async def leased(thread_id: str) -> bool:
            """From now on the turn is found by its id and name: to stop it, to resume it, to attach to it."""
            bound = await ledger.bind_request(key, turn_id, thread_id=thread_id, ttl_s=BOUND_S, context=context)
            if bound is None:
                raise UnavailableError("The same request began anew meanwhile. Try again.")
            return bound.stop_of is not None and bound.stop_of in (turn_id, asked.named)

        async def ended(ran: bool, held: bool) -> None:
            """Its row in the thread says that it has ended, unless that is another turn's by now."""
            try:
                if self.services.quotas is not None:
                    await self.services.quotas.settle(context)
            finally:
                if ran and not held and not asked.is_unique:
                    if asked.operation in RETRIED:
                        await ledger.end_request(key, turn_id, ttl_s=SAME_BODY_S, context=context)
                    else:
                        await ledger.release_request(key, turn_id, context=context)

        again = check if asked.operation in ONCE else None
        return TurnCallbacks(began_ms, begin_by_ms, again, asked.operation in REMOVING, leased, ended)
