"""Rows of a MemoryStore: one user's threads, items, attachments and turns in dictionaries, with deletion and paging."""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from chatkit.types import FeedbackKind

from lambda_src.store import codec, followers, quota_windows
from lambda_src.store.bounds import LATE_WRITES_S
from lambda_src.store.ports import Erased, TurnRow

if TYPE_CHECKING:
    from lambda_src.store.inbox import Matter

T = TypeVar("T")

ENDED_KEPT_MS = 17 * 60_000  # a turn can be resumed for 16 minutes after it began (turns/lifecycle.py)
UNENDED_KEPT_MS = 7 * 86_400_000  # as long as a lease's row is kept in DynamoDB


@dataclass(slots=True)
class ItemRow:
    id: str
    order: str
    data: bytes | None  # None: deleted, but still valid as a cursor
    expires_s: float


@dataclass(slots=True)
class ThreadRow:
    order: str
    fields: dict[str, str]
    expires_s: float


@dataclass(slots=True)
class GoneRow:
    """A deleted thread. Until it is swept, its id is refused and its order remains valid as a cursor."""

    order: str
    deleted_s: int


@dataclass(slots=True)
class AttachmentRow:
    data: bytes
    thread_id: str | None
    expires_s: float


@dataclass(slots=True)
class ClaimRow:
    turn_id: str
    thread_id: str | None
    body_hash: bytes
    expires_ms: int
    refusal: str | None = None
    ended: bool = False


@dataclass(slots=True)
class LedgerRows:
    """The rows of one user's turns. `stops`: by key, what to stop, and until when that request is valid.
    `matters` has the user's matters in the operators' inbox by id.

    `spent` counts turns by window; `runs` is the time by which each running turn has ended; `deleted` is the time at
    which a thread of another store was deleted; `touched` is the time of the last write to a lease (by thread) or to a
    journal (by thread and turn).
    """

    turns: dict[str, TurnRow] = field(default_factory=dict)
    journals: dict[tuple[str, str], dict[int, tuple[codec.Packed, int]]] = field(default_factory=dict)
    claims: dict[str, ClaimRow] = field(default_factory=dict)
    stops: dict[str, tuple[str, int]] = field(default_factory=dict)
    spent: Counter[str] = field(default_factory=Counter)
    runs: dict[str, int] = field(default_factory=dict)
    followers: dict[str, int] = field(default_factory=dict)
    deleted: dict[str, int] = field(default_factory=dict)
    touched: dict[str | tuple[str, str], int] = field(default_factory=dict)
    matters: dict[str, "Matter"] = field(default_factory=dict)

    def sweep(self, *, now_ms: int) -> None:
        """Remove expired claims, counts and followers, and turns that ended too long ago to be resumed. The rows of a
        turn that never ended stay for a week, as in DynamoDB, and those of a held thread until it is released.
        """
        old_ms = now_ms - ENDED_KEPT_MS
        self.claims = {key: claim for key, claim in self.claims.items() if claim.expires_ms > now_ms}
        self.stops = {key: stop for key, stop in self.stops.items() if stop[1] > now_ms}
        self.runs = {turn_id: end_ms for turn_id, end_ms in self.runs.items() if end_ms > now_ms}
        self.spent = Counter(
            {name: n for name, n in self.spent.items() if not quota_windows.is_past(name, now_ms=now_ms)}
        )
        for entry in followers.expired(self.followers, now_ms=now_ms):
            del self.followers[entry]
        self.deleted = {thread_id: at_ms for thread_id, at_ms in self.deleted.items() if at_ms > old_ms}
        unrecovered = {(thread_id, turn_id) for thread_id, row in self.turns.items() for turn_id in _unrecovered(row)}
        unended = {thread_id for thread_id, row in self.turns.items() if not row.ended}
        held = {thread_id for thread_id, row in self.turns.items() if row.hold is not None}
        for key, at_ms in list(self.touched.items()):
            if key in held:
                continue
            is_unended = key in (unended if isinstance(key, str) else unrecovered)
            if at_ms <= (now_ms - UNENDED_KEPT_MS if is_unended else old_ms):
                del self.touched[key]
                if isinstance(key, str):
                    self.turns.pop(key, None)
                else:
                    self.journals.pop(key, None)

    def hand_over(self, thread_id: str, to: "LedgerRows", *, user_id: str) -> None:
        """Move a thread's lease and matters to another user, `user_id`."""
        if (turn := self.turns.get(thread_id)) is not None:
            to.turns[thread_id] = turn  # it has ended; its `last_order` keeps new items after the old ones
        for matter in self.matters.values():
            if matter.thread_id == thread_id:
                to.matters[matter.id] = replace(matter, user_id=user_id, is_guest=False)
        self.delete_thread(thread_id)

    def delete_thread(self, thread_id: str) -> None:
        """Delete the lease and the journals of a thread's turns, and its matters."""
        self.turns.pop(thread_id, None)
        self.matters = {key: matter for key, matter in self.matters.items() if matter.thread_id != thread_id}
        self.journals = {key: batches for key, batches in self.journals.items() if key[0] != thread_id}
        self.touched = {key: at for key, at in self.touched.items() if thread_id not in (key, key[0])}


