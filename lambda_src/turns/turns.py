"""Every way into a turn: begin one, attach to the one that runs, stop it, resume it, recover it. Knows no HTTP.

A turn is one user input and everything it sets off. docs/turns.md draws its states; the rules for duplicates stand in
`Turns.open`.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from chatkit.store import NotFoundError

from lambda_src.context import RequestContext
from lambda_src.errors import ConflictError, UnavailableError
from lambda_src.store.ports import GuardLost, TurnRow
from lambda_src.turns import endings, fold, journal
from lambda_src.turns.running import Begin, Hooks, RunningTurn, Surroundings, recover

GUARD_S = 16 * 60  # a key outlives the longest turn: 15 minutes is the most Lambda gives
NAMED_KEY_S = 60  # how long after its end a turn that the client named is still attached to
SAME_BODY_S = 5  # how long after its end a new message with the same bytes is taken for a retry
UNBEGUN_S = 60  # how long a name is taken by a turn that died before it had its lease; from then on GUARD_S
BIND_TRIES = 20  # half a second each: how long a duplicate waits for a new thread to get its name
END_TRIES = 4  # half a second each: a turn that lost its lease has noticed and ended by then, or it is dead

RETRIED = frozenset({"threads.create", "threads.add_user_message"})  # what a client's transport sends again by itself


Check = Callable[[], Awaitable[None]]


class TurnStream(Protocol):
    """A turn's events, whoever runs it."""

    turn_id: str

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The events, encoded, from the first one on."""
        ...

    async def stop(self) -> None:
        """Nobody reads any more."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What a streaming request says of its turn. `named` is the client's own turn id (x-chat-turn), if it sent one."""

    operation: str
    thread_id: str | None
    body: bytes
    named: str | None


class Attached:
    """The stream of a turn that runs elsewhere, or ran: replayed from its first event, followed to its end."""

    def __init__(self, turn_id: str, thread_id: str, turns: "Turns", context: RequestContext) -> None:
        self.turn_id = turn_id
        self._thread_id, self._turns, self._context = thread_id, turns, context

    async def __aiter__(self) -> AsyncIterator[bytes]:
        around = self._turns.around
        events: list[bytes] = []
        async for event in journal.follow(
            around.ledger, self._thread_id, self.turn_id, context=self._context, sleep=around.sleep, clock=around.clock
        ):
            events.append(event)
            yield event
        if unfinished := fold.unfinished(events):  # its process died, or another turn took the thread
            await self._turns.recover(self._thread_id, self._context)
            for item in await around.keeper.kept(unfinished, self._context):
                yield endings.done(item)

    async def stop(self) -> None:
        """Nothing to do: the turn is not ours."""


