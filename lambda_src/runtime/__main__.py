"""`python -m lambda_src.runtime`: the composition root of the runtime. Started by lambda_src/bootstrap.

Exit codes: 0 after SIGTERM, 1 the function cannot start or the Runtime API is gone, 64 and 65 a SnapStart hook failed.
"""

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import MutableMapping

from lambda_src.runtime import logs, snapstart
from lambda_src.runtime.client import RuntimeClient
from lambda_src.runtime.environment import Environment, check_switches
from lambda_src.runtime.errors import RuntimeApiError, log_fields, report_of
from lambda_src.runtime.loading import kind_of, load
from lambda_src.runtime.protocol import INIT_ERROR_PATH, RESTORE_ERROR_PATH
from lambda_src.runtime.worker import Worker

logger = logging.getLogger("lambda_src.runtime")  # started with -m, so __name__ is "__main__"


def main(env: MutableMapping[str, str]) -> int:
    """Load the handler and serve until the sandbox ends; the exit code of the process."""
    environment = Environment.from_env(env)
    logs.set_up(environment)
    extend_path(environment)
    with asyncio.Runner() as runner:
        asyncio.set_event_loop(runner.get_loop())  # imported modules that ask for the current loop get this one
        client = RuntimeClient(environment.api)
        try:
            check_switches(env)
            # Outside of the running loop: a module may call asyncio.run() while it is imported.
            gc.disable()  # loading makes a heap that stays: collecting it meanwhile is a tenth of the cold start
            handler = load(environment.handler)
            runner.run(handler.startup())
            gc.freeze()
            gc.enable()
        except BaseException as error:  # noqa: BLE001 - the fence: whatever user code raises is an init error
            return runner.run(refuse_to_start(client, error, kind_of(error), exit_code=1))
        if environment.snapstart and (code := runner.run(snapshot_and_restore(client))):
            return code
        worker = Worker(handler, environment, trace_env=env if environment.concurrency == 1 else None)
        return runner.run(serve(worker, client, environment))


async def serve(worker: Worker, client: RuntimeClient, environment: Environment) -> int:
    """Serve until SIGTERM, which Lambda sends where an extension runs; one client for each invocation at a time."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.end)
    try:
        others = (RuntimeClient(environment.api) for _ in range(environment.concurrency - 1))
        await worker.run([client, *others])
    except (OSError, RuntimeApiError) as gone:
        logger.critical("runtime.api_gone", extra=log_fields(gone, with_text=True))
        return 1
    return 0


async def refuse_to_start(
    client: RuntimeClient, error: BaseException, kind: str | None, *, exit_code: int, path: str = INIT_ERROR_PATH
) -> int:
    """Log why the function cannot start, then report it to `path`; the exit code of the process.

    The log gets the whole text of the error: no request was served yet, so it cannot quote one.
    """
    report = report_of(error, kind)
    logger.critical("runtime.cannot_start", extra={"kind": report.kind} | log_fields(error, with_text=True))
    try:
        await client.report(path, report)
    except (OSError, RuntimeApiError) as gone:
        logger.critical("runtime.api_gone", extra=log_fields(gone, with_text=True))
    return exit_code


async def snapshot_and_restore(client: RuntimeClient) -> int:
    """Run the hooks around the snapshot: 0, or the exit code for the hook that failed."""
    try:
        await snapstart.run_before_snapshot()
        await client.restore_next()
    except Exception as error:  # noqa: BLE001 - the fence: a hook is user code, and its failure has a wire of its own
        code = snapstart.BEFORE_SNAPSHOT_EXIT
        return await refuse_to_start(client, error, "Runtime.BeforeSnapshotError", exit_code=code)
    try:
        await snapstart.run_after_restore()
    except Exception as error:  # noqa: BLE001 - as above
        kind, code = "Runtime.AfterRestoreError", snapstart.AFTER_RESTORE_EXIT
        return await refuse_to_start(client, error, kind, exit_code=code, path=RESTORE_ERROR_PATH)
    return 0


def extend_path(environment: Environment) -> None:
    """What AWS's bootstrap.py would have put first on sys.path: the function, its layers, AWS's own packages."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    wanted = [environment.task_root, f"/opt/python/lib/{version}/site-packages", "/opt/python", environment.runtime_dir]
    found = [path for path in wanted if path]
    sys.path[:] = found + [path for path in sys.path if path not in found]


if __name__ == "__main__":
    sys.exit(main(os.environ))
