"""Faults at each request of counters and day keys: ceilings hold, corrections apply once, processes share one key."""

from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import Any, cast

import pytest

from lambda_src.errors import UnavailableError
from lambda_src.store import keys
from lambda_src.store.counters import DAY_S, Begun
from lambda_src.store.dynamodb.counters import BEGUN, SWITCH, TableCounters
from lambda_src.store.dynamodb.day_keys import TableDayKeys
from lambda_src.store.dynamodb.usage import TableUsage
from lambda_src.store.usage import Source, Usage
from tests.store.engine.engine import Engine
from tests.store.engine.wire import FAULTS, Fault, Wire, no_waiting
from tests.store.local import START, Local
from tests.store.tables import Aws

CEILING = 1000
BEFORE = 400
SHARDED = 1_000_000  # a ceiling for the whole stage, whose sum is spread over rows
ADDED_MAX_S = 5.0

Operation = Callable[[TableCounters], Awaitable[object]]

ADDITIONS: dict[str, Operation] = {
    "a user's": lambda counters: counters.add("tokens", 300, ceiling=CEILING, user_id="ada"),
    "a user's over the ceiling": lambda counters: counters.add("tokens", 601, ceiling=CEILING, user_id="ada"),
    "the stage's": lambda counters: counters.add("tokens", 300, ceiling=SHARDED),
}
CORRECTIONS: dict[str, Operation] = {
    "a user's, downwards": lambda counters: counters.correct(
        "tokens", -100, ceiling=CEILING, mark="turn", user_id="ada"
    ),
    "a user's, upwards": lambda counters: counters.correct("tokens", 900, ceiling=CEILING, mark="turn", user_id="ada"),
    "the stage's": lambda counters: counters.correct("tokens", -100, ceiling=SHARDED, mark="turn"),
    "a turn that begins": lambda counters: counters.add("tokens", 300, ceiling=SHARDED, begun=Begun("", "1")),
    "a turn that does not begin": lambda counters: counters.correct(
        "tokens", -300, ceiling=SHARDED, mark="turn", unbegun=Begun("", "1")
    ),
    "a second one": lambda counters: counters.correct("tokens", -50, ceiling=CEILING, mark="other", user_id="bob"),
}


@pytest.fixture
def aws(aws: Aws) -> Aws:
    """New clients for each test, because botocore limits the retries of a client."""
    return Aws()


def counters_on(client: Any, executor: Executor | None = None) -> TableCounters:
    """Return the counters of a process."""
    local = Local(engine=client)
    store = local.store(**({} if executor is None else {"executor": executor}))
    return TableCounters(store.table, clock=lambda: START)


def day_keys_on(client: Any, executor: Executor | None = None) -> TableDayKeys:
    """Return the keys of the day of a process."""
    local = Local(engine=client)
    return TableDayKeys(local.store(**({} if executor is None else {"executor": executor})).table)


async def run_with_faults(
    aws: Aws, executor: Executor, operation: Operation, faults: dict[int, Fault], patch: pytest.MonkeyPatch
) -> tuple[object, int, Wire]:
    """Run the operation with `faults`; return its result, the total of all sums, and the wire."""
    engine = Engine()
    before = counters_on(engine)
    assert await before.add("tokens", BEFORE, ceiling=CEILING, user_id="ada")
    assert await before.add("tokens", BEFORE, ceiling=SHARDED)
    await before.correct("tokens", -10, ceiling=CEILING, mark="turn", user_id="bob")
    engine.rows[SWITCH] = {"pk": {"S": SWITCH[0]}, "sk": {"S": SWITCH[1]}, "text": {"S": "closed"}}
    wire = Wire(faults=faults, engine=engine)
    with no_waiting(wire, patch.setattr), wire.on(aws.dynamodb):
        answer = await operation(counters_on(aws.dynamodb, executor))
    numbers = [value["N"] for row in engine.rows.values() for name, value in row.items() if _is_sum(name)]
    sums = sum(map(int, numbers))
    assert all(keys.TTL_ATTRIBUTE in row for row in engine.rows.values() if "sum" in row)
    return answer, sums, wire


def _is_sum(name: str) -> bool:
    return name == "sum" or name.startswith(BEGUN)


