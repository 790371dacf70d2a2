"""A server with turns in memory runs for months: it forgets turns that may no longer be requested."""

import pickle
from typing import Any

from lambda_src.context import RequestContext, User
from lambda_src.store.followers import Follower
from lambda_src.store.memory.store import MemoryStore
from lambda_src.store.ports import JournalBatch, QuotaLimits
from lambda_src.turns import turn_ids
from lambda_src.turns.duplicates import BOUND_S
from lambda_src.turns.journal import TTL_S

LIMITS = QuotaLimits(per_minute=1000, per_day=100_000, running=1000)
PAUSE_S = 2  # between two turns
LEASE_MS = 10_000


class Server:
    """Consecutive turns of two seconds each, of twenty users with ten threads each."""

    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0
        self.store: Any = MemoryStore(clock=lambda: int(self.now_s * 1e9))
        self.ledger = self.store.ledger
        self.turns = 0

    @property
    def kept_bytes(self) -> int:
        """The size of everything the process remembers of turns."""
        clocks = self.store._clocks
        return len(pickle.dumps((self.store._users, clocks._last, clocks._held)))

    async def turn(self, *, is_superseded: bool = False) -> tuple[str, str, RequestContext]:
        """Run a turn; return its thread's id, its own id and the context."""
        self.turns += 1
        number, ledger = self.turns, self.ledger
        user = f"user_{number % 20}"
        thread_id = f"thr_{number % 200}"
        context = RequestContext(user=User(user), request_id="r")
        key = turn_ids.key_of_name(f"named-turn-{number}", user)
        turn_id = turn_ids.mint(key)
        await ledger.claim_request(key, turn_id, body_hash=b"hash", ttl_s=10, context=context)
        await ledger.spend_quota(turn_id, LIMITS, context=context)
        await ledger.take_lease(thread_id, turn_id, lease_ms=LEASE_MS, context=context)
        await ledger.bind_request(key, turn_id, thread_id=thread_id, ttl_s=BOUND_S, context=context)
        for batch in range(2):
            self.now_s += PAUSE_S / 2
            text = f"{number:06} {batch} ".encode() * 100
            await ledger.append_journal(thread_id, turn_id, JournalBatch(batch, text), ttl_s=TTL_S, context=context)
            await ledger.renew_lease(thread_id, turn_id, lease_ms=LEASE_MS, context=context)
        await ledger.note_follower(Follower(turn_id, int(self.now_s * 1000), "f"), context=context)
        if not is_superseded:
            await ledger.end_lease(thread_id, turn_id, context=context)
        if number % 50 == 0:
            await ledger.delete_thread(f"gone_{number}", context=context)
        await ledger.stop_request(
            turn_ids.key_of_name(f"x{number}", user), "x", turn_id=None, ttl_s=60, context=context
        )
        await ledger.end_quota(turn_id, context=context)
        return thread_id, turn_id, context


async def test_ten_thousand_turns_take_no_more_memory_than_one_thousand() -> None:
    server = Server()
    sizes = []
    for turns in (1_000, 9_000):
        for _ in range(turns):
            await server.turn()
        sizes.append(server.kept_bytes)
    assert sizes[1] <= sizes[0] * 1.05, sizes


async def test_a_turn_that_ended_is_replayed_for_sixteen_minutes() -> None:
    server = Server()
    thread_id, turn_id, context = await server.turn()
    started_s = server.now_s
    while server.now_s < started_s + BOUND_S:
        await server.turn()
    assert await server.ledger.load_turn(thread_id, context=context) is not None
    assert [b.number async for b in server.ledger.read_journal(thread_id, turn_id, first=0, context=context)] == [0, 1]


async def test_the_rows_of_a_turn_that_never_ended_stay_for_a_week() -> None:
    server = Server()
    thread_id, turn_id, context = await server.turn(is_superseded=True)
    for day in range(8):
        row = await server.ledger.load_turn(thread_id, context=context)
        batches = [b.number async for b in server.ledger.read_journal(thread_id, turn_id, first=0, context=context)]
        assert (row is not None, batches) == ((True, [0, 1]) if day < 7 else (False, []))
        server.now_s += 86_400
        for _ in range(2):
            await server.turn()
