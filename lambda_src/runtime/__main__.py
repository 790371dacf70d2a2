"""`python -m lambda_src.runtime`: the composition root of the runtime. Started by lambda_src/bootstrap.

Exit codes: 1 the function cannot start (said through init/error), 64 and 65 a SnapStart hook failed.
"""

import asyncio
import os
import sys
from collections.abc import MutableMapping

from lambda_src.runtime.client import RuntimeClient
from lambda_src.runtime.environment import Environment
from lambda_src.runtime.errors import report_of
from lambda_src.runtime.handler import kind_of, load
from lambda_src.runtime.loop import Loop


def main(env: MutableMapping[str, str]) -> int:
    """Load the handler and serve until the sandbox ends; the exit code of the process."""
    environment = Environment.from_env(env)
    extend_path(environment)
    with asyncio.Runner() as runner:
        asyncio.set_event_loop(runner.get_loop())  # modules that ask for the loop while they are imported get the one
        client = RuntimeClient(environment.api)
        try:
            handler = load(environment.handler, concurrency=environment.concurrency, buffered=environment.buffered)
            runner.run(handler.startup())
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the fence: whatever user code raises here is an init error
            runner.run(client.init_error(report_of(error, kind_of(error))))
            return 1
        runner.run(Loop(handler, environment).serve(client))
    return 0


def extend_path(environment: Environment) -> None:
    """What AWS's bootstrap.py would have put first on sys.path: the function, its layers, AWS's own packages."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    wanted = [environment.task_root, f"/opt/python/lib/{version}/site-packages", "/opt/python", environment.runtime_dir]
    found = [path for path in wanted if path]
    sys.path[:] = found + [path for path in sys.path if path not in found]


if __name__ == "__main__":
    sys.exit(main(os.environ))
