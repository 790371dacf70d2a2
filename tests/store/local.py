"""In-process DynamoDBStore: the engine, the bucket, and a clock that only tests advance."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lambda_src.dev.store_contract.samples import context_of, file_of, message_of, thread_of
from lambda_src.dev.store_contract.values import incompressible
from lambda_src.store.dynamodb import DynamoDBStore
from tests.store.engine.engine import Engine
from tests.store.engine.objects import Objects
from tests.store.model import Inline

SECOND = 10**9
HOUR = 3600 * SECOND
START = 1_800_000_000 * SECOND  # January 2027


@dataclass
class Local:
    """A table, a bucket and a clock; each `store()` is another process."""

    engine: Engine = field(default_factory=Engine)
    objects: Objects = field(default_factory=Objects)
    now: int = START
    counted: list[str] = field(default_factory=list)

    def store(self, **more: Any) -> DynamoDBStore:
        """Return a store as a new process would build it."""
        engine: Any = self.engine
        objects: Any = self.objects
        self.objects.now = datetime.fromtimestamp(self.now / SECOND, UTC)
        return DynamoDBStore(
            engine,
            "table",
            bucket="bucket",
            s3=objects,
            clock=lambda: self.now,
            count=self.counted.append,
            **{"executor": Inline(), **more},
        )

    def later(self, seconds: int) -> None:
        """Let time pass."""
        self.now += seconds * SECOND
        self.objects.now = datetime.fromtimestamp(self.now / SECOND, UTC)


async def populate(store: DynamoDBStore, user: str = "ada", *, threads: int = 2, items: int = 3) -> None:
    """Store threads with items (the first one offloaded), attachments and feedback."""
    context = context_of(user)
    for number in range(threads):
        thread_id = f"thr_{number}"
        await store.save_thread(thread_of(thread_id, title=f"{user}'s {number}"), context)
        await store.add_thread_item(thread_id, message_of("msg_large", incompressible(200_000)), context)
        for item in range(items):
            await store.add_thread_item(thread_id, message_of(f"msg_{item}", thread_id=thread_id), context)
        await store.save_attachment(file_of(f"atc_{number}", thread_id=thread_id), context)
        await store.add_feedback(thread_id, ["msg_0"], "positive", context)
    await store.save_attachment(file_of("atc_free"), context)
