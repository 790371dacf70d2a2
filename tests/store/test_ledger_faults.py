"""Every fault at every request of the ledger: the same answer and the same rows as without it."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from copy import deepcopy
from dataclasses import replace
from threading import Thread
from typing import Any

import pytest
from chatkit.store import NotFoundError

from lambda_src.dev.store_contract.samples import thread_of
from lambda_src.errors import ThreadHeldError, UnavailableError
from lambda_src.store import keys
from lambda_src.store.dynamodb import DynamoDBStore
from lambda_src.store.dynamodb.turns import turn_rows
from lambda_src.store.followers import Follower
from lambda_src.store.inbox import Inbox, Kind, Matter
from lambda_src.store.ports import Hold, JournalBatch, LeaseTaken, QuotaLimits, TurnLedger
from tests.store.engine.engine import Engine
from tests.store.engine.wire import FAULTS, Fault, Wire, no_waiting
from tests.store.ledger_case import ADA, BOB, LEASE_MS, START_NS, Clock
from tests.store.model import Inline
from tests.store.tables import Aws

TWO_OF_EACH = QuotaLimits(per_minute=2, per_day=2, running=2)
TWO_RUNNING = QuotaLimits(per_minute=0, per_day=0, running=2)
FOLLOWER = Follower("one", 1_800_000_000_000, "mark")
BODY = b"\x00\xff"
ADDED_MAX_S = 5.0

Operation = Callable[[TurnLedger], Awaitable[object]]


async def _journal(ledger: TurnLedger) -> list[JournalBatch]:
    return [batch async for batch in ledger.read_journal("thr_running", "one", first=1, context=ADA)]


def _take(thread_id: str) -> Operation:
    return lambda ledger: ledger.take_lease(thread_id, "mine", lease_ms=LEASE_MS, context=ADA)


def _renew(thread_id: str, turn_id: str) -> Operation:
    return lambda ledger: ledger.renew_lease(thread_id, turn_id, lease_ms=LEASE_MS, context=ADA)


def _append(number: int) -> Operation:
    batch = JournalBatch(number, b"mine")
    return lambda ledger: ledger.append_journal("thr_running", "one", batch, ttl_s=60, context=ADA)


def _claim(key: str) -> Operation:
    return lambda ledger: ledger.claim_request(key, "mine", body_hash=BODY, ttl_s=60, context=ADA)


def _bind(key: str, turn_id: str) -> Operation:
    return lambda ledger: ledger.bind_request(key, turn_id, thread_id="thr_1", ttl_s=60, context=ADA)


def _matter(thread_id: str, kind: Kind = "handoff", cause: str = "") -> Matter:
    return Matter(kind, "", ADA.user.id, thread_id, START_NS, cause)


def _inbox(ledger: Any) -> Inbox:
    inbox: Inbox = ledger.inbox()
    return inbox


def _hold(thread_id: str) -> Operation:
    matter = _matter(thread_id)
    return lambda ledger: _inbox(ledger).hold(matter, turn_id="one", ends_turn=True, context=ADA)


HELD = Hold("", 0, _matter("thr_held").id)

CASES: dict[str, Operation] = {
    "hold": _hold("thr_running"),
    "hold of a superseded turn": _hold("thr_twice"),
    "take_lease of a held thread": lambda ledger: _refused(_take("thr_held")(ledger)),
    "pass_on": lambda ledger: _inbox(ledger).pass_on("thr_held", HELD, operator="olga", context=ADA),
    "settle": lambda ledger: _inbox(ledger).settle(
        replace(_matter("thr_held"), due_ms=START_NS // 10**6),
        accepted="handoff.requested",
        due_ms=START_NS // 10**6 + 9,
    ),
    "settle of a matter that has changed": lambda ledger: _inbox(ledger).settle(
        _matter("thr_held"), accepted="handoff.requested", due_ms=START_NS // 10**6 + 9
    ),
    "close_matter": lambda ledger: _inbox(ledger).close_matter(_matter("thr_held"), operator="olga"),
    "hand_over_turns": lambda ledger: ledger.hand_over_turns("thr_held", ADA.user.id, context=BOB),
    "hand_over_turns during a turn": lambda ledger: ledger.hand_over_turns("thr_running", ADA.user.id, context=BOB),
    "release": lambda ledger: _inbox(ledger).release("thr_held", HELD, operator="olga", context=ADA),
    "open_matter": lambda ledger: _inbox(ledger).open_matter(_matter("thr_1", "thumbs-down", "msg_1")),
    "matters_of": lambda ledger: _inbox(ledger).matters_of("thr_held", context=ADA),
    "take_lease of a new thread": _take("thr_new"),
    "take_lease from a running turn": _take("thr_running"),
    "take_lease from an ended turn": _take("thr_ended"),
    "take_lease from a turn that recovered nothing yet": _take("thr_twice"),
    "renew_lease": _renew("thr_running", "one"),
    "renew_lease of a stopped turn": _renew("thr_stopped", "one"),
    "renew_lease of a superseded turn": _renew("thr_twice", "one"),
    "end_lease": lambda ledger: ledger.end_lease("thr_running", "one", context=ADA),
    "end_lease of a superseded turn": lambda ledger: ledger.end_lease("thr_twice", "one", context=ADA),
    "ask_to_stop": lambda ledger: ledger.ask_to_stop("thr_running", None, context=ADA),
    "ask_to_stop of an ended turn": lambda ledger: ledger.ask_to_stop("thr_ended", None, context=ADA),
    "load_turn": lambda ledger: ledger.load_turn("thr_running", context=ADA),
    "append_journal": _append(3),
    "append_journal of an existing number": _append(0),
    "read_journal": _journal,
    "claim_request": _claim("free"),
    "claim_request of a taken key": _claim("taken"),
    "claim_request of an expired key": _claim("expired"),
    "load_request": lambda ledger: ledger.load_request("taken", context=ADA),
    "bind_request": _bind("taken", "one"),
    "claim_request of a refused key": _claim("refused"),
    "claim_request in place of an ended turn": lambda ledger: ledger.claim_request(
        "bound", "mine", body_hash=BODY, ttl_s=60, instead_of="one", context=ADA
    ),
    "bind_request after a stop": _bind("stopped", "one"),
    "refuse_request": lambda ledger: ledger.refuse_request("taken", "one", "no", context=ADA),
    "end_request": lambda ledger: ledger.end_request("bound", "one", ttl_s=5, context=ADA),
    "stop_request": lambda ledger: ledger.stop_request("taken", "one", turn_id="one", ttl_s=60, context=ADA),
    "stop_request of a bound key": lambda ledger: ledger.stop_request(
        "bound", "one", turn_id="one", ttl_s=60, context=ADA
    ),
    "stop_request of an unclaimed key": lambda ledger: ledger.stop_request(
        "free", "name", turn_id=None, ttl_s=60, context=ADA
    ),
    "bind_request of an unclaimed key": _bind("free", "mine"),
    "bind_request of another turn's key": _bind("taken", "mine"),
    "release_request": lambda ledger: ledger.release_request("taken", "one", context=ADA),
    "spend_quota": lambda ledger: ledger.spend_quota("mine", TWO_RUNNING, context=ADA),
    "spend_quota at the limit": lambda ledger: ledger.spend_quota("mine", TWO_OF_EACH, context=ADA),
    "note_follower": lambda ledger: ledger.note_follower(FOLLOWER, context=ADA),
    "delete_thread": lambda ledger: ledger.delete_thread("thr_running", context=ADA),
    "end_quota": lambda ledger: ledger.end_quota("running", context=ADA),
}


async def _refused(work: Awaitable[object]) -> str:
    try:
        await work
    except ThreadHeldError:
        return "held"
    return "taken"


async def seed(ledger: TurnLedger, clock: Clock) -> None:
    """Add turns in every state, a journal, keys, and a quota that is used up by crashed turns only."""
    await _claim("expired")(ledger)
    for number in range(2):
        await ledger.spend_quota(f"crashed-{number}", TWO_RUNNING, context=ADA)
    clock.later(ms=1_000_000)
    for thread_id in ("thr_running", "thr_ended", "thr_stopped", "thr_twice"):
        await ledger.take_lease(thread_id, "one", lease_ms=LEASE_MS, context=ADA)
    await ledger.end_lease("thr_ended", "one", context=ADA)
    await ledger.ask_to_stop("thr_stopped", None, context=ADA)
    await ledger.take_lease("thr_twice", "two", lease_ms=LEASE_MS, context=ADA)
    for number in range(3):
        await _append(number)(ledger)
    for key in ("taken", "refused", "bound", "stopped"):
        await ledger.claim_request(key, "one", body_hash=BODY, ttl_s=60, context=ADA)
    await ledger.refuse_request("refused", "one", "no", context=ADA)
    await _bind("bound", "one")(ledger)
    await ledger.stop_request("stopped", "one", turn_id=None, ttl_s=60, context=ADA)
    await ledger.spend_quota("running", QuotaLimits(0, 0, 0), context=ADA)
    await _take("thr_held")(ledger)
    await _inbox(ledger).hold(_matter("thr_held"), turn_id="mine", ends_turn=True, context=ADA)


class Table:
    """A table on the strict engine, with its clock."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.clock = Clock()

    @classmethod
    async def seeded(cls) -> "Table":
        """Return a table with turns in every state."""
        table = cls()
        await seed(table.ledger(), table.clock)
        return table

    def store(self, client: Any = None, executor: Executor | None = None) -> DynamoDBStore:
        """Return a process's store, which uses the engine directly or through `client`."""
        used_client: Any = client or self.engine
        return DynamoDBStore(used_client, "table", clock=self.clock, executor=executor or Inline())

    def ledger(self, client: Any = None, executor: Executor | None = None) -> TurnLedger:
        """Return the ledger of such a store."""
        return self.store(client, executor).ledger

    def rows(self) -> dict[tuple[str, str], Any]:
        """Return the rows without the marks, which differ for each call."""
        rows = deepcopy(self.engine.rows)
        for row in rows.values():
            row.pop(turn_rows.MARK, None)
        return rows


