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

from chatkit.types import FeedbackKind

from lambda_src.context import RequestContext
from lambda_src.errors import ConflictError
from lambda_src.store.followers import Follower

Count = Callable[[Literal["unreadable_row", "clock_ahead"]], None]
"""Reports problems that no caller sees: a row replaced by a placeholder, or a clock too far ahead to follow."""


def count_nothing(_what: Literal["unreadable_row", "clock_ahead"]) -> None:
    """A Count that ignores every report."""


class FeedbackStore(Protocol):
    """Thumbs up and down."""

    async def add_feedback(
        self, thread_id: str, item_ids: list[str], feedback: FeedbackKind, context: RequestContext
    ) -> None:
        """Keep the feedback on each item that exists, the latest wins; unknown items are passed over.

        NotFoundError when the thread is missing or someone else's: ChatKit's server checks neither.
        """
        ...


Record = Mapping[str, Any]
"""One thing of a user's, as JSON: `kind` is "thread", "item", "attachment" or "feedback"; see docs/stores.md."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure removed."""

    threads: int = 0
    items: int = 0
    attachments: int = 0
    objects: int = 0

    def __add__(self, other: "Erased") -> "Erased":
        return Erased(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))


class UserData(Protocol):
    """A person's rights to what is kept about them."""

    def export_user(self, context: RequestContext) -> AsyncIterator[Record]:
        """Everything of the user's: threads by time, each followed by its items in order; attachments last."""
        ...

    async def import_record(self, record: Record, context: RequestContext) -> bool:
        """Put one exported record back under its own id, order and time; False when it was there already.

        Importing an export and exporting again gives the same bytes. ConflictError when another value has the id.
        """
        ...

    def erase_user(self, context: RequestContext) -> AsyncIterator[Erased]:
        """Remove everything of the user's, saying after each step what it removed; to be called again when it died."""
        ...


@dataclass(frozen=True, slots=True)
class TurnRow:
    """A thread's lease as stored. What comes after its turn is ordered after `last_order`, in nanoseconds since 1970.

    `expires_ms` of a turn that has ended says when; 0 of one that died and was ended by somebody else.
    `unrecovered` are the unended turns that this one took the lease from, oldest first, until this one renews or ends:
    turns that crashed before they stored their predecessors' answers leave all of them to the next turn.
    """

    turn_id: str
    expires_ms: int
    stop: bool
    ended: bool
    last_order: int
    unrecovered: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LeaseTaken:
    """The lease is ours. `previous` is the turn it was taken from; unless that ended, its journal is to be folded."""

    previous: TurnRow | None


@dataclass(frozen=True, slots=True)
class IdempotencyConflict:
    """Another turn has the key. `same_body` is False when it was claimed for another request body (a 409).

    `thread_id` is None until the turn has its lease. `refusal` says why its request was refused, in the words of who
    refused it: the next request may claim the key. `ended` is True of a turn that another one took the lease from.
    """

    turn_id: str
    thread_id: str | None
    same_body: bool
    refusal: str | None = None
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Bound:
    """The key is the turn's and names its thread. `stop_of` is what somebody named to stop before it was, if so."""

    stop_of: str | None


@dataclass(frozen=True, slots=True)
class JournalBatch:
    """One batch of a turn's stream: the exact bytes of its SSE lines. `number` counts from 0 without gaps."""

    number: int
    data: bytes


@dataclass(frozen=True, slots=True)
class QuotaRefused:
    """Nothing was spent. The user may try again after `retry_after_s` seconds.

    `running` are the turns in the way where that is the limit; some of them may have died.
    """

    limit: Literal["minute", "day", "running"]
    retry_after_s: int
    running: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class QuotaLimits:
    """What one user may spend; 0 = no limit."""

    per_minute: int
    per_day: int
    running: int


