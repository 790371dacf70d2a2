"""Duplicate requests: the idempotency key that a request shares with its retries, and the refusal they all get.

docs/explanation/turns.md ("Duplicates") has the rules. Knows the ledger port, no store engine and no HTTP.
"""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from chatkit.store import NotFoundError

from lambda_src.context import Registration, RequestContext, Turn
from lambda_src.errors import (
    ChatError,
    ConflictError,
    ForbiddenError,
    QuotaError,
    RequestError,
    TooLargeError,
    UnavailableError,
)
from lambda_src.languages import Language
from lambda_src.store.bounds import LONGEST_INVOCATION_S
from lambda_src.store.ports import IdempotencyConflict, TurnLedger
from lambda_src.turns import turn_ids
from lambda_src.turns.lease import LEASE_MS

BOUND_S = LONGEST_INVOCATION_S + 60  # how long a turn can be looked up by its id or name
UNBEGUN_S = 10  # how long a request may take to begin its turn; after that another request may claim its key
SAME_BODY_S = 5  # how long after a turn's end a new message with the same bytes counts as a retry

CREATE = "threads.create"
MESSAGE = "threads.add_user_message"
RETRIED = frozenset({CREATE, MESSAGE})  # a client's transport sends these again by itself
ONCE = frozenset({"threads.add_client_tool_output", "threads.add_structured_input"})  # only the first answer counts
REMOVING = frozenset({"threads.retry_after_item"})  # these remove items before they answer

_REFUSALS: dict[str, type[ChatError]] = {
    kind.__name__: kind for kind in (ConflictError, ForbiddenError, RequestError, TooLargeError)
}


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """The parts of a streaming request that its turn depends on.

    `named` is the client's name for the turn (x-chat-turn), if it sent one. A request that `resumes` has already
    received events of the turn (Last-Event-ID), so it must not begin one. `brings_files`: the message has attachments.
    `edits`: the message replaces the user's last one, whose answer is removed.
    """

    operation: str
    thread_id: str | None
    body: bytes
    named: str | None
    resumes: bool = False
    brings_files: bool = False
    edits: bool = False

    @property
    def is_unique(self) -> bool:
        """Whether a second request with the same key is always a retry: the client named it, or it begins a thread with
        a file, and a file belongs to one thread.
        """
        return self.named is not None or (self.operation == CREATE and self.brings_files)

    @property
    def is_answered_once(self) -> bool:
        """Whether two tabs may send this for one question, of which the second must be refused."""
        return self.operation in ONCE

    @property
    def removes_items(self) -> bool:
        """Whether items are removed before the answer. Those of a turn that is still writing are not all stored yet."""
        return self.edits or self.operation in REMOVING

    @property
    def is_retried(self) -> bool:
        """Whether a client's transport may send this again by itself."""
        return self.operation in RETRIED

    @property
    def is_message(self) -> bool:
        """Whether this is a new message in an existing thread: it can be stored without an answer."""
        return self.operation == MESSAGE and not self.edits

    def key(self, user_id: str) -> str:
        """The key that this request shares with its duplicates; the id of its turn begins with it."""
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
        if self.operation == CREATE:
            turn.registration = Registration(key, lease_ms=LEASE_MS, bound_s=BOUND_S)
        return turn


