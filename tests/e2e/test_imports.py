"""What a cold function imports, and when: a new heavy import shows up in review, as a changed line of imports.json.

Through the emulated Lambda: the bootstrap, our runtime, DynamoDB, a fresh process. `make imports` writes the file anew.
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
    """A client of a function that has just started."""
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


async def imported(client: httpx2.AsyncClient) -> set[str]:
    """What the function has imported so far."""
    return set((await client.get("/imports")).json())


async def ask(client: httpx2.AsyncClient, operation: str, **params: Any) -> None:
    answer = await client.post("/chatkit", json={"type": operation, "params": params})
    assert answer.status_code == 200, answer.text
    assert '"type":"error"' not in answer.text, answer.text


async def found(aws: LocalAws) -> dict[str, list[str]]:
    """What is imported at each point, beside what was there at the one before."""
    async with function(aws, CHAT_OPTIMIZATIONS_OFF="prewarm") as client:
        init = await imported(client)
        await ask(client, "threads.list")
        listed = await imported(client)
        await ask(client, "threads.create", input=message("hi"))
        answered = await imported(client)
    async with function(aws) as client:
        prewarmed = await imported(client)
    return {
        FIRST_NEXT: sorted(init),
        LIST: sorted(listed - init),
        MESSAGE: sorted(answered - listed),
        PREWARMED: sorted(prewarmed - init),
    }


async def found_locally(folder: Path) -> dict[str, list[str]]:
    async with local_aws(folder) as aws:
        return await found(aws)


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    points = asyncio.run(found_locally(tmp_path_factory.mktemp("aws")))
    if "CHAT_WRITE_IMPORTS" in os.environ:
        SNAPSHOT.write_text(json.dumps(points, indent=1) + "\n", encoding="utf-8")
    return points


@pytest.mark.parametrize("point", [FIRST_NEXT, LIST, MESSAGE, PREWARMED])
def test_what_is_imported_is_what_was_reviewed(point: str, points: dict[str, list[str]]) -> None:
    reviewed = set(json.loads(SNAPSHOT.read_text(encoding="utf-8"))[point])
    new, gone = sorted(set(points[point]) - reviewed), sorted(reviewed - set(points[point]))
    assert (new, gone) == ([], []), "`make imports` writes the file anew, if it is meant to be so"


def test_a_list_of_threads_imports_nothing_of_models_and_agents(points: dict[str, list[str]]) -> None:
    by_then = [*points[FIRST_NEXT], *points[LIST]]
    assert not [name for name in by_then if name != "mcp" and name.startswith(NEVER_FOR_A_LIST)]


def test_no_part_of_mcp_is_run_for_an_agent_without_one(points: dict[str, list[str]]) -> None:
    everything = {name for point in points.values() for name in point}
    assert {name for name in everything if name.startswith("mcp.")} == {"mcp.shared"}


def test_what_prewarming_imports_a_message_does_not_import_again(points: dict[str, list[str]]) -> None:
    late = set(points[MESSAGE]) - set(points[PREWARMED])
    assert late <= {name for name in points[MESSAGE] if name.startswith("lambda_src")}, late
