"""The operators' inbox: what waits for a person (a matter), and which person has which thread. Knows no engine.

A matter has ids, a kind, a state and times; no content. Who has a thread is stored in the thread's lease (ports.Hold),
so that the write that gives a thread to a person also keeps every turn out of it. A stage without operators never
imports an implementation of `Inbox`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from lambda_src.context import RequestContext
from lambda_src.store.counters import DAY_S
from lambda_src.store.ports import Hold

Kind = Literal["failed-turn", "handoff", "thumbs-down"]
State = Literal["open", "taken", "closed"]

KINDS: tuple[Kind, ...] = ("failed-turn", "handoff", "thumbs-down")
OPEN_TTL_S = 90 * DAY_S  # of a thumbs-down or failed turn that is not closed, since its last change
CLOSED_TTL_S = 30 * DAY_S
PAGE_MATTERS = 1_000  # most matters of a page: one query reads 1 MB, and a row has about 300 bytes
DUE_MATTERS = 100  # most matters that one look at the clock handles; the next look handles the rest
CAUSE_CHARS = 100
WINDOW_NS = 300 * 10**9  # failed turns of one cause within these five minutes are one matter


@dataclass(frozen=True, slots=True)
class Matter:
    """A request for a person, a thumbs-down or a failed turn, in the inbox of one assistant.

    `cause` is the rated item of a thumbs-down and the type of the error of a failed turn. `operator` is the person who
    took it, `until_ms` the time at which that person's role expires, 0 if that is not known. `accepted` names the
    events about it that were delivered. `due_ms`: when the clock must look at it, None if it need not; a new matter is
    due at once, since its event is still to be delivered.
    """

    kind: Kind
    assistant: str
    user_id: str
    thread_id: str
    opened_ns: int
    cause: str = ""
    is_guest: bool = False
    state: State = "open"
    operator: str = ""
    changed_ms: int = 0
    accepted: frozenset[str] = frozenset()
    due_ms: int | None = None
    until_ms: int = 0

    @property
    def id(self) -> str:
        """Unique within the assistant. Sorts by kind, then by time. Failed turns of one cause and window share one."""
        if self.kind == "failed-turn":
            return f"{self.kind}#{self.opened_ns - self.opened_ns % WINDOW_NS:020d}#{self.cause}"
        return f"{self.kind}#{self.opened_ns:020d}#{self.thread_id}"

    @property
    def occasion(self) -> str:
        """What a thread has at most one matter of: its kind and cause, for handoffs and failed turns also the time."""
        return f"{self.kind}#{self.cause}" if self.kind == "thumbs-down" else self.id

    @property
    def is_kept(self) -> bool:
        """Whether the matter never expires: it is the reason why a thread is held, and ends when that is released."""
        return self.kind == "handoff" and self.state != "closed"


@dataclass(frozen=True, slots=True)
class MatterPage:
    """Matters by id. `after` continues the list; None at its end."""

    matters: Sequence[Matter]
    after: str | None


class Inbox(Protocol):
    """The matters of all assistants, and the people who have threads. `context.user` is the thread's owner.

    The three methods that change a hold also write its matter, in the same transaction. A hold and its matter never
    expire: the clock (support/clock.py) releases the hold of a thread that retention has removed.
    """

    async def open_matter(self, matter: Matter) -> bool:
        """Store a new matter; False if there is one already for its occasion."""
        ...

    async def page(
        self, assistant: str, *, kind: Kind | None = None, state: State | None = None, after: str | None = None
    ) -> MatterPage:
        """Matters by kind and time, the oldest first, PAGE_MATTERS at most. One query."""
        ...

    async def matters_of(self, thread_id: str, *, context: RequestContext) -> list[Matter]:
        """Every matter of a thread, open or not."""
        ...

    async def close_matter(self, matter: Matter, *, operator: str) -> None:
        """Close a matter that is not the reason of a hold. No-op if it is gone or has changed since it was read."""
        ...

    async def due(self, assistant: str, *, now_ms: int) -> list[Matter]:
        """The matters whose `due_ms` has come, DUE_MATTERS at most. One query."""
        ...

    async def settle(self, matter: Matter, *, accepted: str | None, due_ms: int | None) -> bool:
        """Record that the event `accepted` was delivered, if any. Also record when the clock looks again, unless the
        matter has changed since it was read: then the clock looks when it would have anyway.

        False if the matter has changed, or is gone.
        """
        ...

    async def hold(
        self, matter: Matter, *, turn_id: str, ends_turn: bool, context: RequestContext
    ) -> Literal["held", "lost"]:
        """Open a handoff, and let no turn begin in its thread: for the person `matter.operator`, or "" to wait for one.

        "lost", without any change, unless turn `turn_id` has the lease and nobody has the thread. `ends_turn` also ends
        that turn. NotFoundError if the thread has been deleted.
        """
        ...

    async def pass_on(
        self,
        thread_id: str,
        hold: Hold,
        *,
        operator: str,
        until_ms: int | None = None,
        seen: Matter | None = None,
        context: RequestContext,
    ) -> bool:
        """Give a held thread to `operator`, or back to the inbox if "". `until_ms` replaces the matter's. The matter of
        a thread that changes hands is due at once. With `context.turn`, what is written in that turn is ordered now.

        False, without any change, if the hold is no longer this one, the matter has changed since it was read as
        `seen`, or a turn still ends in the thread.
        """
        ...

    async def release(self, thread_id: str, hold: Hold, *, operator: str, context: RequestContext) -> bool:
        """Give the thread back to the assistant, and close its handoff as that of `operator`. False if the hold is no
        longer this one.
        """
        ...


def is_as_read(stored: Matter, read: Matter) -> bool:
    """Whether a matter has not changed since it was read. A matter that its process has just opened has no
    `changed_ms` yet.
    """
    is_same = (stored.user_id, stored.state, stored.operator) == (read.user_id, read.state, read.operator)
    return is_same and read.changed_ms in (0, stored.changed_ms)


def handoff_of(hold: Hold, thread_id: str, *, assistant: str, user_id: str) -> Matter:
    """The handoff that is the reason of a hold, as far as the hold tells."""
    opened_ns = int(hold.matter.split("#")[1])
    return Matter("handoff", assistant, user_id, thread_id, opened_ns, operator=hold.operator)