class TurnLedger(Protocol):
    """Lease, stop flag, journal, duplicate guard and quota of turns. Each method is one conditional write or one read.

    A write whose answer was lost is recognised as our own: by the turn id that it carries, and where two requests may
    carry the same one by a mark that each call makes for itself.
    Ids that cannot be kept are ValueError where something would be written, and missing everywhere else.
    """

    async def take_lease(self, thread_id: str, turn_id: str, *, lease_ms: int, context: RequestContext) -> LeaseTaken:
        """Take the thread's lease from its holder, expired or not. NotFoundError when the thread is being deleted.

        The thread's clock follows `last_order` before anything is ordered under this lease.
        """
        ...

    async def renew_lease(
        self, thread_id: str, turn_id: str, *, lease_ms: int, context: RequestContext
    ) -> Literal["held", "stopped", "superseded"]:
        """Prolong the lease IF it is still `turn_id`'s and nobody asked to stop: that failing is the signal.

        What the turn writes from now on is ordered after this renewal, and before whoever takes the lease next. A turn
        that someone else ended (a reader who folded it after a crash) or whose thread is deleted is superseded.
        Renewing says that what came before is folded: see TurnRow.unrecovered.
        """
        ...

    async def end_lease(self, thread_id: str, turn_id: str, *, died: bool = False, context: RequestContext) -> bool:
        """Mark the turn as ended now IF it still has the lease; False when it was superseded. Again is quiet, and True.

        `died`: somebody else says so, of a turn whose lease ran out.
        """
        ...

    async def ask_to_stop(self, thread_id: str, turn_id: str | None, *, context: RequestContext) -> TurnRow | None:
        """Set the stop flag of the running turn (of `turn_id` only, when given); None when there is none.

        A turn runs while it has neither ended nor let its lease run out. The row returned has the flag.
        """
        ...

    async def load_turn(self, thread_id: str, *, context: RequestContext) -> TurnRow | None:
        """The thread's lease, over or not; None when no turn ever ran, or the thread is missing or foreign."""
        ...

    async def append_journal(
        self, thread_id: str, turn_id: str, batch: JournalBatch, *, ttl_s: int, context: RequestContext
    ) -> None:
        """Keep one batch; the same number again is a retry and changes nothing. TooLargeError over 150 KB packed."""
        ...

    async def delete_thread(self, thread_id: str, *, context: RequestContext) -> None:
        """The thread is deleted: its running turn is superseded, none begins in it any more, its events are gone.

        A store that keeps its threads elsewhere than its turns calls this; a late batch goes when its turn ends. Again
        is quiet.
        """
        ...

    def read_journal(
        self, thread_id: str, turn_id: str, *, first: int, context: RequestContext
    ) -> AsyncIterator[JournalBatch]:
        """The batches from number `first` on that are there now, in order: one request for each MB of them.

        A batch that cannot be read is counted and ends the journal there: what was before it is whole.
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
        """Claim a duplicate key for `turn_id`; None when it is ours, our own lost answer included.

        Free is a key that nobody has, whose time is over, or whose request was refused; also that of the turn
        `instead_of`, once it is bound to a thread: whoever names it knows that it is over. Each call stands for one
        request: a second one with the same turn id is a duplicate.
        """
        ...

    async def load_request(
        self, key: str, *, body_hash: bytes | None = None, context: RequestContext
    ) -> IdempotencyConflict | None:
        """What stands under a key now, for any body or this one; None when nothing does that is not over."""
        ...

    async def bind_request(
        self, key: str, turn_id: str, *, thread_id: str, ttl_s: int, context: RequestContext
    ) -> Bound | None:
        """Note under the key which thread its turn runs in, and keep the key for `ttl_s` seconds from now.

        None when the key is another's by now, or nobody's: this turn took too long to begin, and must not.
        """
        ...

    async def refuse_request(self, key: str, turn_id: str, refusal: str, *, context: RequestContext) -> None:
        """Note why the request that `turn_id` claimed the key for was refused; quiet when the key is not its."""
        ...

    async def end_request(self, key: str, turn_id: str, *, ttl_s: int, context: RequestContext) -> None:
        """The turn lost its lease and has noticed: its key is kept for `ttl_s` seconds more. Quiet when not its."""
        ...

    async def release_request(self, key: str, turn_id: str, *, context: RequestContext) -> None:
        """Give a key back that `turn_id` claimed; quiet when it is not ours."""
        ...

    async def stop_request(
        self, key: str, stop_of: str, *, turn_id: str | None, ttl_s: int, context: RequestContext
    ) -> IdempotencyConflict | None:
        """Who has the key, if anybody; unless that is bound to its thread, `stop_of` is noted for whoever is.

        With `turn_id` it is noted for that turn only, and None when the key is another's. Noted under a key that
        nobody has yet, it is kept for `ttl_s` seconds at least.
        """
        ...

    async def note_follower(self, follower: Follower, *, context: RequestContext) -> bool:
        """Note that the follower is there, for EXPIRES_MS from now; False when so many others came later that it must
        leave (store/followers.py).
        """
        ...

    async def spend_quota(self, turn_id: str, limits: QuotaLimits, *, context: RequestContext) -> QuotaRefused | None:
        """Count one turn against the user's limits in one conditional write; None when it may run.

        The same turn again is a retry and counts once. A running turn that never ends counts until its deadline.
        """
        ...

    async def end_quota(self, turn_id: str, *, context: RequestContext) -> None:
        """The turn no longer runs; what it spent of minute and day stays spent. Quiet when it does not run."""
        ...


class Sweeps(Protocol):
    """What deletes leave to be done, for whoever has time: the deleting invocation, the hourly event, `chat sweep`."""

    async def sweep(self, *, stop: Callable[[], bool]) -> Erased:
        """Remove rows and objects of deleted threads until `stop()`; what remains waits for the next call.

        Forgets the ids of threads that were deleted bounds.LATE_WRITES_S ago: a thread that is saved under such an id
        is a new, empty one. Until then `save_thread` refuses the id with NotFoundError.
        """
        ...

    async def sweep_thread(self, thread_id: str, context: RequestContext, *, stop: Callable[[], bool]) -> Erased:
        """Remove rows and objects of one thread that was just deleted, whatever else waits; nothing of a living one."""
        ...

    async def sweep_orphans(self, *, everything: bool, stop: Callable[[], bool]) -> int:
        """Remove objects older than a day that no row names: of the whole bucket, or as far as this call comes."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that `chat doctor` reports: what is wrong, and with which row."""

    what: Literal["unreadable", "item without a thread"]
    user_id: str
    thread_id: str
    row_id: str


