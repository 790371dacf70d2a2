"""Modes and switches of the emulator with our runtime: on demand, SnapStart, Managed Instances, freezing, timeouts."""

import asyncio
import io
import json
import sys
import time
from pathlib import Path

import pytest

from lambda_src.dev.emulator import Emulator, Switches
from lambda_src.dev.emulator.protocol import MIB
from tests.dev.emulator.client import eventually, get, open_stream, request, state_of

HANDLER = "tests.dev.emulator.apps.handler"


def emulated(handler: str = HANDLER, **switches: object) -> Emulator:
    return Emulator(handler, switches=Switches(**switches), output=io.StringIO())  # type: ignore[arg-type]  # tests pass valid names


async def test_a_managed_instance_runs_n_invocations_in_one_process() -> None:
    async with (
        emulated(managed=3) as emulator,
        open_stream(emulator.url + "/steps") as first,
        open_stream(emulator.url + "/never-ends") as second,
    ):
        assert (await first.chunk(), await second.chunk()) == (b"first", b"first")
        assert (await get(emulator.url)).body == b"hello"
        assert len(emulator.pids) == 1


async def test_a_managed_instance_refuses_more_than_n_invocations() -> None:
    async with emulated(managed=1) as emulator, open_stream(emulator.url + "/never-ends") as stream:
        await stream.chunk()
        assert (await get(emulator.url)).status == 429


async def test_a_managed_instance_survives_an_invocation_that_times_out() -> None:
    async with emulated(managed=2, timeout_s=1) as emulator:
        pid = (await get(emulator.url + "/pid")).body
        late = await get(emulator.url + "/never")
        assert (late.status, (await get(emulator.url + "/pid")).body) == (502, pid)


async def test_at_the_deadline_the_process_is_killed_and_the_response_cut() -> None:
    async with emulated(processes=1, timeout_s=1) as emulator:
        pid = (await get(emulator.url + "/pid")).body
        cut = await get(emulator.url + "/never-ends")
        assert (cut.status, cut.body, cut.complete) == (200, b"first", False)
        assert (await get(emulator.url + "/pid")).body != pid


async def test_snapstart_snapshots_and_restores_before_the_first_invocation() -> None:
    async with emulated(snapstart=True) as emulator:
        assert (await get(emulator.url)).body == b"hello"


async def test_a_process_is_frozen_between_invocations_and_thaws_for_the_next() -> None:
    async with emulated(processes=1) as emulator:
        for _ in range(3):
            assert (await get(emulator.url)).body == b"hello"
            await eventually(lambda: state_of(emulator.pids[0]) == "T")


@pytest.mark.parametrize("switches", [Switches(freeze=False), Switches(managed=2)])
async def test_freezing_can_be_turned_off_and_managed_instances_never_freeze(switches: Switches) -> None:
    output = io.StringIO()
    async with Emulator("tests.dev.emulator.apps.later", switches=switches, output=output) as emulator:
        await emulator.invoke({})
        await eventually(lambda: "later" in output.getvalue())


async def test_an_on_demand_init_that_times_out_is_killed_and_repeated_within_the_function_timeout(
    tmp_path: Path,
) -> None:
    output = io.StringIO()
    marker = tmp_path / "started"
    switches = Switches(init_timeout_s=1, timeout_s=60, processes=1)
    async with Emulator(
        "tests.dev.emulator.slow_once.handler", env={"STARTED": str(marker)}, switches=switches, output=output
    ) as emulator:
        assert (await emulator.invoke({})).chunks == [b'"up"']
    line = json.loads(output.getvalue())
    assert (line["type"], line["record"]["status"]) == ("platform.initReport", "timeout")
    assert line["record"]["metrics"] == {"durationMs": 1000.0}


async def test_an_init_that_is_too_slow_twice_ends_at_the_function_timeout() -> None:
    switches = Switches(init_timeout_s=0.2, timeout_s=0.5, processes=1, log_format="Text")
    output = io.StringIO()
    async with Emulator("tests.dev.emulator.slow_once.handler", switches=switches, output=output) as emulator:
        report = (await emulator.invoke({})).report
    assert report is not None
    assert report.kind == "Sandbox.Timedout"
    assert output.getvalue() == "INIT_REPORT Init Duration: 200.00 ms\tPhase: init\tStatus: timeout\n"


async def test_the_connections_of_a_restored_process_are_broken() -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with (
        server,
        Emulator(
            "tests.dev.emulator.apps.connected",
            env={"PORT": str(port)},
            switches=Switches(snapstart=True),
            output=io.StringIO(),
        ) as emulator,
    ):
        chunks = (await emulator.invoke({})).chunks
    assert chunks == [b'"broken"' if sys.platform == "linux" else b'"alive"'], (
        "only on Linux can the emulator break connections"
    )


