"""The protocols that our stores implement besides ChatKit's Store. Knows no engine.

Every store implements FeedbackStore, UserData, Sweeps and Handover, and those on a database Inspects. DynamoDBStore
and MemoryStore also have a TurnLedger; PostgresStore is given one. Methods read `context.user.id`, and in a turn
`context.turn_id`, nothing else. A row of another user's is missing.

Three verbs remove things, here and in every engine:

* delete: the user no longer sees it once the call returns. Rows may remain, but no read returns them.
* sweep: removes the rows and objects that deletes, expiry and crashes left behind. No user notices.
* erase: an operator removes everything that a user has.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import astuple, dataclass, field
from typing import Any, Literal, Protocol

from chatkit.types import FeedbackKind, ThreadMetadata, UserMessageItem

from lambda_src.context import RequestContext
from lambda_src.errors import ConflictError
from lambda_src.store.followers import Follower

Count = Callable[[Literal["unreadable_row", "clock_ahead"]], None]
"""Reports problems that no caller sees: a row replaced by a placeholder, or a clock too far ahead to follow."""


def count_nothing(_what: Literal["unreadable_row", "clock_ahead"]) -> None:
    """A Count that ignores every report."""


class FeedbackStore(Protocol):
    """Stores users' thumbs up and down on items."""

    async def add_feedback(
        self, thread_id: str, item_ids: list[str], feedback: FeedbackKind, context: RequestContext
    ) -> list[str]:
        """Store the feedback on each item that exists; the latest wins, and unknown items are ignored.

        Returns for each item the model, `#` and the release that wrote it; "" if that is not known.
        NotFoundError if the thread is missing or someone else's: ChatKit's server checks neither.
        """
        ...


class NewThreads(Protocol):
    """Creates a thread, its first message and its turn in one write. Requires threads and turns on the same table."""

    async def begin_thread(self, thread: ThreadMetadata, message: UserMessageItem, context: RequestContext) -> bool:
        """Store a new thread, its first message, its turn's lease, and the thread's id under the turn's idempotency
        key (`context.turn.registration`): all of them or none.

        False if nothing was stored, because an earlier attempt of the request stored something, another turn has the
        key by now, or a client asked the turn to stop. Storing the parts one by one then handles each of these cases.
        """
        ...


Record = Mapping[str, Any]
"""An exported record, as JSON: `kind` is "thread", "item", "attachment" or "feedback": docs/reference/commands.md."""


@dataclass(frozen=True, slots=True)
class Erased:
    """How many of each a sweep or an erasure removed."""

    threads: int = 0
    items: int = 0
    attachments: int = 0
    objects: int = 0

    def __add__(self, other: "Erased") -> "Erased":
        return Erased(*(left + right for left, right in zip(astuple(self), astuple(other), strict=True)))


class UserData(Protocol):
    """Export, import and erasure of everything that is stored about a user."""

    def export_user(self, context: RequestContext) -> AsyncIterator[Record]:
        """Everything that the user has: threads by time, each followed by its items in order; attachments last."""
        ...

    async def import_record(self, record: Record, context: RequestContext) -> bool:
        """Restore one exported record with its id, order and time; False if it already exists.

        Importing an export and exporting again gives the same bytes. ConflictError if another value has the id.
        """
        ...

    def erase_user(self, context: RequestContext) -> AsyncIterator[Erased]:
        """Erase everything that the user has, and yield after each step what it removed. Call it again if it failed."""
        ...


@dataclass(frozen=True, slots=True)
class Hold:
    """A thread in which no turn may begin: it waits for a person (`operator` is ""), or a person has it. Never expires.

    `matter` is the id of the handoff in the operators' inbox (store/inbox.py), `until_ms` the time at which the
    operator's role expires, 0 if that is not known.
    """

    operator: str
    since_ms: int
    matter: str
    until_ms: int = field(default=0, compare=False)

    @property
    def state(self) -> Literal["waiting", "person"]:
        """Whether a person has the thread yet."""
        return "person" if self.operator else "waiting"


