"""`make verify` against the emulator: a healthy deployment passes, and buffering and deadlines are detected."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from lambda_src.dev.emulator import Emulator, Switches
from lambda_src.dev.local_aws import BUCKET, TABLE, LocalAws, local_aws
from lambda_src.dev.verify.__main__ import main
from tests.apps.chat import SLOW_INIT_S
from tests.e2e.conftest import ROOT

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("e2e verify")]  # one local AWS

Verify = Callable[..., Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def aws(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalAws]:
    async with local_aws(tmp_path_factory.mktemp("aws")) as aws:
        yield aws


@pytest.fixture
def verify(aws: LocalAws, tmp_path: Path) -> Verify:
    """Runs `make verify`, and returns its exit code and its rows by name."""

    async def run(*arguments: str, **switches: Any) -> tuple[int, dict[str, Any]]:
        env = {**aws.env, "CHAT_TABLE": TABLE, "CHAT_BUCKET": BUCKET}
        async with Emulator(
            "lambda_src.dev.local.handler",
            env=env,
            task_root=ROOT,
            switches=Switches(**{"init_timeout_s": SLOW_INIT_S, **switches}),
        ) as emulator:
            code = await asyncio.to_thread(main, [emulator.url, "--out", str(tmp_path / "out"), *arguments], {})
        [path] = (tmp_path / "out").glob("*-emulator.json")
        return code, {row["name"]: row for row in json.loads(path.read_text())["rows"]}

    return run


async def test_a_healthy_deployment_passes(verify: Verify) -> None:
    code, rows = await verify()
    assert {name for name, row in rows.items() if row["outcome"] == "failed"} == set()
    assert code == 0
    passed = {name for name, row in rows.items() if row["outcome"] == "ok"}
    assert {"health", "deltas", "Stop", "duplicate", "resume", "empty body", "CORS"} <= passed
    assert "not held back" in rows["small chunks"]["what"]
    assert rows["deadline"]["outcome"] == "not seen"


async def test_a_front_that_holds_back_small_chunks_is_detected(verify: Verify) -> None:
    code, rows = await verify("--only", "deltas", hold_small_chunks=4000)
    assert rows["small chunks"]["what"].endswith("small chunks are held back")
    assert rows["unknown: hold_small_chunks"]["what"] == rows["small chunks"]["what"]
    assert rows["unknown: freeze"]["outcome"] == "not seen"
    assert code == 0


async def test_a_turn_that_reaches_the_timeout_ends_cleanly(verify: Verify) -> None:
    code, rows = await verify("--only", "deadline", "--timeout", "4", timeout_s=4.0)
    assert rows["deadline"]["outcome"] == "ok", rows["deadline"]["what"]
    assert code == 0


async def test_a_turn_that_ends_before_the_timeout_does_not_verify_the_deadline(verify: Verify) -> None:
    code, rows = await verify("--only", "deadline", "--timeout", "60")
    assert rows["deadline"]["what"].endswith("PROMPT= must ask for more")
    assert code == 1
