"""Property tests of the store's pure parts: codec, keys, ids and thread clocks."""

import os
import time
import zlib
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import hypothesis.strategies as st
import pytest
from chatkit.types import HiddenContextItem
from hypothesis import given

from lambda_src.dev.store_contract.samples import ITEM_FIELDS, item_of, thread_of
from lambda_src.store import bounds, codec, keys
from lambda_src.store.clock import MAX_AHEAD_NS, MAX_THREADS, ThreadClocks
from tests.startup.conftest import Run
from tests.startup.conftest import run as run

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
offsets = st.none() | st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(timezones=offsets)
stored_ids = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=128)


def same(left: Any, right: Any) -> bool:
    """Whether values and all nested types are equal (in Python, 1 == 1.0 == True)."""
    return repr(left) == repr(right)


@given(json_values)
def test_any_json_value_round_trips_with_its_types(value: Any) -> None:
    item = HiddenContextItem(id="i", thread_id="t", created_at=datetime(2026, 1, 1, tzinfo=UTC), content=value)
    loaded: Any = codec.load_item(codec.unpack(codec.pack(codec.dump(item))))
    assert same(loaded.content, value)


@given(times)
def test_any_time_round_trips_with_its_offset(created_at: datetime) -> None:
    thread = thread_of(created_at=created_at)
    loaded = codec.load_thread(codec.dump_thread(thread))
    assert loaded.created_at == created_at
    assert loaded.created_at.utcoffset() == created_at.utcoffset()
    assert codec.thread_time_us(created_at) >= 0


@given(times, times)
def test_threads_are_ordered_by_their_instants(earlier: datetime, later: datetime) -> None:
    first, second = (
        (m.replace(tzinfo=None) - datetime.min) - (m.utcoffset() or timedelta(0)) for m in (earlier, later)
    )
    assert (first < second) == (codec.thread_time_us(earlier) < codec.thread_time_us(later))


@pytest.mark.parametrize("kind", ITEM_FIELDS)
def test_a_dump_is_stable(kind: str) -> None:
    """Otherwise the digest of an item would change when it is added again."""
    data = codec.dump(item_of(kind))
    assert codec.dump(codec.load_item(data)) == data


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1025, 5000, 200_000])
def test_gzip_is_used_only_above_1_kb_and_if_it_saves_bytes(size: int) -> None:
    plain, noise = b"a" * size, os.urandom(size)
    assert codec.unpack(codec.pack(plain)) == plain
    assert codec.unpack(codec.pack(noise)) == noise
    assert codec.pack(plain).encoding == ("gzip" if size > codec.GZIP_FROM_BYTES else "json")
    assert codec.pack(noise).encoding == "json"


@given(st.binary(min_size=0, max_size=60))
def test_damaged_gzip_raises_only_unreadable_error(data: bytes) -> None:
    try:
        content = zlib.decompress(data, 31)
    except zlib.error:
        with pytest.raises(codec.UnreadableError):
            codec.unpack(codec.Packed(data, "gzip"))
    else:
        assert codec.unpack(codec.Packed(data, "gzip")) == content


@given(stored_ids, stored_ids)
def test_a_partition_key_contains_its_user_and_thread(user: str, thread: str) -> None:
    assert keys.owner_of(keys.user_partition(user)) == (user, "")
    assert keys.owner_of(keys.thread_partition(user, thread)) == (user, thread)


@given(st.tuples(stored_ids, stored_ids), st.tuples(stored_ids, stored_ids))
def test_no_two_threads_share_a_key(thread: tuple[str, str], other: tuple[str, str]) -> None:
    assert (keys.thread_partition(*thread) == keys.thread_partition(*other)) == (thread == other)
    assert keys.thread_partition(*thread) != keys.user_partition(other[0])


