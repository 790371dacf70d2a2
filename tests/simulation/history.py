"""What people did and saw: the facts that the promises are checked against."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["create", "add", "retry", "edit", "form"]
Outcome = Literal["open", "whole", "stopped", "refused", "broken", "left"]


def text_of(item: dict[str, Any]) -> str:
    """The text of a message."""
    return "".join(part.get("text", "") for part in item.get("content", []) if isinstance(part, dict))


def texts_of(events: Iterable[dict[str, Any]]) -> dict[str, str]:
    """The answers that events show, by the ids of their items, as far as they came."""
    texts: dict[str, str] = defaultdict(str)
    for event in events:
        match event:
            case {"type": "thread.item.updated", "item_id": item_id, "update": {"delta": delta}}:
                texts[item_id] += delta
            case {"type": "thread.item.done", "item": {"type": "assistant_message", "id": item_id} as item}:
                texts[item_id] = text_of(item)
            case {"type": "thread.item.removed", "item_id": item_id}:
                texts.pop(item_id, None)
            case _:
                pass
    return dict(texts)


@dataclass(eq=False)
class Stream:
    """One response with events. `is_whole`: it ended as HTTP says, not by a broken connection."""

    person: str
    began_ns: int
    turn_id: str
    events: list[dict[str, Any]] = field(default_factory=list)
    seen: int = 0  # events that came before, on an earlier connection
    is_whole: bool = False
    ended_ns: int | None = None
    last_ns: int = 0
    errors: list[str] = field(default_factory=list)  # that the sandbox reported


@dataclass(eq=False)
class Send:
    """One request for a turn, with all its retries. `number` is in its text."""

    number: int
    person: str
    kind: Kind
    thread_id: str | None
    text: str
    is_named: bool
    began_ns: int
    item_id: str | None = None  # of the user's message, once its stream has shown it
    retried_item: str | None = None  # the message that a "retry" answers again, or an "edit" replaces
    acked_ns: int | None = None
    ended_ns: int | None = None
    outcome: Outcome = "open"
    statuses: list[int] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    stop_asked_ns: int | None = None
    stopped_ns: int | None = None  # when the server said so
    turn_ids: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)  # x-chat-turn of its attempts
    attempts: int = 0
    waited: tuple[int, int, str] | None = (
        None  # when the first attempt was sent, when its head came, from which machine
    )

    @property
    def is_message(self) -> bool:
        """Whether the user's message is stored."""
        return self.kind in ("create", "add", "edit")


@dataclass(eq=False)
class Deletion:
    """A thread that its owner deleted, or an operator erased."""

    person: str
    thread_id: str
    began_ns: int
    acked_ns: int | None = None


@dataclass
class History:
    """Everything, in order."""

    sends: list[Send] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    deletions: list[Deletion] = field(default_factory=list)
    erased: dict[str, int] = field(default_factory=dict)  # person -> when the erasure was done
    erasing: dict[str, int] = field(default_factory=dict)  # person -> when the first erasure began
    linked: dict[str, str] = field(default_factory=dict)  # guest -> person whose threads they may have become
    leases: dict[str, list[tuple[int, str]]] = field(default_factory=dict)  # thread -> turns that took it, with times
    declared_dead: dict[str, int] = field(default_factory=dict)  # turn -> when somebody ended its lease for it
    unclear_titles: set[str] = field(default_factory=set)  # threads renamed by two at once, or perhaps
    renaming: set[str] = field(default_factory=set)
    titles: dict[str, str] = field(default_factory=dict)  # thread -> the title that its owner chose last
    waits: list[tuple[str, float]] = field(default_factory=list)  # (request, seconds until its head)

    def sends_of(self, thread_id: str) -> Iterator[Send]:
        """The requests for turns in a thread."""
        return (send for send in self.sends if send.thread_id == thread_id)

    def owners(self, person: str) -> set[str]:
        """The person, and the guests whose threads are theirs."""
        return {person, *(guest for guest, user in self.linked.items() if user == person)}

    def may_be_removed(self, thread_id: str) -> bool:
        """Whether somebody has regenerated an answer of the thread or edited a message, which removes what follows."""
        return any(send.kind in ("retry", "edit") for send in self.sends_of(thread_id))

    def is_continued(self, thread_id: str) -> bool:
        """Whether a message of the thread may be answered by more than its own turn, or its answer be removed."""
        return self.may_be_removed(thread_id) or any(send.kind == "form" for send in self.sends_of(thread_id))

    def may_be_gone(self, thread_id: str) -> bool:
        """Whether somebody has tried to delete it."""
        return any(deletion.thread_id == thread_id for deletion in self.deletions)
