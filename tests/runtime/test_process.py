"""The runtime as a process, started as Lambda starts it, with a scripted Runtime API: init, SnapStart, logs, exit."""

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import lambda_src
from tests.runtime.scripted_api import ScriptedApi, scripted_api

ROOT = Path(lambda_src.__file__).parents[1]
BOOTSTRAP = ROOT / "lambda_src" / "bootstrap"
HANDLERS = "tests.runtime.handlers."
FOREVER_MS = 9_999_999_999_999


class Process:
    """A runtime process. `ended` waits for its exit code and its whole output."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def ended(self) -> tuple[int, str]:
        out, _ = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, out.decode()


@contextlib.asynccontextmanager
async def runtime(handler: str, **env: str) -> AsyncIterator[tuple[ScriptedApi, Process]]:
    async with scripted_api() as api:
        process = await asyncio.create_subprocess_exec(
            BOOTSTRAP,
            sys.executable,
            "/var/runtime/bootstrap.py",
            cwd=ROOT,
            env={
                "PATH": "/usr/bin:/bin",
                "AWS_LAMBDA_RUNTIME_API": api.address,
                "_HANDLER": handler if ":" in handler or handler.startswith("tests.") else HANDLERS + handler,
                "LAMBDA_TASK_ROOT": str(ROOT),
                **env,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            yield api, Process(process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()


def test_the_wrapper_is_executable_and_has_unix_line_endings() -> None:
    assert BOOTSTRAP.stat().st_mode & 0o777 == 0o755
    assert b"\r" not in BOOTSTRAP.read_bytes()


async def test_the_wrapper_runs_the_given_interpreter_in_the_task_root_with_lambdas_sys_path() -> None:
    async with runtime("plain", LAMBDA_RUNTIME_DIR="/var/runtime") as (api, _):
        request = await (await api.deliver({"a": 1}, deadline_ms=FOREVER_MS)).complete()
        request.answer(202)
    answer = json.loads(request.body)
    assert (answer["executable"], answer["cwd"]) == (sys.executable, str(ROOT))
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    assert answer["path"] == [str(ROOT), f"/opt/python/lib/{version}/site-packages", "/opt/python"]


async def test_a_handler_without_asgi_gets_a_buffered_json_response() -> None:
    async with runtime("plain") as (api, _):
        request = await (await api.deliver({"a": 1}, deadline_ms=FOREVER_MS)).complete()
        request.answer(202)
    answer = json.loads(request.body)
    assert (answer["event"], answer["request_id"], answer["remaining"]) == ({"a": 1}, "r-1", True)
    assert "lambda-runtime-function-response-mode" not in request.headers
    assert request.headers["content-length"] == str(len(request.body))


async def test_a_result_that_is_not_json_serializable_is_an_error() -> None:
    async with runtime("not_json") as (api, _):
        request = await (await api.deliver({}, deadline_ms=FOREVER_MS)).complete()
        request.answer(202)
    assert request.headers["lambda-runtime-function-error-type"] == "Function.TypeError"


async def test_the_trace_id_is_in_the_environment_only_during_its_invocation() -> None:
    traces = []
    async with runtime("plain") as (api, _):
        for trace_id in ("Root=1", None):
            request = await (await api.deliver({}, deadline_ms=FOREVER_MS, trace_id=trace_id)).complete()
            request.answer(202)
            traces.append(json.loads(request.body)["trace"])
    assert traces == ["Root=1", None]


async def test_a_managed_instance_requests_n_invocations_and_keeps_the_trace_id_out_of_the_environment() -> None:
    async with runtime("plain", AWS_LAMBDA_MAX_CONCURRENCY="3") as (api, _):
        waiting = [await api.take("/next") for _ in range(2)]
        request = await (await api.deliver({}, deadline_ms=FOREVER_MS, trace_id="Root=1")).complete()
        request.answer(202)
    assert (len(waiting), json.loads(request.body)["trace"]) == (2, None)


@pytest.mark.parametrize("handler", ["streaming", HANDLERS[:-1] + ":app"])
async def test_an_asgi_app_is_streamed_with_or_without_the_adapter(handler: str) -> None:
    async with runtime(handler) as (api, process):
        request = await (await api.deliver(deadline_ms=FOREVER_MS)).complete()
        request.answer(202)
        assert request.body.endswith(b"\0" * 8 + b"pid %d" % process.process.pid)
    assert request.headers["lambda-runtime-function-response-mode"] == "streaming"


@pytest.mark.parametrize(
    ("handler", "kind", "name"),
    [
        ("nothing", "Runtime.HandlerNotFound", "HandlerError"),
        ("function", "Runtime.HandlerNotFound", "HandlerError"),
        ("nowhere.handler", "Runtime.ImportModuleError", "ModuleNotFoundError"),
        ("failing_lifespan", "Function.ConnectionError", "ConnectionError"),
        ("x:", "Runtime.MalformedHandlerName", "HandlerError"),
        ("syntax_error:app", "Runtime.UserCodeSyntaxError", "SyntaxError"),
    ],
)
async def test_a_function_that_cannot_start_reports_the_reason_and_exits_with_1(
    handler: str, kind: str, name: str, tmp_path: Path
) -> None:
    (tmp_path / "syntax_error.py").write_text("def:")
    root = str(tmp_path) if ":" in handler else str(ROOT)
    async with runtime(handler, LAMBDA_TASK_ROOT=root) as (api, process):
        request = await (await api.take("/runtime/init/error")).complete()
        request.answer(202)
        code, _ = await process.ended()
    report = json.loads(request.body)
    assert (code, request.headers["lambda-runtime-function-error-type"], report["errorType"]) == (1, kind, name)
    assert report["stackTrace"]
    assert report["errorMessage"]


async def first_line(process: Process) -> str:
    assert process.process.stdout is not None
    return (await process.process.stdout.readline()).decode()


async def test_a_function_that_cannot_start_logs_one_critical_line_in_json_before_its_report() -> None:
    async with runtime("failing_lifespan", AWS_LAMBDA_LOG_FORMAT="JSON") as (api, process):
        line = json.loads(await first_line(process))
        (await (await api.take("/runtime/init/error")).complete()).answer(202)
        assert (await process.ended())[1] == ""
    assert (line["level"], line["message"], line["kind"]) == (
        "CRITICAL",
        "runtime.cannot_start",
        "Function.ConnectionError",
    )
    assert (line["error_type"], line["reason"], line["caused_by"]) == ("ConnectionError", "no database", ["KeyError"])
    assert line["stack"][-1].startswith(f"{ROOT}/tests/runtime/handlers.py:")
    assert "KeyError: 'DATABASE'" in line["traceback"]


async def test_a_function_that_cannot_start_logs_its_exception_chain_and_stack_as_text() -> None:
    async with runtime("failing_lifespan") as (api, process):
        first = await first_line(process)
        (await (await api.take("/runtime/init/error")).complete()).answer(202)
        _, rest = await process.ended()
    assert first.startswith("[CRITICAL]\t")
    assert "runtime.cannot_start kind=Function.ConnectionError error_type=ConnectionError reason=no database" in first
    assert rest.index("KeyError: 'DATABASE'") < rest.index("direct cause") < rest.index("ConnectionError: no database")
    assert (first + rest).count("runtime.cannot_start") == 1


async def test_a_chat_that_cannot_start_logs_the_invalid_setting() -> None:
    async with runtime("lambda_src.handler:handler", CHAT_TABEL="chat") as (api, process):
        line = json.loads(await first_line(process))
        (await (await api.take("/runtime/init/error")).complete()).answer(202)
        assert (await process.ended())[1] == ""
    assert (line["level"], line["error_type"]) == ("CRITICAL", "SettingsError")
    assert "CHAT_TABEL" in line["reason"]


async def test_a_module_that_exits_during_its_import_is_an_init_error(tmp_path: Path) -> None:
    (tmp_path / "exits.py").write_text("raise SystemExit(0)")
    async with runtime("exits:app", LAMBDA_TASK_ROOT=str(tmp_path)) as (api, process):
        line = await first_line(process)
        (await (await api.take("/runtime/init/error")).complete()).answer(202)
        assert (await process.ended())[0] == 1
    assert "error_type=SystemExit" in line


async def log_of_failure(**env: str) -> tuple[list[dict[str, Any]], str]:
    """The chat's log of a failed invocation, parsed by line and as text."""
    async with runtime("tests.runtime.chat_logging.fails", **env) as (api, process):
        (await (await api.deliver({}, deadline_ms=FOREVER_MS)).complete()).answer(202)
        await api.take("/next")
        process.process.kill()
        _, out = await process.ended()
    return [json.loads(line) for line in out.splitlines()], out


