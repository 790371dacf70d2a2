"""examples/chat-tool: a request for a person reaches the tool, and an answer from the tool reaches the user."""

import asyncio
import importlib.util
import json
import sys
import threading
import time
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import jwt as pyjwt
import pytest
from agents import Agent, RunConfig
from fastapi import FastAPI, Request

from lambda_src.auth.backend_tokens import NAMESPACE
from lambda_src.auth.bearer import user_id_of
from lambda_src.cli.secrets.keys import Algorithm, pair
from lambda_src.composition import access
from lambda_src.composition.app import Parts, build_app
from lambda_src.context import RequestContext, User
from lambda_src.dev.testing import served
from lambda_src.models.demo_model import DemoModel
from lambda_src.runs.widget_actions import Actions
from lambda_src.settings import Settings
from lambda_src.store.aws_calls import Calls
from lambda_src.store.inbox import Matter
from lambda_src.store.memory.store import MemoryStore
from lambda_src.support.events import EventTopic, body_of
from tests.apps.chat import Chat, message, no_pause
from tests.store.ministack import ministack

EXAMPLE = Path(__file__).parents[2] / "examples" / "chat-tool" / "relay.py"
AUDIENCE, SHARED = "chat", "s" * 32
PEM, PUBLIC = pair(Algorithm.es256)
KEY: dict[str, Any] = {"region_name": "us-east-1", "aws_access_key_id": "x", "aws_secret_access_key": "y"}


@dataclass
class Tool:
    """The chat tool: what its webhook got."""

    url: str = ""
    got: list[dict[str, Any]] = field(default_factory=list)
    has_got: threading.Event = field(default_factory=threading.Event)

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/hook")
        async def hook(request: Request) -> dict[str, str]:
            self.got.append(await request.json())
            self.has_got.set()
            return {}

        return app


@pytest.fixture
async def tool() -> AsyncIterator[Tool]:
    tool = Tool()
    async with served(tool.app()) as url:
        tool.url = f"{url}/hook"
        yield tool


def environ_of(tool: Tool, chat_url: str) -> dict[str, str]:
    """The variables of the example."""
    return {
        "CHAT_URL": chat_url,
        "CHAT_AUDIENCE": AUDIENCE,
        "WEBHOOK_URL": tool.url,
        "SHARED_SECRET": SHARED,
        "KEY_ID": PUBLIC["kid"],
        "PRIVATE_KEY": PEM.decode(),
    }


def relay(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]) -> ModuleType:
    """The example's module, as Lambda loads it."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    spec = importlib.util.spec_from_file_location("relay", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def settings() -> Settings:
    return Settings.from_env(
        {
            "CHAT_STORE": "memory",
            "CHAT_AUTH_AUDIENCE": AUDIENCE,
            "CHAT_AUTH_PUBLIC_KEYS": json.dumps([PUBLIC]),
            "CHAT_OPERATORS": "{}",
        }
    )


def token_of(name: str) -> str:
    claims = {"sub": name, "aud": AUDIENCE, "exp": int(time.time()) + 300}
    return pyjwt.encode(claims, PEM, algorithm="ES256", headers={"kid": PUBLIC["kid"]})


async def test_a_request_reaches_the_tool_and_the_tools_answer_reaches_the_user(
    tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, stage = MemoryStore(), settings()
    parts = Parts(
        authenticate=access.authenticator(stage, None),
        build_agent=lambda: Agent[Any](name="Test"),
        build_actions=Actions,
        build_run_config=lambda: RunConfig(model=DemoModel(sleep=no_pause), tracing_disabled=True),
    )
    app = build_app(stage, store, store.ledger, parts)
    async with served(app) as url:
        module = relay(monkeypatch, environ_of(tool, url))
        ann = user_id_of(NAMESPACE, "ann")
        context = RequestContext(User(ann), "r")
        created = await Chat(app, token_of("ann"))("threads.create", input=message("hi"))
        thread_id = created.of("thread.created")[0]["thread"]["id"]
        event = body_of("handoff.requested", Matter("handoff", "", ann, thread_id, time.time_ns()))
        await asyncio.to_thread(module.handler, {"Records": [{"Sns": {"Message": json.dumps(event)}}]}, None)
        assert tool.got == [{"text": f"handoff.requested: {ann} {thread_id}"}]
        answer = {
            "user": ann,
            "thread": thread_id,
            "author": "Olga",
            "text": "How can I help?",
            "id": "answer-" + "1" * 16,
        }
        call = {"headers": {"x-shared-secret": SHARED}, "body": json.dumps(answer)}
        for _ in range(2):  # the tool sends it again
            assert (await asyncio.to_thread(module.handler, call, None)) == {"statusCode": 200}
        forged = {"headers": {"x-shared-secret": "wrong"}, "body": json.dumps(answer)}
        assert (await asyncio.to_thread(module.handler, forged, None)) == {"statusCode": 403}
        items = (await store.load_thread_items(thread_id, None, 10, "desc", context)).data
    texts = ["".join(part.text for part in item.content) for item in items if item.type == "assistant_message"]
    assert texts[0] == "**Olga:** How can I help?"
    assert texts.count(texts[0]) == 1


def zipped(folder: Path) -> bytes:
    """The example with its requirements, as they are installed here."""
    packages = Path(pyjwt.__file__).parents[1]
    file = folder / "relay.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(EXAMPLE, "relay.py")
        for name in ("jwt", "cryptography", "cffi", "pycparser", "_cffi_backend*"):
            for path in packages.glob(name):
                for each in [path, *path.rglob("*")]:
                    if each.is_file() and "__pycache__" not in each.parts:
                        archive.write(each, each.relative_to(packages))
    return file.read_bytes()


async def test_the_example_runs_on_the_local_aws_as_a_subscriber_of_the_topic(tool: Tool, tmp_path: Path) -> None:
    matter = Matter("handoff", "", "ann", "thr_1", time.time_ns())
    with ministack() as aws:
        url = aws.dynamodb.meta.endpoint_url
        sns, functions = boto3.client("sns", endpoint_url=url, **KEY), boto3.client("lambda", endpoint_url=url, **KEY)
        function = functions.create_function(
            FunctionName="relay",
            Runtime=f"python{sys.version_info.major}.{sys.version_info.minor}",
            Role="arn:aws:iam::000000000000:role/relay",
            Handler="relay.handler",
            Timeout=30,
            Code={"ZipFile": zipped(tmp_path)},
            Environment={"Variables": environ_of(tool, "http://127.0.0.1:1")},
        )
        topic = sns.create_topic(Name="events")["TopicArn"]
        sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=function["FunctionArn"])
        await EventTopic(sns, topic, calls=Calls())("handoff.requested", matter)
        assert await asyncio.to_thread(tool.has_got.wait, 60)
    assert tool.got == [{"text": "handoff.requested: ann thr_1"}]