class Turns:
    """The turns of one store."""

    def __init__(self, around: Surroundings) -> None:
        self.around = around

    async def open(self, asked: Asked, check: Check, begin: Begin, *, context: RequestContext) -> TurnStream:
        """The stream for a request: a turn of its own, or the one that this request repeats.

        `check` raises what is wrong with the request, before it may end the turn that runs; it writes nothing, and does
        not count for a repeated request, whose first one has changed the thread already. `begin` starts the run.

        A turn that the client named is attached to by its name until NAMED_KEY_S after its end. Without a name the same
        bytes of the same user attach while their turn runs, and new messages also SAME_BODY_S after: so "continue"
        twice, a second Regenerate or "hi" in two new chats each run. ConflictError: the name was used for another body.
        What `check`, the quotas and `begin` refuse is raised, and leaves no trace.
        """
        turn = context.turn
        assert turn is not None, "the app gives every streaming request a turn"
        digest = hashlib.sha256(asked.body).digest()
        key = asked.named or f"body-{digest.hex()[:40]}"
        ttl_s = GUARD_S if asked.named is None else UNBEGUN_S
        claim = partial(self.around.ledger.claim_request, key, turn.id, body_hash=digest, ttl_s=ttl_s, context=context)
        claimed, refused = await asyncio.gather(claim(), check(), return_exceptions=True)
        while claimed is not None:
            if isinstance(claimed, BaseException):
                raise claimed
            if (attached := await self._attach(key, claimed, context)) is not None:
                return attached
            await self.around.ledger.release_request(key, claimed.turn_id, context=context)
            claimed = await claim()
        try:
            if isinstance(refused, BaseException):
                raise refused
            if self.around.quotas is not None:
                await self.around.quotas.admit(context)
        except BaseException:
            await self.around.ledger.release_request(key, turn.id, context=context)
            raise
        running = RunningTurn(turn, context, self.around, self._hooks(asked, key, turn.id, context))
        await running.open(begin, thread_id=asked.thread_id)
        return running

    async def stop(self, context: RequestContext, *, turn_id: str | None, thread_id: str | None) -> bool:
        """Ask a running turn to stop, by its id or its thread's; False when there is none that is this user's."""
        if thread_id is None and turn_id is not None:
            found = await self.around.ledger.load_request(turn_id, context=context)
            thread_id = found.thread_id if found is not None else None
        if thread_id is None:
            return False
        return await self.around.ledger.ask_to_stop(thread_id, turn_id, context=context) is not None

    async def running_in(self, thread_id: str, context: RequestContext) -> str | None:
        """The id of the turn that runs in a thread; None when none does, or the thread is missing or someone else's."""
        row = await self.around.ledger.load_turn(thread_id, context=context)
        return row.turn_id if row is not None and self._is_live(row) else None

    async def resume(self, turn_id: str, context: RequestContext) -> TurnStream:
        """The stream of a turn, from its first event. NotFoundError: it is unknown, foreign, or over long ago."""
        found = await self.around.ledger.load_request(turn_id, context=context)
        if found is None or found.thread_id is None:
            raise NotFoundError("There is no such turn.")
        return Attached(found.turn_id, found.thread_id, self, context)

    async def recover(self, thread_id: str, context: RequestContext) -> None:
        """Before a thread is shown: keep what a turn whose process died had said. Quiet when there is nothing to do."""
        row = await self.around.ledger.load_turn(thread_id, context=context)
        if row is None or row.ended or self._is_live(row):
            return
        await recover(self.around, thread_id, row, context)  # without the lease: a reader must not end a newer turn
        await self.around.ledger.end_lease(thread_id, row.turn_id, context=context)

    def _is_live(self, row: TurnRow) -> bool:
        return not row.ended and row.expires_ms > self.around.clock()

    async def _attach(self, key: str, claimed: GuardLost, context: RequestContext) -> TurnStream | None:
        """The stream of the turn that has the key; None when it is over, or its process died: run anew.

        A key is bound to its thread when its turn has ended (one that is a turn's name: when it began), so one that
        stays unbound although its turn has no lease is a dead turn's.
        """
        if not claimed.same_body:
            raise ConflictError("This turn id (x-chat-turn) was used for another request. Mint a new one.")
        standing: GuardLost | None = claimed
        thread_id: str | None = None
        without_lease = 0
        for _ in range(BIND_TRIES):
            if standing is None or standing.turn_id != claimed.turn_id:
                return None
            if standing.thread_id is not None:
                return Attached(claimed.turn_id, standing.thread_id, self, context)
            if thread_id is None and key != claimed.turn_id:
                bound = await self.around.ledger.load_request(claimed.turn_id, context=context)
                thread_id = bound.thread_id if bound is not None else None
            if thread_id is not None:
                if await self.running_in(thread_id, context) == claimed.turn_id:
                    return Attached(claimed.turn_id, thread_id, self, context)
                without_lease += 1
                if without_lease > END_TRIES:
                    return None
            await self.around.sleep(journal.FOLLOW_EVERY_S)
            standing = await self.around.ledger.load_request(key, context=context)
        if key == claimed.turn_id:
            raise UnavailableError("The same request came in a moment ago and has not begun yet. Try again.")
        return None

    def _hooks(self, asked: Asked, key: str, turn_id: str, context: RequestContext) -> Hooks:
        ledger = self.around.ledger

        async def leased(thread_id: str) -> None:
            """From now on the turn is found by its id: to stop it, to resume it, to attach to it."""
            await ledger.bind_request(turn_id, turn_id, thread_id=thread_id, ttl_s=GUARD_S, context=context)

        async def ended(thread_id: str | None) -> None:
            try:
                if self.around.quotas is not None:
                    await self.around.quotas.settle(context, ran=thread_id is not None)
            finally:
                await retried(thread_id)

        async def retried(thread_id: str | None) -> None:
            """The request may come again: for a while it is taken for a retry, if it ran and is of the kind retried."""
            if thread_id is not None and asked.named is not None:
                await ledger.bind_request(key, turn_id, thread_id=thread_id, ttl_s=NAMED_KEY_S, context=context)
            elif thread_id is not None and asked.operation in RETRIED:
                await ledger.bind_request(key, turn_id, thread_id=thread_id, ttl_s=SAME_BODY_S, context=context)
            else:
                await ledger.release_request(key, turn_id, context=context)

        return Hooks(leased, ended)