@dataclass(frozen=True, slots=True)
class TurnRow:
    """A thread's lease as stored. Later turns' items are ordered after `last_order` (nanoseconds since 1970).

    `expires_ms` of an ended turn is the time at which it ended, or 0 if it crashed and another process ended it.
    `unrecovered` lists the unended turns before this one, oldest first, until this one renews or ends its lease: turns
    that crash before they store their predecessors' answers leave all of them to the next turn. `hold`: the thread
    waits for a person or has one, so that no turn may take the lease.
    """

    turn_id: str
    expires_ms: int
    stop: bool
    ended: bool
    last_order: int
    unrecovered: tuple[str, ...] = ()
    hold: Hold | None = None


@dataclass(frozen=True, slots=True)
class LeaseTaken:
    """The turn has the lease now. `previous` is the turn that had it before; unless that one ended, its answer must be
    recovered from its journal.
    """

    previous: TurnRow | None


@dataclass(frozen=True, slots=True)
class IdempotencyConflict:
    """Another turn has the key. `same_body` is False if it was claimed for a different request body (a 409).

    `thread_id` is None until the turn has its lease. `refusal` is the message with which its request was refused; the
    next request may then claim the key. `ended` is True for a turn that has noticed the loss of its lease.
    """

    turn_id: str
    thread_id: str | None
    same_body: bool
    refusal: str | None = None
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Bound:
    """The key belongs to the turn and names its thread. `stop_of` is the turn or name that a client asked to stop
    before the key was bound, if any.
    """

    stop_of: str | None


@dataclass(frozen=True, slots=True)
class JournalBatch:
    """One batch of a turn's stream: the exact bytes of its SSE lines. `number` counts from 0 without gaps."""

    number: int
    data: bytes


@dataclass(frozen=True, slots=True)
class QuotaRefused:
    """The turn was not counted. The user may try again after `retry_after_s` seconds.

    `running` lists the running turns if their number is the limit; some of them may have crashed.
    """

    limit: Literal["minute", "day", "running"]
    retry_after_s: int
    running: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class QuotaLimits:
    """How many turns one user may start per minute and per day, and run at a time; 0 = no limit."""

    per_minute: int
    per_day: int
    running: int


