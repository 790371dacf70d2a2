"""Two releases on one table: each can read what the other wrote.

A deployment can be rolled back, so both happen. The newer release is simulated by what it may add: attributes, fields
of a payload, and rows of new kinds. The last release is released_rows.json: its rows, and the output it made of them;
`python -m tests.store.test_releases` records it when a version is tagged.
"""

import asyncio
import base64
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from hypothesis import given, settings

from lambda_src.dev.store_contract.samples import ITEM_FIELDS, context_of, file_of, item_of, message_of, thread_of
from lambda_src.store import codec, keys
from lambda_src.store.bounds import LATE_WRITES_S
from lambda_src.store.dynamodb import DynamoDBStore
from tests.store.local import Local

ADA = context_of("ada")
RECORDED = Path(__file__).with_name("released_rows.json")
Rows = dict[tuple[str, str], dict[str, Any]]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.one_of(
    st.builds(lambda text: {"S": text}, texts),
    st.builds(lambda number: {"N": str(number)}, st.integers(-(10**9), 10**9)),
    st.just({"BOOL": True}),
    st.just({"NULL": True}),
    st.builds(lambda data: {"B": data}, st.binary(max_size=20)),
    st.builds(lambda text: {"M": {"inner": {"L": [{"S": text}]}}}, texts),
)
names = st.from_regex(r"future_[a-z_]{1,12}", fullmatch=True)


async def fill(store: DynamoDBStore) -> None:
    """Add two threads, the first with an item of each kind, a file and feedback; no payload is large."""
    for number in range(2):
        await store.save_thread(thread_of(f"thr_{number}", title=f"Thread {number}"), ADA)
        await store.save_attachment(file_of(f"atc_{number}", thread_id=f"thr_{number}"), ADA)
    for number, kind in enumerate(ITEM_FIELDS):
        await store.add_thread_item("thr_0", item_of(kind, f"itm_{number:02d}", thread_id="thr_0"), ADA)
    await store.add_feedback("thr_0", ["itm_00"], "positive", ADA)


async def visible_output(store: DynamoDBStore) -> list[str]:
    """Return everything that ada's client can see, and her export, as text."""
    threads = (await store.load_threads(20, None, "asc", ADA)).data
    lines = [thread.model_dump_json() for thread in threads]
    for thread in threads:
        page = await store.load_thread_items(thread.id, None, 20, "asc", ADA)
        lines += [item.model_dump_json() for item in page.data]
    for number in range(len(threads)):
        lines.append((await store.load_attachment(f"atc_{number}", ADA)).model_dump_json())
    lines += [json.dumps(record, sort_keys=True) async for record in store.export_user(ADA)]
    return lines


def without_future_fields(value: Any) -> Any:
    """Return `value` without fields of a newer release, which an export includes as they are in the row."""
    match value:
        case dict():
            return {
                name: without_future_fields(inner) for name, inner in value.items() if not name.startswith("future_")
            }
        case list():
            return [without_future_fields(inner) for inner in value]
        case _:
            return value


def add_future_content(rows: Rows, more: dict[str, Any], field: tuple[str, Any]) -> None:
    """Add to every row what a later release might have written, and add rows of an unknown kind."""
    for row in rows.values():
        row |= deepcopy(more)
        if "payload" in row and row["encoding"]["S"] == "json":
            payload = json.loads(row["payload"]["B"])
            row["payload"] = {"B": json.dumps({**payload, f"future_{field[0]}": field[1]}).encode()}
    for partition in {partition for partition, _ in rows}:
        for sort in ("FUTURE#1", "ZZZ#1", "AAA#1"):
            rows[partition, sort] = {"pk": {"S": partition}, "sk": {"S": sort}, **deepcopy(more)}


@settings(max_examples=25, deadline=None)
@given(more=st.dictionaries(names, values, max_size=4), field=st.tuples(st.sampled_from("ab"), st.none() | texts))
def test_additions_of_a_newer_release_change_nothing_for_this_one(more: dict[str, Any], field: tuple[str, Any]) -> None:
    async def compare() -> None:
        local = Local()
        await fill(local.store())
        before = await visible_output(local.store())
        add_future_content(local.engine.rows, more, field)
        after = await visible_output(local.store())
        assert [without_future_fields(json.loads(line)) for line in after] == [json.loads(line) for line in before]
        assert local.counted == []

    asyncio.run(compare())


async def test_this_release_continues_threads_of_a_newer_one() -> None:
    local = Local()
    await fill(local.store())
    add_future_content(local.engine.rows, {"future_attribute": {"S": "x"}}, ("a", 1))
    local.later(1)
    store = local.store()
    await store.add_thread_item("thr_0", message_of("msg_new", thread_id="thr_0"), ADA)
    newest = (await store.load_thread_items("thr_0", None, 1, "desc", ADA)).data[0]
    assert newest.id == "msg_new"
    await store.delete_thread("thr_0", ADA)
    await store.sweep(stop=lambda: False)
    assert [thread.id for thread in (await store.load_threads(20, None, "asc", ADA)).data] == ["thr_1"]


async def test_erasing_a_user_leaves_no_row_of_a_newer_release_behind() -> None:
    local = Local()
    await fill(local.store())
    add_future_content(local.engine.rows, {"future_attribute": {"S": "x"}}, ("a", 1))
    async for _ in local.store().erase_user(ADA):
        pass
    local.later(LATE_WRITES_S)
    await local.store().sweep(stop=lambda: False)
    assert [key for key in local.engine.rows if key[0].startswith(keys.user_partition("ada"))] == []


async def test_rows_of_the_last_release_give_the_output_it_gave() -> None:
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    local = Local()
    local.engine.rows.update(_decoded(recorded["rows"]))
    assert await visible_output(local.store()) == recorded["shown"]
    assert local.counted == []


def test_this_release_reads_the_schema_of_the_last_release() -> None:
    rows = _decoded(json.loads(RECORDED.read_text(encoding="utf-8"))["rows"]).values()
    assert {int(row["schema"]["N"]) for row in rows if "schema" in row} <= set(range(1, codec.SCHEMA_VERSION + 1))


def _encoded(rows: Rows) -> list[dict[str, Any]]:
    def of_bytes(data: bytes) -> dict[str, str]:
        return {"base64": base64.b64encode(data).decode()}

    return [json.loads(json.dumps(row, default=of_bytes)) for row in rows.values()]


def _decoded(rows: list[dict[str, Any]]) -> Rows:
    def bytes_of(value: dict[str, Any]) -> Any:
        return base64.b64decode(value["base64"]) if value.keys() == {"base64"} else value

    decoded = [json.loads(json.dumps(row), object_hook=bytes_of) for row in rows]
    return {(row["pk"]["S"], row["sk"]["S"]): row for row in decoded}


async def _record() -> dict[str, Any]:
    local = Local()
    await fill(local.store())
    return {"rows": _encoded(local.engine.rows), "shown": await visible_output(local.store())}


if __name__ == "__main__":
    RECORDED.write_text(json.dumps(asyncio.run(_record()), indent=1) + "\n", encoding="utf-8")