async def test_a_failed_invocation_is_one_log_line_with_id_type_and_stack_but_no_message() -> None:
    [library, failure], out = await log_of_failure(AWS_LAMBDA_LOG_FORMAT="JSON")
    assert (failure["level"], failure["message"], failure["request_id"]) == (
        "ERROR",
        "runtime.invocation_failed",
        "r-1",
    )
    assert (failure["error_type"], failure["caused_by"]) == ("ValueError", ["KeyError"])
    assert failure["stack"][-1].endswith(" in fails")
    assert (library["message"], library["kind"], library["request_id"]) == ("library", "some.library", "r-1")
    assert "what a person wrote" not in out


async def test_a_switch_adds_the_error_message_to_the_log() -> None:
    [_, failure], _ = await log_of_failure(CHAT_RUNTIME_SHOW_ERRORS="1")
    assert failure["reason"] == "not understood: what a person wrote"
    assert "KeyError: 'what a person wrote'" in failure["traceback"]


async def test_a_misspelled_switch_of_the_runtime_is_an_init_error() -> None:
    async with runtime("plain", CHAT_RUNTIME_SIGTRM="1") as (api, process):
        request = await (await api.take("/runtime/init/error")).complete()
        request.answer(202)
        code, _ = await process.ended()
    assert code == 1
    assert "CHAT_RUNTIME_SIGTRM is not a switch of the runtime" in json.loads(request.body)["errorMessage"]


