"""In-process app on moto's DynamoDB and S3 with two users, ann and bob, that records which keys each AWS call names."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from agents import Agent, RunConfig

from lambda_src.attachments.file_types import FileLimits
from lambda_src.attachments.s3_files import S3AttachmentStore
from lambda_src.chat.registry import AssistantEndpoint
from lambda_src.chat.server import ChatServer
from lambda_src.dev.store_contract.samples import context_of, file_of, item_of, message_of, thread_of
from lambda_src.http.app import create_app
from lambda_src.models.demo_model import DemoModel
from lambda_src.runs.dispatcher import AgentDispatcher
from lambda_src.store.aws_calls import Calls
from lambda_src.store.dynamodb import DynamoDBStore
from lambda_src.turns import turn_ids
from lambda_src.turns.lifecycle import Turns
from lambda_src.turns.persistence import AnswerStore
from lambda_src.turns.turn_task import TurnServices
from tests.apps.chat import Chat, known_by_name, no_pause, served
from tests.store.tables import Aws, moto_aws

MAX_BODY_BYTES = 10_000
LEASE_MS = 3_600_000  # keeps a turn running as long as the test does


class TouchedKeys:
    """The table partitions and bucket folders that the app's AWS calls name."""

    def __init__(self) -> None:
        self.partitions: set[str] = set()
        self.folders: set[str] = set()

    def listen_to(self, client: Any) -> None:
        """Record each call of a boto3 client just before botocore builds the request."""
        client.meta.events.register("before-parameter-build", self._record)

    def clear(self) -> None:
        """Forget everything recorded."""
        self.partitions, self.folders = set(), set()

    def _record(self, *, params: Mapping[str, Any], model: Any, **_: object) -> None:
        if model.service_model.service_name == "s3":
            names = [params[name] for name in ("Key", "Prefix") if name in params]
            names += [entry["Key"] for entry in params.get("Delete", {}).get("Objects", [])]
            assert names, f"{model.name} names no object"
            self.folders |= {"/".join(name.split("/")[:2]) for name in names}
        else:
            partitions = set(_partitions(model.name, params))
            assert partitions, f"{model.name} names no partition"
            self.partitions |= partitions


def _partitions(operation: str, params: Mapping[str, Any]) -> list[str]:
    match operation:
        case "GetItem" | "UpdateItem" | "DeleteItem":
            return [params["Key"]["pk"]["S"]]
        case "PutItem":
            return [params["Item"]["pk"]["S"]]
        case "Query":
            return [params["ExpressionAttributeValues"][":pk"]["S"]]
        case "BatchGetItem":
            return [key["pk"]["S"] for wanted in params["RequestItems"].values() for key in wanted["Keys"]]
        case "BatchWriteItem":
            writes = [write for wanted in params["RequestItems"].values() for write in wanted]
            rows = [w["PutRequest"]["Item"] if "PutRequest" in w else w["DeleteRequest"]["Key"] for w in writes]
            return [row["pk"]["S"] for row in rows]
        case "TransactWriteItems":
            parts = [part for item in params["TransactItems"] for part in item.values()]
            return [(part.get("Key") or part["Item"])["pk"]["S"] for part in parts]
        case other:
            raise AssertionError(f"add a case for {other} that returns its partitions")


@dataclass(slots=True)
class DynamoDBApp:
    """`ann` and `bob` are clients; calls through `aws` are not recorded.

    `ids_of` maps each user to {request field: the user's ids for that field}.
    """

    aws: Aws
    table: str
    store: DynamoDBStore
    ann: Chat
    bob: Chat
    touched: TouchedKeys
    ids_of: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def rows_of(self, user: str) -> str:
        """Return everything in a user's partitions as text, for comparison."""
        rows = [row for row in self.aws.rows(self.table) if (row["pk"]["S"] + "#").startswith(f"USER#{user}#")]
        return json.dumps(sorted(rows, key=lambda row: (row["pk"]["S"], row["sk"]["S"])), default=str)


@contextmanager
def populated_dynamodb_app() -> Iterator[DynamoDBApp]:
    """Give both users a thread with items of each kind, one that awaits a tool, files, feedback and a running turn."""
    with moto_aws() as aws:
        table, bucket = aws.table(), aws.bucket()
        store = DynamoDBStore(aws.dynamodb, table, bucket=bucket, s3=aws.s3)
        limits = FileLimits(1_000_000, 1_000_000)
        files = S3AttachmentStore(aws.s3, bucket, calls=Calls(), limits=limits, clock=lambda: 1_800_000_000 * 10**9)
        dispatcher = AgentDispatcher(
            lambda: Agent(name="Test"),
            build_run_config=lambda: RunConfig(model=DemoModel(sleep=no_pause), tracing_disabled=True),
        )
        server = ChatServer(store, dispatcher, feedback=store, files=files)
        app = create_app(
            AssistantEndpoint(served(server), Turns(TurnServices(store.ledger, AnswerStore(store)))),
            authenticate=known_by_name,
            sweeps=store,
            max_body_bytes=MAX_BODY_BYTES,
        )
        dynamodb_app = DynamoDBApp(Aws(), table, store, Chat(app, "ann"), Chat(app, "bob"), TouchedKeys())
        for user in ("ann", "bob"):
            dynamodb_app.ids_of[user] = asyncio.run(_populate(store, user))
        for client in (aws.dynamodb, aws.s3):
            dynamodb_app.touched.listen_to(client)
        yield dynamodb_app


async def _populate(store: DynamoDBStore, user: str) -> dict[str, list[str]]:
    context = context_of(user)
    full, waiting = f"thr_{user}_full", f"thr_{user}_waiting"
    for thread_id in (full, waiting):
        await store.save_thread(thread_of(thread_id, title=f"{user}'s"), context)
    await store.add_thread_item(full, message_of(f"msg_{user}", "hello", thread_id=full), context)
    form = item_of("structured_input", f"form_{user}", thread_id=full, status="pending")
    await store.add_thread_item(full, form, context)
    for kind in ("assistant_message", "widget"):
        await store.add_thread_item(full, item_of(kind, f"{kind}_{user}", thread_id=full), context)
    call = item_of("client_tool_call", f"call_{user}", thread_id=waiting, status="pending", output=None)
    await store.add_thread_item(waiting, call, context)
    await store.save_attachment(file_of(f"atc_{user}"), context)
    await store.save_attachment(file_of(f"atc_{user}_bound", thread_id=full), context)
    await store.add_feedback(full, [f"msg_{user}"], "positive", context)
    key = turn_ids.key_of_name(f"turn-that-runs-for-{user}", user)
    turn = turn_ids.mint(key)
    await store.ledger.claim_request(key, turn, body_hash=b"x", ttl_s=3600, context=context)
    await store.ledger.take_lease(full, turn, lease_ms=LEASE_MS, context=context)
    await store.ledger.bind_request(key, turn, thread_id=full, ttl_s=3600, context=context)
    items = [f"msg_{user}", f"form_{user}", f"assistant_message_{user}", f"widget_{user}", f"call_{user}"]
    return {
        "thread_id": [full, waiting],
        "item_id": items,
        "item_ids": items,
        "attachment_id": [f"atc_{user}", f"atc_{user}_bound"],
        "attachments": [f"atc_{user}", f"atc_{user}_bound"],
        "after": [full, *items],
        "turn_id": [turn],
    }