class IdempotencyKey:
    """The key of one request: claimed for its turn, bound to the turn's thread, released or refused.

    `received_ms` is when the request came in.
    """

    def __init__(
        self, ledger: TurnLedger, request: TurnRequest, context: RequestContext, *, clock: Callable[[], int]
    ) -> None:
        assert context.turn is not None, "the app gives every streaming request a turn"
        self._ledger, self._context, self._clock = ledger, context, clock
        self.request, self._turn, self._turn_id = request, context.turn, context.turn.id
        self._key = request.key(context.user.id)
        self._digest = hashlib.sha256(request.body).digest()
        self.received_ms = clock()
        self._claimed_until_ms = 0
        self._is_bound = False

    async def claim(self, *, instead_of: str | None = None) -> IdempotencyConflict | None:
        """Claim the key for UNBEGUN_S: None, or the request that holds it. `instead_of` is a turn that is over."""
        self._claimed_until_ms = self._clock() + UNBEGUN_S * 1000
        return await self._ledger.claim_request(
            self._key,
            self._turn_id,
            body_hash=self._digest,
            ttl_s=UNBEGUN_S,
            instead_of=instead_of,
            context=self._context,
        )

    async def load(self) -> IdempotencyConflict | None:
        """The request that holds the key now, if any does."""
        return await self._ledger.load_request(self._key, body_hash=self._digest, context=self._context)

    def check_claim(self) -> None:
        """UnavailableError when the claim has expired: another request may have begun the turn."""
        self.note_expiry()
        if self._turn.has_lost_key:
            raise UnavailableError("It took too long to begin. Try again.")

    def note_expiry(self) -> None:
        """Record with the turn that its claim has expired before the key was bound, if so."""
        if not self._is_bound and not self._turn.is_registered and self._clock() >= self._claimed_until_ms:
            self._turn.has_lost_key = True

    async def bind(self, thread_id: str) -> bool:
        """Make the turn findable by its id and name for BOUND_S; whether somebody asked it to stop before this.

        UnavailableError: another request has claimed the key.
        """
        bound = await self._ledger.bind_request(
            self._key, self._turn_id, thread_id=thread_id, ttl_s=BOUND_S, context=self._context
        )
        self._is_bound, self._turn.has_lost_key = bound is not None, bound is None
        if bound is None:
            raise UnavailableError("The same request began anew meanwhile. Try again.")
        return bound.stop_of is not None and bound.stop_of in (self._turn_id, self.request.named)

    async def refuse(self, error: BaseException) -> None:
        """The request failed before its turn began: duplicates get the same refusal, or may try for themselves.

        Also after a claim that failed, since its write may have reached the store. Best effort: if the store does not
        respond, the key is free after UNBEGUN_S.
        """
        with suppress(ChatError):
            if (refusal := packed(error, self._context.language)) is None:
                await self._ledger.release_request(self._key, self._turn_id, context=self._context)
            else:
                await self._ledger.refuse_request(self._key, self._turn_id, refusal, context=self._context)

    async def end(self) -> None:
        """The turn ended after it lost its lease, so the thread's row does not show its end: let the key expire.

        A unique request keeps its key, since its turn can be looked up until BOUND_S is over.
        """
        if self.request.is_unique:
            return
        if self.request.is_retried:
            await self._ledger.end_request(self._key, self._turn_id, ttl_s=SAME_BODY_S, context=self._context)
        else:
            await self._ledger.release_request(self._key, self._turn_id, context=self._context)


def packed(error: BaseException, language: Language) -> str | None:
    """A refusal as text, in the caller's language. None for any other error, which a second attempt may not meet."""
    match error:
        case QuotaError():
            return json.dumps(["QuotaError", language.text_of(error), error.limit, error.retry_after_s])
        case NotFoundError():
            return json.dumps(["NotFoundError", ""])
        case ChatError() if type(error).__name__ in _REFUSALS:
            return json.dumps([type(error).__name__, language.text_of(error)])
        case _:
            return None


def unpacked(text: str) -> Exception:
    """The error that `packed` turned into text."""
    match json.loads(text):
        case ["QuotaError", message, limit, retry_after_s]:
            return QuotaError(message, limit=limit, retry_after_s=retry_after_s)
        case ["NotFoundError", _]:
            return NotFoundError("There is no such thing.")
        case [kind, message]:
            return _REFUSALS.get(kind, ConflictError)(message)  # a kind of an older release is still a refusal
        case other:
            raise ValueError(f"A stored refusal has an unknown format: {type(other).__name__}.")
