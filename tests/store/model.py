"""A store driven at random beside a plain model of the contract. Knows no engine: a subclass of the machine brings one.

CHAT_STORE_MACHINES says how many machines a run drives (CI: 500 on the fast engines, a tenth on the slow ones).
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
SKEW_NS = 60 * 10**9  # how far a fresh process's clock may be behind: under the five minutes that are followed

users = st.sampled_from(["ada", "bob"])
threads = st.sampled_from(["thr_a", "thr_b", "thr_c"])
ids = st.sampled_from([f"msg_{n}" for n in range(6)])
texts = st.sampled_from(["one", "two"])
orders = st.sampled_from(["asc", "desc"])
limits = st.integers(1, 8)

P = ParamSpec("P")
R = TypeVar("R")


def machine_settings(*, fast: bool) -> settings:
    """As many machines as the environment asks for, a tenth on an engine that takes milliseconds per request."""
    return settings(
        max_examples=MACHINES if fast else max(2, MACHINES // 10),
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=os.environ.get("CI") == "true",  # the same machines for every commit; elsewhere always new ones
        suppress_health_check=list(HealthCheck),
    )


class Inline(Executor):
    """Runs what it is given at once: the engine is in this process and takes microseconds."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> "Future[R]":
        """A future that is done."""
        future: Future[R] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as fault:  # noqa: BLE001 - an executor hands every fault to whoever waits
            future.set_exception(fault)
        return future


@dataclass
class ModelThread:
    """A thread as the contract sees it: items in order of arrival; None marks where one was deleted."""

    created: int
    title: str | None = None
    items: list[tuple[str, ThreadItem | None]] = field(default_factory=list)

    def living(self) -> dict[str, ThreadItem]:
        """The items that are there, in order."""
        return {item_id: item for item_id, item in self.items if item is not None}


