"""Tests of exporting, importing and erasing a user's data, for any store with the test's clock."""

from typing import Any

import pytest
from chatkit.store import NotFoundError

from lambda_src.context import RequestContext
from lambda_src.dev.store_contract.samples import context_of, file_of, item_ids, message_of, thread_of
from lambda_src.errors import ConflictError
from lambda_src.store.ports import Erased, Record
from tests.store.unbound_contract import Clock

DAY_S = 86_400
ADA, BOB = context_of("ada"), context_of("bob")


async def fill(store: Any) -> None:
    """Add a thread of Ada's with three items, feedback, and two attachments."""
    await store.save_thread(thread_of(title="t"), ADA)
    for name in ("msg_c", "msg_a", "msg_b"):
        await store.add_thread_item("thr_1", message_of(name), ADA)
    await store.add_feedback("thr_1", ["msg_a"], "positive", ADA)
    await store.save_attachment(file_of("atc_bound", thread_id="thr_1"), ADA)
    await store.save_attachment(file_of("atc_free"), ADA)


async def export(store: Any, user: RequestContext = ADA) -> list[Record]:
    """Return everything of a user."""
    return [record async for record in store.export_user(user)]


async def import_all(store: Any, records: list[Record], user: RequestContext = ADA) -> list[bool]:
    """Import the records; return which ones were new."""
    return [await store.import_record(record, user) for record in records]


class UserDataContract:
    """Subclass it with a fixture `make`: (clock, retention_s) -> another process's store on the same rows."""

    @pytest.fixture
    def make(self) -> Any:
        """Override."""
        raise NotImplementedError

    async def test_an_import_under_another_user_exports_the_same(self, make: Any) -> None:
        store = make(Clock(), 0)
        await fill(store)
        records = await export(store)
        assert [record["kind"] for record in records] == ["thread", *["item"] * 3, "feedback", *["attachment"] * 2]
        assert all(await import_all(store, records, BOB))
        assert await export(store, BOB) == records
        assert await item_ids(store, "thr_1", BOB) == ["msg_c", "msg_a", "msg_b"]

    async def test_existing_records_are_not_new(self, make: Any) -> None:
        store = make(Clock(), 0)
        await fill(store)
        records = await export(store)
        assert await import_all(store, records) == [False] * len(records)
        assert await export(store) == records

    async def test_a_different_value_with_the_same_id_is_a_conflict(self, make: Any) -> None:
        store = make(Clock(), 0)
        await fill(store)
        records = await export(store)
        for record in records:
            if record["kind"] == "feedback":  # the latest wins, as when a user gives it
                continue
            with pytest.raises(ConflictError, match=rf"^Another {record['kind']} has the id {record['id']}\.$"):
                await store.import_record({**record, "value": {**record["value"], "name": "x", "title": "x"}}, ADA)
        assert await export(store) == records

    async def test_an_unknown_kind_of_record_is_refused(self, make: Any) -> None:
        with pytest.raises(ValueError, match=r"^A record has an unknown kind: task\.$"):
            await make(Clock(), 0).import_record({"kind": "task", "id": "x", "value": {}}, ADA)

    @pytest.mark.parametrize("removed", ["deleted", "erased", "expired"])
    async def test_recently_removed_data_can_be_imported_again(self, make: Any, removed: str) -> None:
        clock = Clock()
        store = make(clock, DAY_S)
        await fill(store)
        records = await export(store)
        match removed:
            case "deleted":
                await store.delete_thread("thr_1", ADA)
                await store.delete_attachment("atc_free", ADA)
            case "erased":
                async for _ in store.erase_user(ADA):
                    pass
            case "expired":
                clock.later(DAY_S)
        await store.add_thread_item("thr_1", message_of("msg_late"), ADA)
        if removed != "deleted":
            await store.delete_thread_item("thr_1", "msg_late", ADA)
        assert all(await import_all(store, records))
        assert await export(store) == records
        clock.later(DAY_S - 1)
        await store.sweep(stop=lambda: False)
        assert await export(store) == records

    async def test_a_deleted_item_can_be_imported_again_in_its_place(self, make: Any) -> None:
        store = make(Clock(), 0)
        await fill(store)
        records = await export(store)
        await store.delete_thread_item("thr_1", "msg_a", ADA)
        assert await import_all(store, [record for record in records if record["id"] == "msg_a"]) == [True, False]
        assert await export(store) == records

    async def test_an_erased_user_has_nothing_and_no_other_user_loses_anything(self, make: Any) -> None:
        store = make(Clock(), 0)
        await fill(store)
        await import_all(store, await export(store), BOB)
        bobs = await export(store, BOB)
        steps = [step async for step in store.erase_user(ADA)]
        erased = sum(steps, Erased())
        assert (erased.threads, erased.items, erased.attachments) == (1, 3, 2)
        assert await export(store) == []
        with pytest.raises(NotFoundError):
            await store.load_attachment("atc_free", ADA)
        assert await export(store, BOB) == bobs