class TurnLedger(Protocol):
    """Leases, stop flags, journals, idempotency keys and quotas of turns. Each method is one conditional write or one
    read.

    If the response to a write is lost, its retry recognizes the row as its own: by the turn id, or, where two requests
    may have the same turn id, by a random mark that is new for each call.
    An id that cannot be stored is a ValueError in methods that write, and missing in the others.
    """

    async def take_lease(self, thread_id: str, turn_id: str, *, lease_ms: int, context: RequestContext) -> LeaseTaken:
        """Take the thread's lease from its holder, expired or not. NotFoundError if the thread has been deleted;
        ThreadHeldError if it waits for a person or has one.

        Everything ordered under this lease comes after the `last_order` of the previous one.
        """
        ...

    async def renew_lease(
        self, thread_id: str, turn_id: str, *, lease_ms: int, context: RequestContext
    ) -> Literal["held", "stopped", "superseded"]:
        """Extend the lease if `turn_id` still holds it and no client asked to stop it; otherwise report which.

        What the turn writes from now on is ordered after this renewal and before the next turn's items. A turn is also
        superseded if its thread is deleted, or if another process ended it (by recovering it after its lease expired).
        Renew only after the answers of earlier turns are recovered: this clears TurnRow.unrecovered.
        """
        ...

    async def end_lease(self, thread_id: str, turn_id: str, *, died: bool = False, context: RequestContext) -> bool:
        """Mark the turn as ended now if it still has the lease; False if it was superseded. Idempotent.

        `died`: another process ends a turn whose lease has expired.
        """
        ...

    async def ask_to_stop(self, thread_id: str, turn_id: str | None, *, context: RequestContext) -> TurnRow | None:
        """Set the stop flag of the running turn (only of `turn_id`, if given); None if there is none.

        A turn runs until it ends or its lease expires. The returned row has the flag.
        """
        ...

    async def load_turn(self, thread_id: str, *, context: RequestContext) -> TurnRow | None:
        """The thread's lease, ended or not; None if no turn ever ran, or the thread is missing or someone else's."""
        ...

    async def append_journal(
        self, thread_id: str, turn_id: str, batch: JournalBatch, *, ttl_s: int, context: RequestContext
    ) -> None:
        """Store one batch; the same number again is a retry and changes nothing. TooLargeError over 150 KB packed."""
        ...

    async def delete_thread(self, thread_id: str, *, context: RequestContext) -> None:
        """Delete the thread's journals, supersede its running turn, and let no new turn begin in it. Idempotent.

        Called by a store that keeps its threads elsewhere than its turns. A batch that arrives later is deleted when
        its turn ends.
        """
        ...

    def threads_of(self, context: RequestContext) -> AsyncIterator[str]:
        """The user's threads of which anything is left, also those that their store has removed. For erasure: it may
        read the whole table.
        """
        ...

    async def hand_over_turns(self, thread_id: str, guest_id: str, *, context: RequestContext) -> bool:
        """Let no new turn begin in a guest's thread, and give its hold and its matters to the user. Idempotent. False,
        without any change, while a turn runs.

        Called by a store that keeps its threads elsewhere than its turns, before it moves the thread.
        """
        ...

    def read_journal(
        self, thread_id: str, turn_id: str, *, first: int, context: RequestContext
    ) -> AsyncIterator[JournalBatch]:
        """The batches stored so far, in order, starting with number `first`; one request per MB.

        A batch that cannot be read is counted and ends the journal, so that no gap is returned.
        """
        ...

    async def claim_request(
        self,
        key: str,
        turn_id: str,
        *,
        body_hash: bytes,
        ttl_s: int,
        instead_of: str | None = None,
        context: RequestContext,
    ) -> IdempotencyConflict | None:
        """Claim an idempotency key for `turn_id`; None if the claim succeeded, even if its response was lost.

        A key is free if no turn has it, its claim has expired, or its request was refused. The key of turn `instead_of`
        is free once it is bound to a thread: the caller knows that this turn is over. Each call is one request, so a
        second one with the same turn id is a duplicate.
        """
        ...

    async def load_request(
        self, key: str, *, body_hash: bytes | None = None, context: RequestContext
    ) -> IdempotencyConflict | None:
        """The turn that has the key now; None if the key is free. `same_body` compares with `body_hash`, if given."""
        ...

    async def bind_request(
        self, key: str, turn_id: str, *, thread_id: str, ttl_s: int, context: RequestContext
    ) -> Bound | None:
        """Record under the key which thread its turn runs in, and keep the key for `ttl_s` seconds from now.

        None if the turn no longer has the key: it took too long to begin, and must not run.
        """
        ...

    async def refuse_request(self, key: str, turn_id: str, refusal: str, *, context: RequestContext) -> None:
        """Record why the request for which `turn_id` claimed the key was refused. No-op if another turn has the key."""
        ...

    async def end_request(self, key: str, turn_id: str, *, ttl_s: int, context: RequestContext) -> None:
        """Record that the turn has noticed the loss of its lease; the key is kept for `ttl_s` seconds more. No-op if
        another turn has the key.
        """
        ...

    async def release_request(self, key: str, turn_id: str, *, context: RequestContext) -> None:
        """Release a key that `turn_id` claimed. No-op if another turn has it."""
        ...

    async def stop_request(
        self, key: str, stop_of: str, *, turn_id: str | None, ttl_s: int, context: RequestContext
    ) -> IdempotencyConflict | None:
        """Return the turn that has the key, if any. Unless that turn is bound to its thread, record `stop_of` for the
        turn that binds the key.

        With `turn_id`, record it for that turn only; None if another turn has the key. On a free key, `stop_of` is
        kept for at least `ttl_s` seconds.
        """
        ...

    async def note_follower(self, follower: Follower, *, context: RequestContext) -> bool:
        """Renew the follower's entry for EXPIRES_MS; False if so many others came later that it must leave
        (store/followers.py).
        """
        ...

    async def spend_quota(self, turn_id: str, limits: QuotaLimits, *, context: RequestContext) -> QuotaRefused | None:
        """Count one turn against the user's limits in one conditional write; None if it may run.

        The same turn again is a retry and counts once. A turn that crashes counts as running until its deadline.
        """
        ...

    async def end_quota(self, turn_id: str, *, context: RequestContext) -> None:
        """Stop counting the turn as running; it still counts for its minute and day. Idempotent."""
        ...