class StoreMachine(RuleBasedStateMachine):
    """Two users, three threads each, six items a thread. A subclass defines `open`, `reopen` and `close`."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.now = 10**18
        self.behind_ns = 0  # of the process of the moment
        self.model: dict[str, dict[str, ModelThread]] = {"ada": {}, "bob": {}}
        self.attachments: dict[tuple[str, str], FileAttachment] = {}
        self.unread: set[tuple[str, str]] = set()
        self.deleted: set[tuple[str, str]] = set()  # until a late sweep: then their ids are free again
        self.store: Any = self.open()

    def open(self) -> Any:
        """A store on an empty engine, its clock `self.clock`."""
        raise NotImplementedError

    def reopen(self) -> Any:
        """Another store on the same engine; the same store where a restart loses everything."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back what `open` took."""

    def teardown(self) -> None:
        """After the last step: both users' pages, whole, and the end."""
        try:
            for user in self.model:
                for thread in self.model[user]:
                    self.pages(user=user, thread=thread, limit=3, order="asc")
                self.list_threads(user=user, limit=2, order="desc")
        finally:
            self.close()
            self.loop.close()

    def clock(self) -> int:
        """Nanoseconds; every look is a microsecond later. Processes differ by SKEW_NS at most."""
        self.now += 1000
        return self.now - self.behind_ns

    def run(self, operation: Awaitable[R]) -> R:
        """The outcome of one operation."""
        return self.loop.run_until_complete(operation)

    def fails(self, error: type[Exception], operation: Awaitable[object]) -> None:
        """The operation must fail so."""
        try:
            self.run(operation)
        except error:
            return
        raise AssertionError(f"{error.__name__} was not raised")

    def known(self, user: str, thread: str) -> ModelThread | None:
        """The model's thread. A process new to a thread reads it before it writes, as every turn does."""
        if (user, thread) in self.unread:
            self.unread.discard((user, thread))
            self.run(self.store.load_thread_items(thread, None, 1, "desc", context_of(user)))
        return self.model[user].get(thread)

    @initialize(number=st.integers(0, 5))
    def begin(self, number: int) -> None:
        """Both users have a thread with some items, so that few steps already meet."""
        for user in self.model:
            self.save_thread(user=user, thread="thr_a", created=0, title=None)
            for item in range(number):
                self.add(user=user, thread="thr_a", item=f"msg_{item}", text="one")

    @rule(user=users, thread=threads, created=st.integers(0, 2), title=st.sampled_from([None, "t"]))
    def save_thread(self, user: str, thread: str, created: int, title: str | None) -> None:
        value = thread_of(thread, created_at=WHEN + timedelta(seconds=created), title=title)
        if (user, thread) in self.deleted:
            self.fails(NotFoundError, self.store.save_thread(value, context_of(user)))
            return
        self.run(self.store.save_thread(value, context_of(user)))
        held = self.model[user].setdefault(thread, ModelThread(created))
        held.title = title

    @rule(user=users, thread=threads, title=st.sampled_from(["renamed", None]))
    def rename(self, user: str, thread: str, title: str | None) -> None:
        held = self.model[user].get(thread)
        if held is None:
            self.fails(NotFoundError, self.store.load_thread(thread, context_of(user)))
            return
        loaded = self.run(self.store.load_thread(thread, context_of(user)))
        assert loaded.title == held.title
        loaded.title = held.title = title
        self.run(self.store.save_thread(loaded, context_of(user)))

    @rule(user=users, thread=threads, item=ids, text=texts)
    def add(self, user: str, thread: str, item: str, text: str) -> None:
        held = self.known(user, thread)
        if held is None:
            return
        value = message_of(item, text, thread_id=thread)
        standing = held.living().get(item)
        adding = self.store.add_thread_item(thread, value, context_of(user))
        if standing is not None and standing != value:
            self.fails(ConflictError, adding)
            return
        self.run(adding)
        if standing is None:
            held.items = [(i, v) for i, v in held.items if i != item] + [(item, value)]

    @rule(user=users, thread=threads, item=ids, text=texts)
    def save_item(self, user: str, thread: str, item: str, text: str) -> None:
        held = self.known(user, thread)
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
            self.fails(NotFoundError, self.store.load_item(thread, item, context_of(user)))

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
            key: kept for key, kept in self.attachments.items() if (key[0], kept.thread_id) != (user, thread)
        }

    @rule(user=users, thread=threads, limit=limits, order=orders)
    def pages(self, user: str, thread: str, limit: int, order: str) -> None:
        held = self.model[user].get(thread)
        wanted = list(held.living()) if held else []
        found = self.run(item_ids(self.store, thread, context_of(user), order=order, limit=limit))
        assert found == (wanted if order == "asc" else wanted[::-1])

    @rule(user=users, thread=threads, limit=limits, order=orders, victim=st.none() | ids)
    def pages_with_a_delete_between(self, user: str, thread: str, limit: int, order: str, victim: str | None) -> None:
        """`victim` None is the row that serves as the cursor."""
        held = self.model[user].get(thread)
        if held is None:
            return
        wanted = list(held.living()) if order == "asc" else list(held.living())[::-1]
        first = self.run(self.store.load_thread_items(thread, None, limit, order, context_of(user)))
        victim = victim or first.after or "msg_0"
        self.delete_item(user=user, thread=thread, item=victim)
        seen = [item.id for item in first.data]
        assert seen == wanted[:limit]
        if first.has_more:
            rest = self.run(self.store.load_thread_items(thread, first.after, 100, order, context_of(user)))
            assert [item.id for item in rest.data] == [i for i in wanted[limit:] if i != victim]

    @rule(user=users, limit=limits, order=orders)
    def list_threads(self, user: str, limit: int, order: str) -> None:
        wanted = sorted(self.model[user], key=lambda thread: (self.model[user][thread].created, thread))
        found = self.run(thread_ids(self.store, context_of(user), order=order, limit=limit))
        assert found == (wanted if order == "asc" else wanted[::-1])

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
            self.fails(NotFoundError, loading)

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
