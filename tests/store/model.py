"""Store state machine test (hypothesis): any store compared with a plain model of the contract.

CHAT_STORE_MACHINES sets the number of machines (CI: 500 on fast engines, a tenth on slow ones).
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar

import hypothesis.strategies as st
from chatkit.store import NotFoundError
from chatkit.types import FileAttachment, ThreadItem
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from lambda_src.dev.store_contract.samples import (
    WHEN,
    context_of,
    file_of,
    item_ids,
    message_of,
    thread_ids,
    thread_of,
)
from lambda_src.errors import ConflictError

MACHINES = int(os.environ.get("CHAT_STORE_MACHINES", "20"))
STEPS = 40
SKEW_NS = 60 * 10**9  # how far a new process's clock may be behind: less than the five minutes that stores tolerate

users = st.sampled_from(["ada", "bob"])
threads = st.sampled_from(["thr_a", "thr_b", "thr_c"])
ids = st.sampled_from([f"msg_{n}" for n in range(6)])
texts = st.sampled_from(["one", "two"])
orders = st.sampled_from(["asc", "desc"])
limits = st.integers(1, 8)

P = ParamSpec("P")
R = TypeVar("R")


def machine_settings(*, fast: bool) -> settings:
    """Return settings with the configured number of machines, or a tenth of it on slow engines."""
    return settings(
        max_examples=MACHINES if fast else max(2, MACHINES // 10),
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=os.environ.get("CI")
        == "true",  # CI uses the same machines for every commit; elsewhere they are random
        suppress_health_check=list(HealthCheck),
    )


class Inline(Executor):
    """An executor that runs calls at once, since the in-process engine takes microseconds."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> "Future[R]":
        """Return a completed future."""
        future: Future[R] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as fault:  # noqa: BLE001 - an executor passes every exception to the caller
            future.set_exception(fault)
        return future


@dataclass
class ModelThread:
    """A thread in the model: items in order of arrival, with None for deleted ones."""

    created: int
    title: str | None = None
    items: list[tuple[str, ThreadItem | None]] = field(default_factory=list)

    def living(self) -> dict[str, ThreadItem]:
        """Return the items that are not deleted, in order."""
        return {item_id: item for item_id, item in self.items if item is not None}


