"""The Lambda emulator in real processes: client -> function URL -> Runtime API -> runtime -> ASGI app, and back."""

import asyncio
import io
import json
import sys

import pytest

from lambda_src.dev.emulator import Emulator, Switches
from tests.dev.emulator.client import eventually, get, open_stream, request, state_of

HANDLER = "tests.dev.emulator.apps.handler"


async def test_an_asgi_app_answers_through_a_real_process() -> None:
    async with Emulator(HANDLER, output=io.StringIO()) as emulator:
        answer = await get(emulator.url)
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, "text/plain", b"hello")


async def test_a_body_reaches_the_app_and_comes_back() -> None:
    async with Emulator(HANDLER, output=io.StringIO()) as emulator:
        answer = await request(emulator.url + "/echo", "POST", body=bytes(range(256)))
    assert answer.body == bytes(range(256))


async def test_a_process_that_is_still_starting_is_not_listed() -> None:
    async with Emulator(HANDLER, output=io.StringIO()) as emulator:
        pending = asyncio.create_task(get(emulator.url + "/pid"))
        pids = set[int]()
        while not pending.done():
            pids.update(emulator.pids)
            await asyncio.sleep(0)
        assert pids == {int((await pending).body)}


async def test_one_process_serves_one_request_after_another() -> None:
    async with Emulator(HANDLER, output=io.StringIO()) as emulator:
        pids = {(await get(emulator.url + "/pid")).body for _ in range(5)}
    assert len(pids) == 1


async def test_a_chunk_reaches_the_client_before_the_next_is_written() -> None:
    async with Emulator(HANDLER, output=io.StringIO()) as emulator, open_stream(emulator.url + "/steps") as stream:
        first = await stream.chunk()
        assert first == b"first"
        await get(emulator.url + f"/step?{emulator.pids[0]}")
        assert await stream.chunk() == b"second"


async def test_an_error_before_the_response_starts_is_a_502_without_details() -> None:
    output = io.StringIO()
    async with Emulator(HANDLER, output=output) as emulator:
        answer = await get(emulator.url + "/raise")
    assert (answer.status, answer.body) == (502, b'{"Message": "Internal Server Error"}')
    assert "ValueError: before the start" in output.getvalue()


async def test_a_request_while_all_processes_are_busy_is_a_429() -> None:
    switches = Switches(processes=1)
    async with (
        Emulator(HANDLER, switches=switches, output=io.StringIO()) as emulator,
        open_stream(emulator.url + "/steps") as stream,
    ):
        await stream.chunk()
        assert (await get(emulator.url)).status == 429


async def test_another_process_starts_when_all_are_busy() -> None:
    async with Emulator(HANDLER, output=io.StringIO()) as emulator, open_stream(emulator.url + "/steps") as stream:
        await stream.chunk()
        assert (await get(emulator.url)).body == b"hello"
        assert len(emulator.pids) == 2


async def test_reload_ends_idle_processes_at_once() -> None:
    async with Emulator(HANDLER, output=io.StringIO()) as emulator:
        before = (await get(emulator.url + "/pid")).body
        await emulator.reload()
        assert (await get(emulator.url + "/pid")).body != before


async def test_reload_lets_a_busy_process_finish_its_response() -> None:
    async with Emulator(HANDLER, output=io.StringIO()) as emulator, open_stream(emulator.url + "/steps") as stream:
        await stream.chunk()
        old = emulator.pids[0]
        await emulator.reload()
        await get(emulator.url + f"/step?{old}")
        assert await stream.rest() == b"second"


@pytest.mark.parametrize(
    ("handler", "kind", "reason"),
    [
        ("tests.dev.emulator.nowhere.handler", "Runtime.ImportModuleError", "No module named"),
        ("tests.dev.emulator.apps.nothing", "Runtime.HandlerNotFound", "is missing in module"),
        ("handler", "Runtime.MalformedHandlerName", "is not package.module.name"),
        ("tests.dev.emulator.broken.handler", "Function.RuntimeError", "no database"),
    ],
)
async def test_a_function_that_cannot_start_is_a_502_and_the_log_has_the_reason(
    handler: str, kind: str, reason: str
) -> None:
    output = io.StringIO()
    async with Emulator(handler, output=output) as emulator:
        answers = [await get(emulator.url), await get(emulator.url)]
    assert [answer.status for answer in answers] == [502, 502]
    lines = [json.loads(line) for line in output.getvalue().splitlines()]
    assert [(line["level"], line["kind"]) for line in lines] == [("CRITICAL", kind)] * 2, (
        "there must be one line for each start"
    )
    assert reason in lines[0]["reason"]


async def test_the_emulator_itself_prints_nothing_for_a_runtime_that_prints_nothing() -> None:
    output = io.StringIO()
    silent = (
        "import os, urllib.request as u; "
        "u.urlopen(u.Request('http://' + os.environ['AWS_LAMBDA_RUNTIME_API'] + '/2018-06-01/runtime/init/error', "
        'data=b\'{"errorMessage":"m","errorType":"t"}\'))'
    )
    async with Emulator("any.handler", command=(sys.executable, "-c", silent), output=output) as emulator:
        assert (await get(emulator.url)).status == 502
    assert output.getvalue() == ""


async def test_no_process_outlives_the_emulator() -> None:
    async with Emulator(HANDLER, output=io.StringIO()) as emulator:
        await get(emulator.url)
        (pid,) = emulator.pids
    check = await asyncio.create_subprocess_exec("kill", "-0", str(pid), stderr=asyncio.subprocess.DEVNULL)
    assert await check.wait() != 0


EMULATOR_SCRIPT = """
import asyncio, sys
from lambda_src.dev.emulator import Emulator
async def main():
    async with Emulator(sys.argv[1]) as emulator:
        await emulator.invoke({"rawPath": "/"})
        print(*emulator.pids, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_a_frozen_process_does_not_outlive_a_killed_emulator() -> None:
    emulator = await asyncio.create_subprocess_exec(
        sys.executable, "-c", EMULATOR_SCRIPT, "tests.dev.emulator.apps.buffered", stdout=asyncio.subprocess.PIPE
    )
    assert emulator.stdout is not None
    pid = int(await emulator.stdout.readline())
    emulator.kill()
    await emulator.wait()
    await eventually(lambda: state_of(pid) in ("", "Z"))