async def test_a_process_not_started_by_lambda_names_the_missing_variables() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "lambda_src.runtime", cwd=ROOT, env={}, stderr=asyncio.subprocess.PIPE
    )
    _, err = await process.communicate()
    assert b"Not started by Lambda: AWS_LAMBDA_RUNTIME_API and _HANDLER missing." in err


async def test_snapstart_runs_the_hooks_in_order_around_the_snapshot() -> None:
    async with runtime("plain", AWS_LAMBDA_INITIALIZATION_TYPE="snap-start", TEST_HOOKS="order") as (api, process):
        restore = await api.take("/runtime/restore/next")
        restore.answer(200, b"{}")
        (await api.take("/next")).drop()
        process.process.terminate()
        _, out = await process.ended()
        assert out.split("\n")[:4] == ["before 2", "before 1", "after 1", "after 2"]
        assert api.connections > 1  # no socket opened before the snapshot is used after it


async def test_a_hook_that_fails_before_the_snapshot_is_an_init_error_and_exits_with_64() -> None:
    async with runtime("plain", AWS_LAMBDA_INITIALIZATION_TYPE="snap-start", TEST_HOOKS="before") as (api, process):
        request = await (await api.take("/runtime/init/error")).complete()
        request.answer(202)
        assert (await process.ended())[0] == 64
    assert request.headers["lambda-runtime-function-error-type"] == "Runtime.BeforeSnapshotError"
    assert json.loads(request.body)["errorMessage"] == "hook"


async def test_a_hook_that_fails_after_the_restore_is_a_restore_error_and_exits_with_65() -> None:
    async with runtime("plain", AWS_LAMBDA_INITIALIZATION_TYPE="snap-start", TEST_HOOKS="after") as (api, process):
        (await api.take("/runtime/restore/next")).answer(200, b"{}")
        request = await (await api.take("/runtime/restore/error")).complete()
        request.answer(202)
        assert (await process.ended())[0] == 65
    assert request.headers["lambda-runtime-function-error-type"] == "Runtime.AfterRestoreError"


async def test_sigterm_runs_lifespan_shutdown() -> None:
    """Lambda sends SIGTERM only if an extension is registered."""
    async with runtime("streaming") as (api, process):
        await api.take("/invocation/next")
        process.process.send_signal(signal.SIGTERM)
        assert await process.ended() == (0, "lifespan.shutdown\n")


async def test_a_failing_runtime_api_ends_the_process_with_1() -> None:
    async with runtime("plain") as (api, process):
        (await api.take("/next")).answer(500, b"{}")
        code, out = await process.ended()
    assert code == 1
    assert "runtime.api_gone" in out
