"""What the suites of ChatKit's surface share."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from lambda_src.dev.emulator import Emulator, Switches
from lambda_src.dev.local_aws import BUCKET, TABLE, local_aws
from tests.chat import SLOW_INIT_S
from tests.surface.emulated import Client
from tests.surface.house import House, house_on_moto

ROOT = Path(__file__).parents[2]
SETTINGS = {"CHAT_AUTH_ISSUER": "https://issuer.test/", "CHAT_AUTH_AUDIENCE": "chat"}


@pytest.fixture
def house() -> Iterator[House]:
    """An app with a bucket, everything switched on."""
    with house_on_moto() as house:
        yield house


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ann(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """Ann at an emulated chat with the showcase's agent, on a DynamoDB and an S3 of its own."""
    async with local_aws(tmp_path_factory.mktemp("aws")) as aws:
        env = {**SETTINGS, **aws.env, "CHAT_TABLE": TABLE, "CHAT_BUCKET": BUCKET}
        async with Emulator(
            "tests.surface.served.handler",
            env=env,
            task_root=ROOT,
            switches=Switches(processes=2, init_timeout_s=SLOW_INIT_S),
        ) as emulator:
            yield Client(emulator)