@dataclass(slots=True)
class UserRows:
    """Everything that one user has."""

    threads: dict[str, ThreadRow] = field(default_factory=dict)
    items: dict[str, dict[str, ItemRow]] = field(default_factory=dict)
    attachments: dict[str, AttachmentRow] = field(default_factory=dict)
    feedback: dict[tuple[str, str], FeedbackKind] = field(default_factory=dict)
    gone: dict[str, GoneRow] = field(default_factory=dict)
    ledger: LedgerRows = field(default_factory=LedgerRows)
    claimed_by: str | None = None  # the user who takes over this guest's threads
    is_being_claimed: bool = False  # whether that is unfinished

    def delete_thread(self, thread_id: str) -> Erased:
        """Delete a thread and everything in it, as far as it exists; returns how much that was."""
        items = self.items.pop(thread_id, {})
        bound = self.bound_to(thread_id)
        for attachment_id in bound:
            del self.attachments[attachment_id]
        self.feedback = {key: kind for key, kind in self.feedback.items() if key[0] != thread_id}
        self.ledger.delete_thread(thread_id)
        living = sum(item.data is not None for item in items.values())
        return Erased(int(self.threads.pop(thread_id, None) is not None), living, len(bound))

    def sweep(self, *, now_s: int) -> Erased:
        """Remove what turns wrote to deleted threads, and deleted threads older than LATE_WRITES_S."""
        removed = Erased()
        for thread_id, gone in list(self.gone.items()):
            removed += self.delete_thread(thread_id)
            if gone.deleted_s + LATE_WRITES_S <= now_s:
                del self.gone[thread_id]
        return removed

    def hand_over(self, thread_id: str, to: "UserRows", *, user_id: str, now_s: int) -> None:
        """Move the thread and everything in it to another user, `user_id`."""
        thread = self.threads.pop(thread_id)
        self.gone[thread_id] = GoneRow(thread.order, now_s)
        to.threads[thread_id] = thread
        to.items[thread_id] = self.items.pop(thread_id, {})
        for attachment_id in self.bound_to(thread_id):
            to.attachments[attachment_id] = self.attachments.pop(attachment_id)
        for key in [key for key in self.feedback if key[0] == thread_id]:
            to.feedback[key] = self.feedback.pop(key)
        self.ledger.hand_over(thread_id, to.ledger, user_id=user_id)

    def bound_to(self, thread_id: str) -> list[str]:
        """The attachments of a thread."""
        return [attachment_id for attachment_id, row in self.attachments.items() if row.thread_id == thread_id]


def _unrecovered(turn: TurnRow) -> tuple[str, ...]:
    """The turns whose answers have not been recovered from their journals yet."""
    return () if turn.ended else (*turn.unrecovered, turn.turn_id)


def page_of(orders: list[str], cursor: str | None, limit: int, *, descending: bool) -> tuple[list[str], bool]:
    """The first `limit` orders after `cursor` in the given direction, and whether there are more."""
    remaining = [order for order in orders if cursor is None or (order < cursor if descending else order > cursor)]
    remaining.sort(reverse=descending)
    return remaining[:limit], len(remaining) > limit
