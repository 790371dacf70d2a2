"""Expired rows are immediately invisible to every reader; without retention nothing of a thread expires."""

import random
from dataclasses import dataclass, field, replace

import pytest
from chatkit.store import NotFoundError

from lambda_src.context import Turn
from lambda_src.dev.store_contract.samples import (
    answer_of,
    context_of,
    file_of,
    item_ids,
    message_of,
    thread_ids,
    thread_of,
)
from lambda_src.dev.store_contract.values import incompressible
from lambda_src.store import keys
from lambda_src.store.dynamodb import DynamoDBStore
from tests.store.local import Local, populate
from tests.store.sweeping import finish

ADA = context_of("ada")
DAY_S = 86_400


async def test_expired_rows_are_filtered_when_they_are_read() -> None:
    local = Local()
    store = local.store(retention_s=3600)
    await populate(store)
    local.later(3599)
    assert len((await store.load_threads(10, None, "asc", ADA)).data) == 2
    local.later(1)
    assert (await store.load_threads(10, None, "asc", ADA)).data == []
    assert await item_ids(store, "thr_0", ADA) == []
    for load in (
        store.load_thread("thr_0", ADA),
        store.load_item("thr_0", "msg_0", ADA),
        store.load_attachment("atc_0", ADA),
    ):
        with pytest.raises(NotFoundError):
            await load
    await store.add_thread_item("thr_0", message_of("msg_0", "anew"), ADA)
    assert await item_ids(store, "thr_0", ADA) == ["msg_0"]


async def test_without_retention_nothing_expires_but_an_unbound_file() -> None:
    local = Local()
    await populate(local.store())
    expiring = [row for row in local.engine.rows.values() if keys.TTL_ATTRIBUTE in row]
    assert [row[keys.SORT_KEY]["S"] for row in expiring] == [keys.attachment_sort("atc_free")]


async def test_a_turn_prolongs_its_thread_once() -> None:
    local = Local()
    store = local.store(retention_s=30 * DAY_S)
    await store.save_thread(thread_of(title="t"), ADA)
    turn = replace(ADA, turn=Turn("turn-of-0123456789"))
    for _ in range(3):
        local.later(DAY_S)
        process = local.store(retention_s=30 * DAY_S)
        await process.load_thread("thr_1", turn)
        local.engine.requests.clear()
        for number in range(20):
            await process.add_thread_item("thr_1", answer_of(f"msg_{local.now}_{number}", "x"), turn)
            local.later(30)
        assert local.engine.requests == ["UpdateItem", *["PutItem"] * 20]
        newest = max(int(row[keys.TTL_ATTRIBUTE]["N"]) for key, row in local.engine.rows.items() if "ITEM#" in key[1])
        (thread,) = (row for key, row in local.engine.rows.items() if key[1] == keys.thread_sort("thr_1"))
        assert int(thread[keys.TTL_ATTRIBUTE]["N"]) == newest, "the thread expires with its newest item"


async def test_an_erasure_finds_the_rest_of_threads_whose_row_has_expired() -> None:
    local = Local()
    store = local.store(retention_s=DAY_S)
    await populate(store, threads=2)
    await populate(store, "ada#THREAD#thr_0")
    for thread_id in ("thr_0", "thr_1"):
        del local.engine.rows[keys.user_partition("ada"), keys.thread_sort(thread_id)]
    others = len([key for key in local.engine.rows if key[0].startswith("USER#ada##")])
    erased = [step async for step in store.erase_user(ADA)]
    assert sum(step.items for step in erased) == 8
    await finish(local, store)
    assert len(local.engine.rows) == others
    assert not [key for key in local.objects.kept if "/ada/" in key]


@dataclass
class RetentionModel:
    """A table whose rows DynamoDB removes at random times after they expire, and the rows that should be alive."""

    random: random.Random
    local: Local = field(default_factory=Local)
    retention_s: int = 30 * DAY_S
    items: dict[str, dict[str, int]] = field(default_factory=dict)  # when each item expires, by thread
    threads: dict[str, int] = field(default_factory=dict)

    def store(self) -> DynamoDBStore:
        """Return the store of another process."""
        return self.local.store(retention_s=self.retention_s)

    def now_s(self) -> int:
        return self.local.now // 10**9

    def remove_expired(self) -> None:
        """Remove some of the expired rows, as DynamoDB does."""
        for key, row in list(self.local.engine.rows.items()):
            expired = keys.TTL_ATTRIBUTE in row and int(row[keys.TTL_ATTRIBUTE]["N"]) <= self.now_s()
            if expired and self.random.random() < 0.5:
                del self.local.engine.rows[key]

    async def write(self, number: int) -> None:
        """Add an item with its file and feedback to a thread that may be new."""
        store, thread_id, item_id = self.store(), f"thr_{self.random.randrange(3)}", f"msg_{number}"
        expires_s = self.now_s() + self.retention_s
        if self.threads.get(thread_id, 0) <= self.now_s():
            await store.save_thread(thread_of(thread_id, title="t"), ADA)
        text = incompressible(200_000) if self.random.random() < 0.1 else "x"
        await store.save_attachment(file_of(f"atc_{number}", thread_id=thread_id), ADA)
        await store.add_thread_item(thread_id, message_of(item_id, text, thread_id=thread_id), ADA)
        await store.add_feedback(thread_id, [item_id], "negative", ADA)
        self.threads[thread_id] = expires_s
        self.items.setdefault(thread_id, {})[item_id] = expires_s

    async def check(self) -> None:
        """Check that everything alive is there, and nothing that has expired."""
        store = self.store()
        living = {thread_id for thread_id, expires_s in self.threads.items() if expires_s > self.now_s()}
        assert set(await thread_ids(store, ADA)) == living
        for thread_id in living:
            expected = [item_id for item_id, expires_s in self.items[thread_id].items() if expires_s > self.now_s()]
            assert sorted(await item_ids(store, thread_id, ADA)) == sorted(expected)
            for item_id in expected:
                await store.load_attachment(item_id.replace("msg", "atc"), ADA)
        exported = [record async for record in store.export_user(ADA)]
        items = sum(record["kind"] == "item" for record in exported)
        assert sum(record["kind"] == "feedback" for record in exported) == items


@pytest.mark.parametrize("seed", range(15))
async def test_no_living_row_is_missing_and_an_erasure_leaves_nothing(seed: int) -> None:
    model = RetentionModel(random.Random(seed))
    for number in range(30):
        await model.write(number)
        model.local.later(model.random.choice([0, 1, 3_600, 5 * DAY_S, 20 * DAY_S]))
        model.remove_expired()
        await model.check()
    async for _ in model.store().erase_user(ADA):
        pass
    await finish(model.local, model.store())
    assert model.local.engine.rows == {}
    assert model.local.objects.kept == {}