class Sweeps(Protocol):
    """Removes what deletes leave behind. Called by the invocation that deletes, the hourly event and `chat sweep`."""

    async def sweep(self, *, stop: Callable[[], bool]) -> Erased:
        """Remove rows and objects of deleted threads until `stop()` returns True; the next call continues.

        Also forgets the ids of threads that were deleted more than bounds.LATE_WRITES_S ago: a thread saved under such
        an id is new and empty. Until then `save_thread` refuses the id with NotFoundError.
        """
        ...

    async def sweep_thread(self, thread_id: str, context: RequestContext, *, stop: Callable[[], bool]) -> Erased:
        """Remove rows and objects of one thread that was just deleted. No-op for a thread that is not deleted."""
        ...

    async def sweep_orphans(self, *, everything: bool, stop: Callable[[], bool]) -> int:
        """Remove objects older than a day that no row refers to. Without `everything`, part of the bucket per call."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """A row that `chat doctor` reports, and what is wrong with it."""

    what: Literal["unreadable", "item without a thread"]
    user_id: str
    thread_id: str
    row_id: str


@dataclass(frozen=True, slots=True)
class Rated:
    """An item that its user has rated."""

    user_id: str
    thread_id: str
    row_id: str


class Inspects(Protocol):
    """Reads every stored row. For operators; too slow for a request."""

    def inspect(self) -> AsyncIterator[Finding | None]:
        """One value per row: None if it is valid."""
        ...

    def rated(self, feedback: FeedbackKind) -> AsyncIterator[Rated]:
        """The items with this feedback, in no order. Some may be deleted."""
        ...


CopyFile = Callable[[str], Awaitable[None]]
"""Copies the bytes of one attachment, given its id, to the user's files. Idempotent."""

CLAIM_TTL_S = 30 * 86_400  # how long a claim is kept: a guest's token expires long before (auth/guest_tokens.py)


def thread_already_exists(thread_id: str) -> ConflictError:
    """The error if user and guest both have a thread with this id, which an import can cause: neither is changed."""
    return ConflictError(f"The user already has a thread {thread_id}; the guest's thread with this id was not moved.")


@dataclass(frozen=True, slots=True)
class Claim:
    """A handover that has begun and is not finished."""

    guest_id: str
    user_id: str


class Handover(Protocol):
    """Moves a guest's threads to a user: claim the guest, hand over each thread, end the claim.

    Every step is idempotent, so that a handover that stops after any step can be repeated.
    """

    async def claim_guest(self, guest_id: str, context: RequestContext) -> None:
        """Record that the user takes over the guest's threads. Idempotent. ConflictError if another user has."""
        ...

    async def end_claim(self, guest_id: str, context: RequestContext) -> None:
        """Record that every thread has been handed over. The guest stays claimed."""
        ...

    def claimed_guests(self) -> AsyncIterator[Claim]:
        """Every claim that has not ended."""
        ...

    async def hand_over(self, thread_id: str, guest_id: str, context: RequestContext, *, copy_file: CopyFile) -> bool:
        """Move the guest's thread to the user with its items, feedback and attachments: the user sees all or nothing.

        False, without any change, while a turn runs in the thread. True if it was moved or does not exist.
        ConflictError, without any change, if the user already has a thread with this id.
        """
        ...
