"""What a thread's fields were when this store last saw the object, so that save_thread writes only what changed.

Without it a rename in another tab is lost: the server saves its own, older object over it (docs/stores.md).
Keyed by the object's identity, because an attribute on the model would break its equality.
"""

import weakref
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from chatkit.store import NotFoundError
from chatkit.types import ThreadMetadata

from lambda_src.errors import ConflictError
from lambda_src.store import codec

TAKEN = "Another thread has this id."
UNREADABLE = "This conversation cannot be changed: this release cannot read its title and settings."


def thread_not_found(thread_id: str) -> NotFoundError:
    """The error for a thread that is missing, deleted, or someone else's, in upstream's words."""
    return NotFoundError(f"Thread {thread_id} not found")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The fields of a thread as stored; `fields` is None for the placeholder of a row that cannot be read."""

    thread: str
    fields: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class Changes:
    """What one save changes: `before` and `after` have the same fields; a field that is new is None in `before`."""

    before: Mapping[str, str | None]
    after: Mapping[str, str]

    def lost_to(self, stored: Mapping[str, str]) -> dict[str, str]:
        """The fields that somebody else has changed since, as they are stored now."""
        return {name: stored[name] for name, seen in self.before.items() if name in stored and stored[name] != seen}

    def without(self, lost: Collection[str], *, stored: Mapping[str, str]) -> "Changes":
        """The changes to the other fields, whose stored values are `stored` now."""
        after = {name: text for name, text in self.after.items() if name not in lost}
        return Changes({name: stored.get(name) for name in after}, after)


class Snapshots:
    """Snapshots of live objects; one dies with its object. `thread` names a thread: any key that contains its owner."""

    def __init__(self) -> None:
        self._kept: dict[int, Snapshot] = {}

    def keep(self, model: ThreadMetadata, *, thread: str, fields: Mapping[str, str] | None) -> None:
        """Note the fields of `model` as stored; None for a placeholder."""
        if id(model) not in self._kept:
            weakref.finalize(model, self._kept.pop, id(model), None).atexit = False
        self._kept[id(model)] = Snapshot(thread, fields)

    def changes(self, model: ThreadMetadata, fields: Mapping[str, str], *, thread: str) -> Changes | None:
        """What changed since `model` was loaded or saved; None for an object that this store has not seen.

        ConflictError for the placeholder of a row that cannot be read: saving it would destroy the row.
        """
        known = self._kept.get(id(model))
        if known is None or known.thread != thread:
            return None
        if known.fields is None:
            raise ConflictError(UNREADABLE)
        after = {name: text for name, text in fields.items() if known.fields.get(name) != text}
        return Changes({name: known.fields.get(name) for name in after}, after)

    def merged(
        self,
        model: ThreadMetadata,
        changes: Changes,
        *,
        stored: Mapping[str, str],
        thread: str,
        in_turn: bool,
    ) -> dict[str, str]:
        """What the row becomes: `stored` and the changes. `in_turn`: fields that somebody else has changed since keep
        their value, and `model` takes it over.
        """
        theirs = changes.lost_to(stored) if in_turn else {}
        self.take_over(model, codec.dump_thread(model), theirs, thread=thread)
        return {**stored, **changes.after, **theirs}

    def take_over(
        self, model: ThreadMetadata, fields: Mapping[str, str], theirs: Mapping[str, str], *, thread: str
    ) -> dict[str, str]:
        """Put the fields that somebody else has changed into `model`; returns all of its fields now."""
        merged = {**fields, **theirs}
        if not theirs:
            return merged
        stored = codec.load_thread(merged)
        for name in theirs:
            setattr(model, name, getattr(stored, name))
        self.keep(model, thread=thread, fields=merged)
        return merged
