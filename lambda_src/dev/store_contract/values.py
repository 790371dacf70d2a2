"""The contract about values: every value is loaded exactly as it was stored, at any size. Knows no store."""

import json
import random
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

import pytest

from lambda_src.dev.store_contract.samples import (
    ITEM_FIELDS,
    TIMES,
    AnyContext,
    AnyStore,
    ContractCase,
    item_of,
    message_of,
)

KB = 1024
SIZES = [
    1,
    KB - 1,
    KB,
    KB + 1,
    40 * KB,
    150 * KB,
    205 * KB,
    400 * KB,
    5 * KB * KB,
]  # the last: 5 MB


@cache  # it takes longer to make than to store
def incompressible(size: int) -> str:
    """`size` ASCII characters that gzip cannot shorten by more than a quarter; the same in every run."""
    return "".join(random.Random(size).choices("".join(map(chr, range(35, 127))), k=size))  # noqa: S311 - a sample, no secret


class ValueContract(ContractCase):
    """Every type of item, every kind of value, every size."""

    @pytest.mark.parametrize("kind", ITEM_FIELDS)
    async def test_every_type_of_item_round_trips(
        self, store: AnyStore, ada: AnyContext, thread: str, kind: str
    ) -> None:
        item = item_of(kind)
        await store.add_thread_item("thr_1", item, context=ada)
        loaded = await store.load_item("thr_1", "msg_1", context=ada)
        listed = (await store.load_thread_items("thr_1", None, 1, "asc", context=ada)).data[0]
        assert (loaded, type(loaded)) == (item, type(item))
        assert listed == item

    async def test_numbers_keep_their_type(self, store: AnyStore, ada: AnyContext, thread: str) -> None:
        """1 == 1.0 in Python: the text tells them apart."""
        item: Any = item_of("client_tool_call")
        await store.add_thread_item("thr_1", item, context=ada)
        loaded: Any = await store.load_item("thr_1", "msg_1", context=ada)
        assert json.dumps(loaded.output) == json.dumps(item.output)

    @pytest.mark.parametrize("created_at", TIMES.values(), ids=TIMES)
    async def test_the_time_of_an_item_is_loaded_as_it_was_saved(
        self, store: AnyStore, ada: AnyContext, thread: str, created_at: datetime
    ) -> None:
        await store.add_thread_item("thr_1", item_of("end_of_turn", created_at=created_at), context=ada)
        loaded = (await store.load_item("thr_1", "msg_1", context=ada)).created_at
        assert (loaded, loaded.utcoffset()) == (created_at, created_at.utcoffset())

    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("make", [incompressible, lambda size: "é" * (size // 2 + 1)], ids=["random", "repeated"])
    async def test_text_of_any_size_round_trips(
        self, store: AnyStore, ada: AnyContext, thread: str, size: int, make: Callable[[int], str]
    ) -> None:
        item = message_of(text=make(size))
        await store.add_thread_item("thr_1", item, context=ada)
        assert await store.load_item("thr_1", "msg_1", context=ada) == item
        shorter = message_of(text="short")
        await store.save_item("thr_1", shorter, context=ada)
        assert await store.load_item("thr_1", "msg_1", context=ada) == shorter

    async def test_large_tool_output_and_widgets_round_trip(
        self, store: AnyStore, ada: AnyContext, thread: str
    ) -> None:
        text = incompressible(400 * KB)
        items = [
            item_of("client_tool_call", "tc_1", output={"text": text}),
            item_of("widget", "msg_w", widget={"type": "Card", "children": [{"type": "Text", "value": text}]}),
        ]
        for item in items:
            await store.add_thread_item("thr_1", item, context=ada)
        assert (await store.load_thread_items("thr_1", None, 10, "asc", context=ada)).data == items

    async def test_a_page_of_100_items_of_40_kb_loads_whole(
        self, store: AnyStore, ada: AnyContext, thread: str
    ) -> None:
        text = incompressible(40 * KB)
        for number in range(101):
            await store.add_thread_item("thr_1", message_of(f"msg_{number:03d}", text), context=ada)
        page = await store.load_thread_items("thr_1", None, 100, "asc", context=ada)
        assert [item.id for item in page.data] == [f"msg_{number:03d}" for number in range(100)]
        assert (page.has_more, page.after) == (True, "msg_099")
        assert page.data[99] == message_of("msg_099", text)