@pytest.mark.parametrize("name", CORRECTIONS)
async def test_a_correction_is_applied_once_whatever_fault_occurs(
    aws: Aws, one_thread: Executor, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    _, wanted, plain = await run_with_faults(aws, one_thread, CORRECTIONS[name], {}, monkeypatch)
    for fault in FAULTS:
        for faults in [{number: fault} for number in range(len(plain.requests))]:
            _, sums, wire = await run_with_faults(aws, one_thread, CORRECTIONS[name], faults, monkeypatch)
            assert sums == wanted, fault
            assert wire.waited_s <= ADDED_MAX_S
    lost: dict[int, Fault] = dict.fromkeys(range(3), "lost")
    assert (await run_with_faults(aws, one_thread, CORRECTIONS[name], lost, monkeypatch))[1] == wanted


@pytest.mark.parametrize("name", ADDITIONS)
async def test_an_addition_exceeds_no_ceiling_whatever_fault_occurs(
    aws: Aws, one_thread: Executor, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """An addition whose answer was lost may count twice, and is refused if it does not fit a second time."""
    answer, once, plain = await run_with_faults(aws, one_thread, ADDITIONS[name], {}, monkeypatch)
    amount = once - 2 * BEFORE + 10
    for fault in FAULTS:
        for number in range(len(plain.requests)):
            outcome, sums, wire = await run_with_faults(aws, one_thread, ADDITIONS[name], {number: fault}, monkeypatch)
            assert wire.waited_s <= ADDED_MAX_S
            if fault in ("lost", "timeout"):
                assert sums in (once, once + amount)
                assert outcome == answer or not outcome
            else:
                assert (outcome, sums) == (answer, once), fault


async def test_usage_is_added_once_whatever_fault_occurs(
    aws: Aws, one_thread: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, client = Source(1, "", "model", "1"), cast(Any, aws.dynamodb)
    for fault in FAULTS:
        engine = Engine()
        wire = Wire(faults={0: fault, 1: fault}, engine=engine)
        usage = TableUsage(Local(engine=client).store(executor=one_thread).table, clock=lambda: START)
        with no_waiting(wire, monkeypatch.setattr), wire.on(aws.dynamodb):
            await usage.add(source, Usage(turns=1, tokens_in=5), mark="turn-1")
        stored = await TableUsage(Local(engine=engine).store().table).of_day(1)
        assert stored == {source: Usage(turns=1, tokens_in=5)}, fault


async def test_the_switch_is_read_whatever_fault_occurs(
    aws: Aws, one_thread: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fault in FAULTS:
        answer, _, _ = await run_with_faults(aws, one_thread, lambda c: c.switched_off(), {0: fault}, monkeypatch)
        assert answer == "closed"


@pytest.mark.parametrize("name", ADDITIONS | CORRECTIONS)
async def test_a_table_that_stays_down_raises_unavailable_error(
    aws: Aws, one_thread: Executor, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    operation = (ADDITIONS | CORRECTIONS)[name]
    for fault in ("throttle", "500", "reset", "timeout"):
        every: dict[int, Fault] = dict.fromkeys(range(100), fault)
        with pytest.raises(UnavailableError):
            await run_with_faults(aws, one_thread, operation, every, monkeypatch)


@pytest.mark.parametrize("is_set", [False, True], ids=["first of the day", "later"])
async def test_all_processes_share_one_key_of_the_day_whatever_fault_occurs(
    aws: Aws, one_thread: Executor, monkeypatch: pytest.MonkeyPatch, is_set: bool
) -> None:
    day = START // 1_000_000_000 // DAY_S
    for fault in FAULTS:
        local = Local()
        other = day_keys_on(local.engine)
        if is_set:
            await other.shared(day, b"first")
        wire = Wire(faults={0: fault}, engine=local.engine)
        with no_waiting(wire, monkeypatch.setattr), wire.on(aws.dynamodb):
            key = await day_keys_on(aws.dynamodb, one_thread).shared(day, b"mine")
        assert key == (b"first" if is_set else b"mine")
        assert await other.shared(day, b"another") == key
        assert wire.waited_s <= ADDED_MAX_S


async def test_a_table_that_stays_down_gives_no_key_of_the_day(
    aws: Aws, one_thread: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fault in ("throttle", "500", "reset", "timeout"):
        every: dict[int, Fault] = dict.fromkeys(range(100), fault)
        wire = Wire(faults=every, engine=Engine())
        with no_waiting(wire, monkeypatch.setattr), wire.on(aws.dynamodb), pytest.raises(UnavailableError):
            await day_keys_on(aws.dynamodb, one_thread).shared(1, b"mine")
