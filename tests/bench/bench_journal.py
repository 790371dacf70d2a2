"""Benchmark of two ways to survive a crash: a journal of a turn's events, and a checkpoint row with the text so far.

    .venv/bin/python -m tests.bench.bench_journal

writes its section of docs/reference/benchmarks.md. Both write once a second to an in-process table that counts write
units as DynamoDB does. The answers are our own docs pages at WORDS_A_SECOND. A checkpoint holds less than the journal:
it cannot serve duplicates or reloads.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.items import TResponseStreamEvent
from chatkit.types import ThreadsCreateReq

from lambda_src.context import RequestContext, User
from lambda_src.models.demo_model import DemoModel, message_of
from lambda_src.models.demo_model import events_of as model_events
from lambda_src.store import codec
from lambda_src.store.dynamodb import DynamoDBStore
from lambda_src.store.memory.store import MemoryStore
from lambda_src.turns import partial_answer
from lambda_src.turns.journal import Journal
from tests.apps.chat import message, server_with
from tests.bench import report
from tests.bench.scripted_model import APART
from tests.store.engine.strict import row_size
from tests.store.metered import Metered
from tests.store.model import Inline

DOCS = Path(__file__).resolve().parents[2] / "docs"
WORDS_A_SECOND = 60
ANSWERS_BYTES = (1_000, 8_000, 40_000)
CONTEXT = RequestContext(user=User("ann"), request_id="r")


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of storing one answer: write units, the bytes of all rows, and CPU milliseconds."""

    units: int
    row_bytes: int
    cpu_ms: float


class TextModel(DemoModel):
    """A model that answers with `text`."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    async def stream_response(self, *_: Any, **__: Any) -> AsyncIterator[TResponseStreamEvent]:
        """The answer word by word, with pauses, because the server would otherwise send several words as one event."""
        for number, event in enumerate(model_events(message_of(self._text))):
            event.sequence_number = number
            for _pause in range(APART):
                await asyncio.sleep(0)
            yield event


async def seconds_of(text: str) -> list[list[bytes]]:
    """The events of an answer as the server streams them, grouped by second."""
    server = server_with(MemoryStore(), model=TextModel(text))
    request = ThreadsCreateReq.model_validate({"params": {"input": message("hi")}})
    events = [event async for event in await server.events(request, CONTEXT)]
    return [events[start : start + WORDS_A_SECOND] for start in range(0, len(events), WORDS_A_SECOND)]


async def journaled(seconds: list[list[bytes]]) -> Cost:
    """The cost of appending each second's events as a row."""
    client: Any = Metered()
    journal = Journal(DynamoDBStore(client, "table", executor=Inline()).ledger, "turn", CONTEXT)
    client.reset()
    cpu_s = 0.0
    for second in seconds:
        for event in second:
            journal.add(event)
        cpu_s -= time.process_time()
        await journal.flush("thr_1")
        cpu_s += time.process_time()
    return Cost(client.writes, sum(map(row_size, client.rows.values())), cpu_s * 1000)


def checkpointed(seconds: list[list[bytes]]) -> Cost:
    """The cost of overwriting a row with the message so far each second."""
    client: Any = Metered()
    client.reset()
    cpu_s, so_far = 0.0, list[bytes]()
    for second in seconds:
        so_far += second
        if not (partial := partial_answer.unfinished(so_far)):
            continue  # before the first word and after the last
        cpu_s -= time.process_time()
        packed = codec.pack(codec.dump(partial[0]))
        client.put_item(TableName="table", Item=row_of(packed.data))
        cpu_s += time.process_time()
    return Cost(client.writes, sum(map(row_size, client.rows.values())), cpu_s * 1000)


def row_of(data: bytes) -> dict[str, Any]:
    """The row of a checkpoint."""
    return {
        "pk": {"S": "USER#ann#THREAD#thr_1"},
        "sk": {"S": "PARTIAL"},
        "payload": {"B": data},
        "ttl": {"N": "1" * 10},
    }


async def measured() -> list[list[str]]:
    """The rows of the table in the report."""
    prose = "\n".join(page.read_text(encoding="utf-8") for page in sorted(DOCS.rglob("*.md")))
    rows = []
    for size in ANSWERS_BYTES:
        seconds = await seconds_of(prose[:size])
        for how, cost in (("journal", await journaled(seconds)), ("checkpoint", checkpointed(seconds))):
            what = [f"{size:,} bytes in {len(seconds)} s", how, str(cost.units)]
            rows.append([*what, f"{cost.row_bytes:,}", f"{cost.cpu_ms:.1f}"])
    return rows


def main() -> None:
    head = ["answer", "kept by", "write units", "bytes at its end", "CPU ms"]
    lines = [
        "## What survives a crash",
        "",
        f"`.venv/bin/python -m tests.bench.bench_journal` on {report.machine()}.",
        "",
        "The table compares two ways to store an answer while it is being written, once a second. The journal",
        "adds a row with the latest events. A checkpoint writes the whole text again. The journal also serves",
        "reloads and duplicate requests.",
        "",
    ]
    lines += report.table(head, asyncio.run(measured()))
    report.write("bench-journal", report.section("bench-journal", lines))
    print("\n".join(lines))  # noqa: T201 - a command


if __name__ == "__main__":
    main()
