"""`make verify` against the house of `make dev`: what is well is found well, and what is asked for is found."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from lambda_src.dev.emulator import Emulator, Switches
from lambda_src.dev.local_aws import BUCKET, TABLE, LocalAws, local_aws
from lambda_src.dev.verify.__main__ import main
from tests.apps.chat import SLOW_INIT_S
from tests.e2e.conftest import ROOT

Verify = Callable[..., Any]


@pytest.fixture
async def aws(tmp_path: Path) -> AsyncIterator[LocalAws]:
    async with local_aws(tmp_path / "aws") as aws:
        yield aws


@pytest.fixture
def verify(aws: LocalAws, tmp_path: Path) -> Verify:
    """The rows of a verification, by name, and its exit code."""

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


async def test_what_is_well_is_found_well(verify: Verify) -> None:
    code, rows = await verify()
    assert {name for name, row in rows.items() if row["outcome"] == "failed"} == set()
    assert code == 0
    well = {name for name, row in rows.items() if row["outcome"] == "ok"}
    assert {"health", "deltas", "Stop", "duplicate", "resume", "empty body", "CORS"} <= well
    assert "not held back" in rows["small chunks"]["what"]
    assert rows["deadline"]["outcome"] == "not seen"


async def test_a_front_that_holds_small_chunks_back_is_seen(verify: Verify) -> None:
    code, rows = await verify("--only", "deltas", hold_small_chunks=4000)
    assert rows["small chunks"]["what"].endswith("small chunks are held back")
    assert rows["unknown: hold_small_chunks"]["what"] == rows["small chunks"]["what"]
    assert rows["unknown: freeze"]["outcome"] == "not seen"
    assert code == 0


async def test_a_turn_that_runs_into_the_time_out_is_seen_to_end_well(verify: Verify) -> None:
    code, rows = await verify("--only", "deadline", "--timeout", "4", timeout_s=4.0)
    assert rows["deadline"]["outcome"] == "ok", rows["deadline"]["what"]
    assert code == 0


async def test_a_turn_that_ends_by_itself_proves_nothing_about_the_deadline(verify: Verify) -> None:
    code, rows = await verify("--only", "deadline", "--timeout", "60")
    assert rows["deadline"]["what"].endswith("PROMPT= must ask for more")
    assert code == 1