@pytest.fixture
def aws(aws: Aws) -> Aws:
    """New clients for each test, because botocore limits the retries of a client."""
    return Aws()


async def run_with_faults(
    aws: Aws, executor: Executor, operation: Operation, faults: dict[int, Fault], patch: pytest.MonkeyPatch
) -> tuple[object, Table, Wire]:
    """Run the operation with `faults`; return its result, the table and the wire."""
    table = await Table.seeded()
    wire = Wire(faults=faults, engine=table.engine)
    with no_waiting(wire, patch.setattr), wire.on(aws.dynamodb):
        return await operation(table.ledger(aws.dynamodb, executor)), table, wire


@pytest.mark.parametrize("name", CASES)
async def test_a_fault_at_any_request_changes_neither_answer_nor_rows(
    aws: Aws, one_thread: Executor, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    answer, table, plain = await run_with_faults(aws, one_thread, CASES[name], {}, monkeypatch)
    for number in range(len(plain.requests)):
        for fault in FAULTS:
            outcome, after, wire = await run_with_faults(aws, one_thread, CASES[name], {number: fault}, monkeypatch)
            assert (outcome, after.rows()) == (answer, table.rows()), f"{fault} at request {number}"
            assert wire.waited_s <= ADDED_MAX_S


@pytest.mark.parametrize("name", CASES)
async def test_an_answer_lost_three_times_changes_neither_answer_nor_rows(
    aws: Aws, one_thread: Executor, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    answer, table, _ = await run_with_faults(aws, one_thread, CASES[name], {}, monkeypatch)
    lost: dict[int, Fault] = dict.fromkeys(range(3), "lost")
    outcome, after, _ = await run_with_faults(aws, one_thread, CASES[name], lost, monkeypatch)
    assert (outcome, after.rows()) == (answer, table.rows())


@pytest.mark.parametrize("name", CASES)
async def test_a_table_that_stays_down_raises_unavailable_error(
    aws: Aws, one_thread: Executor, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for fault in ("throttle", "500", "reset", "timeout"):
        every: dict[int, Fault] = dict.fromkeys(range(100), fault)
        with pytest.raises(UnavailableError):
            await run_with_faults(aws, one_thread, CASES[name], every, monkeypatch)


class InterruptedClient:
    """A client whose first write that is applied gets no answer; before the retry, another process does something."""

    def __init__(self, engine: Engine, meanwhile: Callable[[], Awaitable[object]]) -> None:
        self._engine, self._meanwhile = engine, meanwhile
        self.is_first = True

    def update_item(self, **params: Any) -> dict[str, Any]:
        """Send UpdateItem twice."""
        if self.is_first:
            self._engine.update_item(**params)
            self.is_first = False
            other = Thread(target=lambda: asyncio.run(_await(self._meanwhile())))
            other.start()
            other.join()
        return self._engine.update_item(**params)


async def _await(operation: Awaitable[object]) -> object:
    return await operation


async def test_a_lease_lost_between_a_write_and_its_answer_is_taken_again() -> None:
    table = await Table.seeded()
    other = table.ledger()
    client = InterruptedClient(
        table.engine, lambda: other.take_lease("thr_running", "other", lease_ms=LEASE_MS, context=ADA)
    )
    taken = await _take("thr_running")(table.ledger(client))
    assert isinstance(taken, LeaseTaken)
    assert taken.previous is not None
    assert (taken.previous.turn_id, taken.previous.unrecovered) == ("other", ("one", "mine"))
    assert await _renew("thr_running", "other")(other) == "superseded"


async def test_a_key_claimed_without_an_answer_cannot_be_claimed_by_another() -> None:
    table = await Table.seeded()
    other = table.ledger()
    lost: list[object] = []

    async def meanwhile() -> None:
        lost.append(await other.claim_request("mine", "mine", body_hash=BODY, ttl_s=60, context=ADA))

    assert await _claim("mine")(table.ledger(InterruptedClient(table.engine, meanwhile))) is None
    assert lost != [None]


async def test_a_stop_between_a_lease_and_its_answer_is_seen_by_the_first_renewal() -> None:
    table = await Table.seeded()
    other = table.ledger()
    client = InterruptedClient(table.engine, lambda: other.ask_to_stop("thr_new", None, context=ADA))
    ledger = table.ledger(client)
    assert await _take("thr_new")(ledger) == LeaseTaken(None)
    assert await _renew("thr_new", "mine")(ledger) == "stopped"


async def test_a_thread_deleted_between_a_lease_and_its_answer_is_deleted() -> None:
    table = await Table.seeded()
    store = table.store()
    await store.save_thread(thread_of("thr_new"), ADA)
    client = InterruptedClient(table.engine, lambda: store.delete_thread("thr_new", ADA))
    with pytest.raises(NotFoundError):
        await _take("thr_new")(table.ledger(client))


async def test_a_lease_row_of_an_older_release_is_accepted() -> None:
    """Missing attributes count as events that did not happen."""
    table = Table()
    key = (keys.thread_partition("ada", "thr_1"), keys.TURN)
    table.engine.rows[key] = {"pk": {"S": key[0]}, "sk": {"S": key[1]}, "turn_id": {"S": "old"}}
    ledger = table.ledger()
    row = await ledger.load_turn("thr_1", context=ADA)
    assert row is not None
    assert (row.turn_id, row.ended) == ("old", False)
    assert await ledger.ask_to_stop("thr_1", None, context=ADA) is None
    assert await _renew("thr_1", "old")(ledger) == "superseded"
    assert await _take("thr_1")(ledger) == LeaseTaken(row)