class StoreMachine(RuleBasedStateMachine):
    """Two users, three threads per user, six items per thread. Subclasses define `open`, `reopen` and `close`."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.now = 10**18
        self.behind_ns = 0  # of the current process
        self.model: dict[str, dict[str, ModelThread]] = {"ada": {}, "bob": {}}
        self.attachments: dict[tuple[str, str], FileAttachment] = {}
        self.unread: set[tuple[str, str]] = set()
        self.deleted: set[tuple[str, str]] = set()  # until a late sweep frees the ids
        self.store: Any = self.open()

    def open(self) -> Any:
        """Return a store on an empty engine with clock `self.clock`."""
        raise NotImplementedError

    def reopen(self) -> Any:
        """Return another store on the same engine, or the same store if a restart would lose everything."""
        raise NotImplementedError

    def close(self) -> None:
        """Release what `open` acquired."""

    def teardown(self) -> None:
        """Check all pages of both users, then close."""
        try:
            for user in self.model:
                for thread in self.model[user]:
                    self.pages(user=user, thread=thread, limit=3, order="asc")
                self.list_threads(user=user, limit=2, order="desc")
        finally:
            self.close()
            self.loop.close()

    def clock(self) -> int:
        """Return nanoseconds; each call advances by a microsecond. Processes differ by at most SKEW_NS."""
        self.now += 1000
        return self.now - self.behind_ns

    def run(self, operation: Awaitable[R]) -> R:
        """Run an operation and return its result."""
        return self.loop.run_until_complete(operation)

    def assert_raises(self, error: type[Exception], operation: Awaitable[object]) -> None:
        """Assert that the operation raises this error."""
        try:
            self.run(operation)
        except error:
            return
        raise AssertionError(f"{error.__name__} was not raised")

    def model_of(self, user: str, thread: str) -> ModelThread | None:
        """Return the model of a thread; a new process reads the thread before it writes, as every turn does."""
        if (user, thread) in self.unread:
            self.unread.discard((user, thread))
            self.run(self.store.load_thread_items(thread, None, 1, "desc", context_of(user)))
        return self.model[user].get(thread)

    @initialize(number=st.integers(0, 5))
    def begin(self, number: int) -> None:
        """Give both users a thread with some items, so that few steps already interact."""
        for user in self.model:
            self.save_thread(user=user, thread="thr_a", created=0, title=None)
            for item in range(number):
                self.add(user=user, thread="thr_a", item=f"msg_{item}", text="one")

    @rule(user=users, thread=threads, created=st.integers(0, 2), title=st.sampled_from([None, "t"]))
    def save_thread(self, user: str, thread: str, created: int, title: str | None) -> None:
        value = thread_of(thread, created_at=WHEN + timedelta(seconds=created), title=title)
        if (user, thread) in self.deleted:
            self.assert_raises(NotFoundError, self.store.save_thread(value, context_of(user)))
            return
        self.run(self.store.save_thread(value, context_of(user)))
        held = self.model[user].setdefault(thread, ModelThread(created))
        held.title = title

    @rule(user=users, thread=threads, title=st.sampled_from(["renamed", None]))
    def rename(self, user: str, thread: str, title: str | None) -> None:
        held = self.model[user].get(thread)
        if held is None:
            self.assert_raises(NotFoundError, self.store.load_thread(thread, context_of(user)))
            return
        loaded = self.run(self.store.load_thread(thread, context_of(user)))
        assert loaded.title == held.title
        loaded.title = held.title = title
        self.run(self.store.save_thread(loaded, context_of(user)))

    @rule(user=users, thread=threads, item=ids, text=texts)
    def add(self, user: str, thread: str, item: str, text: str) -> None:
        held = self.model_of(user, thread)
        if held is None:
            return
        value = message_of(item, text, thread_id=thread)
        current = held.living().get(item)
        adding = self.store.add_thread_item(thread, value, context_of(user))
        if current is not None and current != value:
            self.assert_raises(ConflictError, adding)
            return
        self.run(adding)
        if current is None:
            held.items = [(i, v) for i, v in held.items if i != item] + [(item, value)]

    @rule(user=users, thread=threads, item=ids, text=texts)
    def save_item(self, user: str, thread: str, item: str, text: str) -> None:
        held = self.model_of(user, thread)
        if held is None:
            return
        value = message_of(item, text, thread_id=thread)
        self.run(self.store.save_item(thread, value, context_of(user)))
        if item in held.living():
            held.items = [(i, value if i == item else v) for i, v in held.items]
        else:
            held.items = [(i, v) for i, v in held.items if i != item] + [(item, value)]

    @rule(user=users, thread=threads, item=ids)
    def load_item(self, user: str, thread: str, item: str) -> None:
        held = self.model[user].get(thread)
        if held is not None and item in held.living():
            assert self.run(self.store.load_item(thread, item, context_of(user))) == held.living()[item]
        else:
            self.assert_raises(NotFoundError, self.store.load_item(thread, item, context_of(user)))

    @rule(user=users, thread=threads, item=ids)
    def delete_item(self, user: str, thread: str, item: str) -> None:
        self.run(self.store.delete_thread_item(thread, item, context_of(user)))
        if (held := self.model[user].get(thread)) is not None:
            held.items = [(i, None if i == item else v) for i, v in held.items]

    @rule(user=users, thread=threads)
    def delete_thread(self, user: str, thread: str) -> None:
        self.run(self.store.delete_thread(thread, context_of(user)))
        if self.model[user].pop(thread, None) is not None:
            self.deleted.add((user, thread))
        self.attachments = {
            key: file for key, file in self.attachments.items() if (key[0], file.thread_id) != (user, thread)
        }

    @rule(user=users, thread=threads, limit=limits, order=orders)
    def pages(self, user: str, thread: str, limit: int, order: str) -> None:
        held = self.model[user].get(thread)
        expected = list(held.living()) if held else []
        listed = self.run(item_ids(self.store, thread, context_of(user), order=order, limit=limit))
        assert listed == (expected if order == "asc" else expected[::-1])

    @rule(user=users, thread=threads, limit=limits, order=orders, deleted_item=st.none() | ids)
    def pages_with_a_delete_in_between(
        self, user: str, thread: str, limit: int, order: str, deleted_item: str | None
    ) -> None:
        """Delete an item between two pages; None deletes the cursor's row."""
        held = self.model[user].get(thread)
        if held is None:
            return
        expected = list(held.living()) if order == "asc" else list(held.living())[::-1]
        first = self.run(self.store.load_thread_items(thread, None, limit, order, context_of(user)))
        deleted_item = deleted_item or first.after or "msg_0"
        self.delete_item(user=user, thread=thread, item=deleted_item)
        seen = [item.id for item in first.data]
        assert seen == expected[:limit]
        if first.has_more:
            rest = self.run(self.store.load_thread_items(thread, first.after, 100, order, context_of(user)))
            assert [item.id for item in rest.data] == [i for i in expected[limit:] if i != deleted_item]

    @rule(user=users, limit=limits, order=orders)
    def list_threads(self, user: str, limit: int, order: str) -> None:
        expected = sorted(self.model[user], key=lambda thread: (self.model[user][thread].created, thread))
        listed = self.run(thread_ids(self.store, context_of(user), order=order, limit=limit))
        assert listed == (expected if order == "asc" else expected[::-1])

    @rule(user=users, name=st.sampled_from(["atc_1", "atc_2"]), thread=st.none() | threads)
    def save_attachment(self, user: str, name: str, thread: str | None) -> None:
        if thread is not None and thread not in self.model[user]:
            thread = None
        value: Any = file_of(name, thread_id=thread)
        self.run(self.store.save_attachment(value, context_of(user)))
        self.attachments[user, name] = value

    @rule(user=users, name=st.sampled_from(["atc_1", "atc_2"]))
    def load_attachment(self, user: str, name: str) -> None:
        loading = self.store.load_attachment(name, context_of(user))
        if (user, name) in self.attachments:
            assert self.run(loading) == self.attachments[user, name]
        else:
            self.assert_raises(NotFoundError, loading)

    @rule(user=users, name=st.sampled_from(["atc_1", "atc_2"]))
    def delete_attachment(self, user: str, name: str) -> None:
        self.run(self.store.delete_attachment(name, context_of(user)))
        self.attachments.pop((user, name), None)

    @rule(late=st.booleans())
    def sweep(self, late: bool) -> None:
        self.now += 3600 * 10**9 if late else 0
        self.run(self.store.sweep(stop=lambda: False))
        if late:
            self.deleted.clear()

    @rule(behind_ns=st.sampled_from([0, SKEW_NS]))
    def restart(self, behind_ns: int) -> None:
        self.behind_ns = behind_ns
        self.unread = {(user, thread) for user in self.model for thread in self.model[user]}
        self.store = self.reopen()
