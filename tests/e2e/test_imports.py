"""What a cold function imports, and when, compared with imports.json, so that a new heavy import shows up in review.

It runs in a fresh process of the emulated Lambda, with our bootstrap and runtime. `make imports` rewrites the file.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lambda_src.dev.emulator import Emulator, Switches
from lambda_src.dev.local_aws import BUCKET, TABLE, LocalAws, local_aws
from tests.apps.chat import SLOW_INIT_S, message
from tests.auth.test_backend_tokens import ED_JWK, token
from tests.e2e.conftest import ROOT

SNAPSHOT = Path(__file__).with_name("imports.json")
FIRST_NEXT, LIST, MESSAGE = "before the first next", "for a threads.list", "for a message"
PREWARMED = "before the first next, prewarmed"
NEVER_FOR_A_LIST = (
    "agents",
    "mcp",
    "openai",
    "httpx2",
    "boto3",
    "griffe",
    "lambda_src.chat.server",
    "lambda_src.agent",
)


@asynccontextmanager
async def function(aws: LocalAws, **settings: str) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a freshly started function."""
    env = {
        "CHAT_AUTH_PUBLIC_KEYS": json.dumps([ED_JWK]),
        "CHAT_AUTH_AUDIENCE": "chat",
        "CHAT_TABLE": TABLE,
        "CHAT_BUCKET": BUCKET,
        "AWS_REGION": "us-east-1",
        **aws.env,
        **settings,
    }
    switches = Switches(processes=1, init_timeout_s=SLOW_INIT_S)
    async with (
        Emulator("tests.e2e.imports_handler.handler", env=env, task_root=ROOT, switches=switches) as emulator,
        httpx2.AsyncClient(
            base_url=emulator.url, headers={"authorization": token()}, timeout=60, trust_env=False
        ) as client,
    ):
        yield client


async def imports_of(client: httpx2.AsyncClient) -> set[str]:
    """The packages and modules that the function has imported so far."""
    return set((await client.get("/imports")).json())


async def request(client: httpx2.AsyncClient, operation: str, **params: Any) -> None:
    response = await client.post("/chatkit", json={"type": operation, "params": params})
    assert response.status_code == 200, response.text
    assert '"type":"error"' not in response.text, response.text


async def imports_by_point(aws: LocalAws) -> dict[str, list[str]]:
    """The imports that each point adds to the previous one."""
    async with function(aws, CHAT_OPTIMIZATIONS_OFF="prewarm") as client:
        init = await imports_of(client)
        await request(client, "threads.list")
        listed = await imports_of(client)
        await request(client, "threads.create", input=message("hi"))
        answered = await imports_of(client)
    async with function(aws) as client:
        prewarmed = await imports_of(client)
    return {
        FIRST_NEXT: sorted(init),
        LIST: sorted(listed - init),
        MESSAGE: sorted(answered - listed),
        PREWARMED: sorted(prewarmed - init),
    }


async def imports_by_point_on_local_aws(folder: Path) -> dict[str, list[str]]:
    async with local_aws(folder) as aws:
        return await imports_by_point(aws)


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    points = asyncio.run(imports_by_point_on_local_aws(tmp_path_factory.mktemp("aws")))
    if "CHAT_WRITE_IMPORTS" in os.environ:
        SNAPSHOT.write_text(json.dumps(points, indent=1) + "\n", encoding="utf-8")
    return points


@pytest.mark.parametrize("point", [FIRST_NEXT, LIST, MESSAGE, PREWARMED])
def test_the_imports_match_the_reviewed_list(point: str, points: dict[str, list[str]]) -> None:
    reviewed = set(json.loads(SNAPSHOT.read_text(encoding="utf-8"))[point])
    new, missing = sorted(set(points[point]) - reviewed), sorted(reviewed - set(points[point]))
    assert (new, missing) == ([], []), "if the change is intended, `make imports` rewrites the file"


def test_listing_threads_imports_no_model_or_agent_code(points: dict[str, list[str]]) -> None:
    imported = [*points[FIRST_NEXT], *points[LIST]]
    assert not [name for name in imported if name != "mcp" and name.startswith(NEVER_FOR_A_LIST)]


def test_an_agent_without_an_mcp_server_imports_no_mcp_modules(points: dict[str, list[str]]) -> None:
    everything = {name for point in points.values() for name in point}
    assert {name for name in everything if name.startswith("mcp.")} == {"mcp.shared"}


def test_prewarming_imports_everything_that_a_message_needs(points: dict[str, list[str]]) -> None:
    late = set(points[MESSAGE]) - set(points[PREWARMED])
    assert late <= {name for name in points[MESSAGE] if name.startswith("lambda_src")}, late
