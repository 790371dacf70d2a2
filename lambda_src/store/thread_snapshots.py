"""Snapshots of threads as loaded or saved, so that save_thread writes only the fields that changed.

Without them a rename in another tab would be lost: the server would overwrite it with its older object
(docs/explanation/stores.md). Snapshots are keyed by object identity, because an attribute on the model would break its
equality.
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
    """The error for a thread that is missing, deleted, or someone else's, with the same message as upstream's."""
    return NotFoundError(f"Thread {thread_id} not found")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The fields of a thread as stored; `fields` is None for a placeholder, whose row cannot be read."""

    thread: str
    fields: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class Changes:
    """What one save changes: `before` and `after` have the same fields; a new field is None in `before`."""

    before: Mapping[str, str | None]
    after: Mapping[str, str]

    def lost_to(self, stored: Mapping[str, str]) -> dict[str, str]:
        """The fields that another writer has changed since, with their stored values."""
        return {name: stored[name] for name, seen in self.before.items() if name in stored and stored[name] != seen}

    def without(self, lost: Collection[str], *, stored: Mapping[str, str]) -> "Changes":
        """The changes to the other fields, given that the row now contains `stored`."""
        after = {name: text for name, text in self.after.items() if name not in lost}
        return Changes({name: stored.get(name) for name in after}, after)


class Snapshots:
    """Snapshots of live objects, each dropped with its object. `thread` is any key that identifies thread and owner."""

    def __init__(self) -> None:
        self._snapshots: dict[int, Snapshot] = {}

    def keep(self, model: ThreadMetadata, *, thread: str, fields: Mapping[str, str] | None) -> None:
        """Record the fields of `model` as stored; None for a placeholder."""
        if id(model) not in self._snapshots:
            weakref.finalize(model, self._snapshots.pop, id(model), None).atexit = False
        self._snapshots[id(model)] = Snapshot(thread, fields)

    def changes(self, model: ThreadMetadata, fields: Mapping[str, str], *, thread: str) -> Changes | None:
        """What changed since `model` was loaded or saved; None for an object that this store has not seen.

        ConflictError for a placeholder: saving it would destroy the row, which this release cannot read.
        """
        snapshot = self._snapshots.get(id(model))
        if snapshot is None or snapshot.thread != thread:
            return None
        if snapshot.fields is None:
            raise ConflictError(UNREADABLE)
        after = {name: text for name, text in fields.items() if snapshot.fields.get(name) != text}
        return Changes({name: snapshot.fields.get(name) for name in after}, after)

    def merged(
        self,
        model: ThreadMetadata,
        changes: Changes,
        *,
        stored: Mapping[str, str],
        thread: str,
        in_turn: bool,
    ) -> dict[str, str]:
        """The fields to write: `stored` with the changes applied. `in_turn`: fields that another writer has changed
        since keep their stored value, which is copied into `model`.
        """
        theirs = changes.lost_to(stored) if in_turn else {}
        self.take_over(model, codec.dump_thread(model), theirs, thread=thread)
        return {**stored, **changes.after, **theirs}

    def take_over(
        self, model: ThreadMetadata, fields: Mapping[str, str], theirs: Mapping[str, str], *, thread: str
    ) -> dict[str, str]:
        """Copy the fields that another writer has changed into `model`, and return all of its fields."""
        merged = {**fields, **theirs}
        if not theirs:
            return merged
        stored = codec.load_thread(merged)
        for name in theirs:
            setattr(model, name, getattr(stored, name))
        self.keep(model, thread=thread, fields=merged)
        return merged
