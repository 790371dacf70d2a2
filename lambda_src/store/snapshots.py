"""What a thread's fields were when this store last saw the object, so that save_thread writes only what changed.

Without it a rename in another tab is lost: the server saves its own, older object over it (docs/stores.md).
Keyed by the object's identity, because an attribute on the model would break its equality.
"""

import weakref
from collections.abc import Mapping
from dataclasses import dataclass

from chatkit.types import ThreadMetadata


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The fields as stored, and whether the object came out of the store or was only put into it."""

    thread: str
    fields: Mapping[str, str]
    loaded: bool


class Snapshots:
    """Snapshots of live objects; one dies with its object."""

    def __init__(self) -> None:
        self._kept: dict[int, Snapshot] = {}

    def keep(self, thread: ThreadMetadata, snapshot: Snapshot) -> None:
        """Note what `thread` was; the latest note holds."""
        if id(thread) not in self._kept:
            weakref.finalize(thread, self._kept.pop, id(thread), None).atexit = False
        self._kept[id(thread)] = snapshot

    def of(self, thread: ThreadMetadata) -> Snapshot | None:
        """What `thread` was, or None for an object that this store has not seen."""
        return self._kept.get(id(thread))

    def forget_saved(self, thread: str) -> None:
        """After a delete: an object that was only saved may be saved anew; a loaded one speaks of the old thread."""
        for key, snapshot in list(self._kept.items()):
            if snapshot.thread == thread and not snapshot.loaded:
                self._kept.pop(key, None)