class Inspects(Protocol):
    """A look at every row: for an operator with time, never for a request."""

    def inspect(self) -> AsyncIterator[Finding | None]:
        """One value per row looked at: None for a sound one."""
        ...


CopyFile = Callable[[str], Awaitable[None]]
"""Copies the bytes of one attachment, by its id, to where the user's are kept. Twice is once."""

CLAIM_TTL_S = 30 * 86_400  # how long a claim is remembered: a guest's token ends long before (auth/guests.py)


def already_theirs(thread_id: str) -> ConflictError:
    """The error when both have a thread of one id, which an import can cause: neither is overwritten."""
    return ConflictError(f"The user already has a thread {thread_id}; the guest's thread of this id stays where it is.")


@dataclass(frozen=True, slots=True)
class Claim:
    """A handover that was begun and has not been finished."""

    guest_id: str
    user_id: str


class Handover(Protocol):
    """Claim a guest, hand each thread over, end the claim. Every step may be the last, and may be done again."""

    async def claim_guest(self, guest_id: str, context: RequestContext) -> None:
        """Note that the user takes over what the guest has; again is quiet. ConflictError: somebody else did."""
        ...

    async def end_claim(self, guest_id: str, context: RequestContext) -> None:
        """Nothing is left to be handed over. The guest stays claimed."""
        ...

    def claimed_guests(self) -> AsyncIterator[Claim]:
        """Every claim that was not ended."""
        ...

    async def hand_over(self, thread_id: str, guest_id: str, context: RequestContext, *, copy_file: CopyFile) -> bool:
        """Make the guest's thread the user's, with its items, feedback and attachments: the user sees all or nothing.

        False, and nothing is done, while a turn runs in it. True when it is over, or there is no such thread.
        ConflictError, and nothing is done, when the user already has a thread of this id.
        """
        ...
