"""In-process app with every feature switched on: files on moto's S3, actions, titles. No sockets."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, cast

from agents import Agent, Model, RunConfig, Tool
from botocore.exceptions import ClientError
from fastapi import FastAPI

from lambda_src.attachments.file_types import FileLimits
from lambda_src.attachments.presigned_urls import PresignedUrls
from lambda_src.attachments.s3_files import SIGNING_CONFIG, S3AttachmentStore
from lambda_src.chat.registry import AssistantEndpoint
from lambda_src.chat.server import ChatServer
from lambda_src.context import RequestContext, User
from lambda_src.http.app import create_app
from lambda_src.models.demo_model import DemoModel
from lambda_src.runs.assistants import BuildAgent, ToolTitles
from lambda_src.runs.dispatcher import AgentDispatcher, BuildRunConfig
from lambda_src.runs.widget_actions import Actions
from lambda_src.settings import Settings
from lambda_src.store.aws_calls import Calls
from lambda_src.store.memory.store import MemoryStore
from lambda_src.turns import journal
from lambda_src.turns.lifecycle import Turns
from lambda_src.turns.persistence import AnswerStore
from lambda_src.turns.turn_task import TurnServices
from tests.apps.chat import MAX_BODY_BYTES, Answer, Chat, known_by_name, no_pause, served
from tests.content_markers import MARKERS
from tests.store.tables import Aws, moto_aws

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ANN = RequestContext(user=User(id="ann"), request_id="r")
LIMITS = FileLimits(max_image_bytes=1_000, max_file_bytes=2_000)
SETTINGS = {setting.name for setting in fields(Settings)}
NO_AWS = cast(Aws, None)  # an app without files never uses it
PNG = b"\x89PNG\r\n\x1a\n" + MARKERS["file"].encode()


@dataclass(slots=True)
class FullApp:
    """A bucket and a store, and a factory for apps on them."""

    aws: Aws
    bucket: str
    store: MemoryStore
    files: S3AttachmentStore | None

    def app(
        self,
        *,
        model: Model | None = None,
        tools: Sequence[Tool] = (),
        actions: Actions | None = None,
        run_config: RunConfig | None = None,
        build_run_config: BuildRunConfig | None = None,
        agent: Agent[Any] | None = None,
        build_agent: BuildAgent | None = None,
        tool_titles: ToolTitles | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
        **more: Any,
    ) -> FastAPI:
        """Build the app with the test's agent; `more` are settings and options of ChatServer and Checks."""
        built = agent or Agent(name="Test", tools=list(tools))
        config = run_config or RunConfig(model=model or DemoModel(sleep=no_pause), tracing_disabled=True)
        dispatcher = AgentDispatcher(
            build_agent or (lambda: built),
            build_run_config=build_run_config or (lambda: config),
            build_actions=lambda: actions or Actions(),
            tool_titles=lambda: tool_titles or {},
        )
        checks: dict[str, Any] = {"dictation": more.get("transcribe") is not None}
        if "screening" in more:
            checks["screening"] = more.pop("screening")
        settings = Settings(**{name: more.pop(name) for name in SETTINGS & more.keys()})
        server = ChatServer(self.store, dispatcher, feedback=self.store, settings=settings, files=self.files, **more)
        urls = None if self.files is None else PresignedUrls(self.files)
        turns = Turns(TurnServices(self.store.ledger, AnswerStore(self.store), urls=urls))
        return create_app(
            AssistantEndpoint(served(server, **checks), turns),
            authenticate=known_by_name,
            sweeps=self.store,
            max_body_bytes=max_body_bytes,
        )

    def chat(self, **more: Any) -> Chat:
        """Return ann's client of a new app."""
        return Chat(self.app(**more))

    def upload(self, attachment_id: str, data: bytes, *, user: str = "ann") -> None:
        """Store the object that the browser's PUT would store."""
        self.aws.s3.put_object(Bucket=self.bucket, Key=f"pending/{user}/{attachment_id}", Body=data)

    async def stored_lines(self, *, journals: bool = False) -> list[str]:
        """Return everything of ann's as JSON lines, with each thread's newest turn journal if `journals` is true."""
        lines: list[str] = []
        for thread in (await self.store.load_threads(limit=100, after=None, order="asc", context=ANN)).data:
            lines.append(thread.model_dump_json())
            page = await self.store.load_thread_items(thread.id, after=None, limit=100, order="asc", context=ANN)
            lines += [item.model_dump_json() for item in page.data]
            if journals and (turn := await self.store.ledger.load_turn(thread.id, context=ANN)) is not None:
                lines += map(bytes.decode, await journal.read(self.store.ledger, thread.id, turn.turn_id, ANN))
        return lines


@contextmanager
def full_app_on_moto() -> Iterator[FullApp]:
    """An app with nothing stored in it yet."""
    with moto_aws() as aws:
        store, bucket = MemoryStore(), aws.bucket()
        aws.s3 = aws.session.client("s3", config=SIGNING_CONFIG)
        aws.s3.meta.events.register_first("before-parameter-build.s3.CopyObject", _only_if_it_matches(aws.s3))
        files = S3AttachmentStore(aws.s3, bucket, calls=Calls(), limits=LIMITS, clock=lambda: 1_700_000_000 * 10**9)
        yield FullApp(aws, bucket, store, files)


def _only_if_it_matches(client: "S3Client") -> Callable[..., None]:
    """Enforce CopySourceIfMatch, which moto ignores."""

    def check(params: Mapping[str, Any], **_: object) -> None:
        if "CopySourceIfMatch" in params:
            source = params["CopySource"]
            current = client.head_object(Bucket=source["Bucket"], Key=source["Key"])
            if current["ETag"] != params["CopySourceIfMatch"]:
                raise ClientError({"Error": {"Code": "PreconditionFailed", "Message": "changed"}}, "CopyObject")

    return check


async def attached(
    chat: Chat, full_app: FullApp, data: bytes = PNG, *, name: str = "a.png", kind: str = "image/png"
) -> str:
    """Upload an attachment and return its id."""
    created = await chat("attachments.create", name=name, size=len(data), mime_type=kind)
    assert created.status == 200, created.json
    attachment_id = str(created.json["id"])
    full_app.upload(attachment_id, data, user=chat.user or "")
    return attachment_id


def thread_of(answer: Answer) -> str:
    """Return the id of the thread that an answer created."""
    return str(answer.of("thread.created")[0]["thread"]["id"])


def items_of(answer: Answer) -> list[dict[str, Any]]:
    """Return the finished items in an answer."""
    return [event["item"] for event in answer.of("thread.item.done")]


def full_app_without_files() -> FullApp:
    """An app without a bucket: skips simulating AWS, which takes a second."""
    return FullApp(NO_AWS, "", MemoryStore(), None)