@given(st.integers(0, 10**20 - 1), st.integers(0, 10**20 - 1), stored_ids)
def test_orders_sort_as_numbers_between_the_tombstones(number: int, other: int, row_id: str) -> None:
    assert (keys.order_of(number, row_id) < keys.order_of(other, row_id)) == (number < other)
    assert keys.arrived_ns(keys.order_of(number, row_id)) == number
    assert keys.FIRST_ORDER < keys.order_of(number, row_id) < keys.LAST_ORDER


@given(stored_ids, stored_ids)
def test_objects_stay_under_their_users_prefix(user: str, thread: str) -> None:
    key = keys.offload_object(user, thread, "item", "write")
    assert key.startswith(keys.user_objects(keys.OFFLOAD_PREFIX, user))
    assert key.count("/") == 4
    assert len(key.encode()) <= 1024
    assert not {".", ".."} & set(key.split("/"))


@given(st.text())
def test_every_valid_id_fits_into_the_keys(text: str) -> None:
    if bounds.is_id(text):
        assert 0 < len(keys.thread_partition(text, text).encode()) <= 2048
        assert len(keys.order_of(0, text).encode()) <= 1024


def test_ids_sort_by_the_time_of_minting() -> None:
    minted = [bounds.new_id("message", now_ns=second * 10**9) for second in range(1_700_000_000, 1_700_000_100)]
    assert minted == sorted(minted)
    assert all(len(item_id) == len("msg_") + 32 for item_id in minted)


def test_a_clock_never_repeats_and_never_goes_back() -> None:
    now = 1000
    clocks = ThreadClocks(lambda: now, on_ahead=lambda: None)
    first = [clocks.next("t") for _ in range(3)]
    now = 10
    assert [*first, clocks.next("t")] == [1000, 1001, 1002, 1003]
    assert clocks.next("other") == 10


def test_a_clock_follows_newer_times_unless_they_are_far_ahead() -> None:
    ahead: list[str] = []
    clocks = ThreadClocks(lambda: 1000, on_ahead=lambda: ahead.append("ahead"))
    clocks.follow("t", 1000 + MAX_AHEAD_NS)
    assert clocks.next("t") == 1001 + MAX_AHEAD_NS
    clocks.follow("t", 1001 + MAX_AHEAD_NS)
    assert ahead == ["ahead"]
    assert clocks.next("t") == 1002 + MAX_AHEAD_NS


def test_a_clock_forgets_the_least_recently_used_threads() -> None:
    clocks = ThreadClocks(lambda: 1, on_ahead=lambda: None)
    for number in range(MAX_THREADS + 1):
        clocks.next(str(number))
    assert (clocks.next("0"), clocks.next(str(MAX_THREADS))) == (1, 2)


def test_naive_times_mean_utc_in_any_time_zone() -> None:
    """The codec treats naive times as UTC regardless of TZ."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Asia/Kolkata"
    time.tzset()
    try:
        assert codec.thread_time_us(datetime(2026, 1, 1)) == codec.thread_time_us(datetime(2026, 1, 1, tzinfo=UTC))
    finally:
        os.environ.pop("TZ")
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()


def test_the_models_that_chatkit_leaves_incomplete_are_completed_and_shared(run: Run) -> None:
    """If the first line has a name, ChatKit completes that model itself: remove it. If the last one is False, pydantic
    no longer shares complete models, and nothing is gained by completing them first.
    """
    program = """
import chatkit.types
before = {name for name, model in vars(chatkit.types).items() if getattr(model, "__pydantic_complete__", None) is False}
from lambda_src.chat import server
from lambda_src.store import codec
models = (*codec._INCOMPLETE, chatkit.types.ThreadItemUpdatedEvent)
print([model.__name__ for model in models if model.__name__ not in before])
print([model.__name__ for model in models if not model.__pydantic_complete__])
print(not any(f'name: "{model.__name__}"' in repr(codec._ITEM.validator) for model in models))
"""
    assert run(program).splitlines() == ["[]", "[]", "True"]
