"""Memory benchmark of a server on PostgreSQL that keeps its turns in the process: after 1,000 and after 10,000 turns.

    .venv/bin/python -m tests.bench.bench_memory [turns]

prints both, and fails if the second is more than 5 % above the first. Time is virtual: there is a turn every 1.5 s, so
the ledger, which keeps turns for sixteen minutes, always holds 640 of them.
"""

import asyncio
import gc
import os
import sys
from pathlib import Path
from typing import Any

from lambda_src.store.memory.store import MemoryStore
from lambda_src.store.postgres import PostgresStore
from lambda_src.turns.lifecycle import Turns
from lambda_src.turns.persistence import AnswerStore
from lambda_src.turns.turn_task import TurnServices
from tests.store.postgres import migrated, postgres, sessions_of
from tests.turns.turn_fixture import Model, Process, as_user, thread_at
from tests.turns.virtual_time import VirtualTime

WARM_TURNS = 1_000
TURNS_A_THREAD = 20
PAUSE_S = 1.5
GROWTH = 1.05


def resident_bytes() -> int:
    """The current resident memory of the process."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def turn(process: Process, number: int) -> None:
    """A message and its answer. Each thread gets TURNS_A_THREAD turns, and every third thread is deleted."""
    thread_id, ann = f"thr_{number // TURNS_A_THREAD}", as_user("ann")
    if number % TURNS_A_THREAD == 0:
        await process.store.save_thread(thread_at(thread_id), ann)
        if number % 3 == 0 and number:
            await process.store.delete_thread(f"thr_{number // TURNS_A_THREAD - 1}", ann)
    model = Model(f"msg_{number}")
    model.say(*["some words "] * 20)
    model.finish()
    reader = await process.ask(model, f"message {number}", named=f"turn-number-{number:08}", thread_id=thread_id)
    await reader.stream.finished()
    process.time.now_s += PAUSE_S


async def measured(turns: int) -> tuple[int, int]:
    """Resident bytes after WARM_TURNS turns and after all turns."""
    time = VirtualTime()
    with postgres() as url:
        async with migrated(url) as engine:
            ledger = MemoryStore(clock=time.now_ns).ledger
            store: Any = PostgresStore(sessions_of(engine), clock=time.now_ns, ledger=ledger)
            process = Process(MemoryStore(), time)
            process.store = store
            process.turns = Turns(TurnServices(ledger, AnswerStore(store), clock=time.now_ms))
            warm = 0
            for number in range(turns):
                await turn(process, number)
                if number + 1 == WARM_TURNS:
                    warm = resident_bytes()
            return warm, resident_bytes()


def main() -> None:
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    warm, after = asyncio.run(measured(turns))
    sys.stdout.write(f"{warm / 1e6:.1f} MB after {WARM_TURNS:,} turns, {after / 1e6:.1f} MB after {turns:,}\n")
    if after > warm * GROWTH:
        sys.exit(f"It grew by more than {GROWTH - 1:.0%}.")


if __name__ == "__main__":
    main()
