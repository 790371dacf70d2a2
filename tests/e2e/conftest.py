"""End-to-end fixtures: the emulated function URL and Runtime API, our runtime in processes, and a local AWS."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from lambda_src.dev.emulator import Emulator, Switches
from lambda_src.dev.local_aws import BUCKET, TABLE, local_aws
from tests.apps.chat import SLOW_INIT_S
from tests.apps.emulated import Client

ROOT = Path(__file__).parents[2]
SETTINGS = {"CHAT_AUTH_ISSUER": "https://issuer.test/", "CHAT_AUTH_AUDIENCE": "chat"}


@asynccontextmanager
async def emulated(folders: pytest.TempPathFactory, handler: str) -> AsyncIterator[Emulator]:
    """A handler behind an emulated function URL, with a DynamoDB and an S3 of its own."""
    async with local_aws(folders.mktemp("aws")) as aws:
        env = {**SETTINGS, **aws.env, "CHAT_TABLE": TABLE, "CHAT_BUCKET": BUCKET}
        switches = Switches(processes=2, init_timeout_s=SLOW_INIT_S)
        async with Emulator(handler, env=env, task_root=ROOT, switches=switches) as emulator:
            yield emulator


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def emulator(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Emulator]:
    """The test handler behind an emulated function URL, with its own DynamoDB."""
    async with emulated(tmp_path_factory, "tests.e2e.chat_handler.handler") as emulator:
        yield emulator


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ann(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """Ann's client of an emulated chat with the showcase agent and its own local DynamoDB and S3."""
    async with emulated(tmp_path_factory, "tests.apps.showcase_handler.handler") as emulator:
        yield Client(emulator)