@pytest.mark.parametrize("cancel", [True, False])
async def test_a_managed_instance_learns_that_its_caller_disconnected_if_the_switch_is_on(cancel: bool) -> None:
    output = io.StringIO()
    switches = Switches(managed=2, cancel_when_caller_leaves=cancel)
    env = {"AWS_LAMBDA_LOG_LEVEL": "INFO"}
    async with Emulator(HANDLER, env=env, switches=switches, output=output) as emulator:
        async with open_stream(emulator.url + "/steps") as stream:
            await stream.chunk()
        if cancel:
            await eventually(lambda: "runtime.caller_left" in output.getvalue())
        await get(emulator.url + f"/step?{emulator.pids[0]}")
    assert ("runtime.caller_left" in output.getvalue()) == cancel


async def test_a_crash_is_a_502_and_the_next_invocation_gets_a_new_process() -> None:
    async with emulated(processes=1) as emulator:
        assert (await get(emulator.url + "/exit")).status == 502
        assert (await get(emulator.url)).body == b"hello"


async def test_a_crash_midstream_cuts_the_response() -> None:
    async with emulated() as emulator:
        answer = await get(emulator.url + "/exit-midstream")
    assert (answer.body, answer.complete) == (b"first", False)


@pytest.mark.parametrize("cut", [True, False])
async def test_a_midstream_error_cuts_the_response_if_the_switch_is_on(cut: bool) -> None:
    async with emulated(cut_on_error_trailers=cut) as emulator:
        answer = await get(emulator.url + "/raise-midstream")
    assert (answer.body, answer.complete) == (b"first", not cut)


async def test_small_chunks_can_be_held_until_more_data_follows() -> None:
    async with emulated(hold_small_chunks=100) as emulator, open_stream(emulator.url + "/small-chunks") as stream:
        assert await stream.chunk() == b"01"
        assert await stream.rest() == b"2"


@pytest.mark.parametrize("status", [204, 302, 304])
async def test_our_responses_without_a_body_do_not_hang_although_a_bare_prelude_would(status: int) -> None:
    async with emulated(hang_on_empty_body=True) as emulator:
        assert (await get(emulator.url + f"/status?{status}")).status == status


async def test_a_response_is_limited_to_the_bandwidth() -> None:
    async with emulated(burst_bytes=MIB, rate_bytes_per_s=10 * MIB) as emulator:
        began = time.monotonic()
        answer = await get(emulator.url + f"/bytes?{2 * MIB}")
        assert time.monotonic() - began >= 0.1  # one MiB beyond the burst, at ten per second
    assert len(answer.body) == 2 * MIB


async def test_a_response_that_waits_for_bandwidth_does_not_pile_up_in_memory() -> None:
    async with emulated(processes=1, burst_bytes=MIB, rate_bytes_per_s=40 * MIB) as emulator:
        before = int((await get(emulator.url + "/peak")).body)
        answer = await get(emulator.url + f"/bytes?{14 * MIB}")
        after = int((await get(emulator.url + "/peak")).body)
    assert len(answer.body) == 14 * MIB
    assert after - before < 4 * MIB


async def test_the_app_sees_the_same_request_with_payload_1_0() -> None:
    scopes = []
    for payload in ("1.0", "2.0"):
        async with emulated(payload=payload) as emulator:
            answer = await request(emulator.url + "/scope?a=1&b=%20", headers=[("X-Test", "1"), ("Cookie", "c=1; d=2")])
            scopes.append(json.loads(answer.body))
    first, second = scopes
    assert (first["method"], first["path"]) == (second["method"], second["path"]) == ("GET", "/scope")
    assert "x-test" in first["headers"]
    assert "c=1; d=2" in first["headers"]


async def test_a_buffered_response_is_passed_on_as_json() -> None:
    async with emulated("tests.dev.emulator.apps.buffered") as emulator:
        response = await get(emulator.url + "/response")
    assert (response.status, response.headers["content-type"]) == (200, "application/json")
    assert json.loads(response.body)["statusCode"] == 201, (
        "a streaming function URL does not interpret a buffered response"
    )


async def test_a_buffered_response_over_the_limit_is_a_502_and_the_process_survives() -> None:
    async with emulated("tests.dev.emulator.apps.buffered", processes=1) as emulator:
        assert (await get(emulator.url + "/large")).status == 502
        (pid,) = emulator.pids
        assert (await get(emulator.url + "/other")).status == 200
        assert emulator.pids == [pid]


async def test_an_event_that_is_not_an_http_request_can_be_invoked_directly() -> None:
    async with emulated() as emulator:
        collected = await emulator.invoke({"chat": "sweep"})
    assert collected.chunks == [b'{"did": "sweep"}']


async def test_an_event_without_a_handler_is_an_unknown_event_error() -> None:
    async with emulated("tests.runtime.handlers.streaming") as emulator:
        collected = await emulator.invoke({"chat": "sweep"})
    assert collected.report is not None
    assert collected.report.kind == "Function.UnknownEventError"


async def test_nothing_is_printed_at_shutdown() -> None:
    output = io.StringIO()
    async with Emulator(HANDLER, output=output) as emulator:
        await get(emulator.url)
    assert output.getvalue() == ""
