"""SnapStart: runs the hooks before the snapshot and after the restore. Knows no wire.

https://docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-python.html. Hooks are registered with
snapshot_restore_py, which AWS's managed runtime ships; they may also be coroutine functions here.
"""

import importlib
import inspect
import random
from collections.abc import Callable, Iterable
from typing import Any

Hook = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

BEFORE_SNAPSHOT_EXIT = 64  # Lambda expects these exit codes of a runtime whose hook failed
AFTER_RESTORE_EXIT = 65


async def run_before_snapshot() -> None:
    """Run the hooks, the last registered first. Raises what a hook raises; the rest is not run."""
    await _run(reversed(_hooks("get_before_snapshot")))


async def run_after_restore() -> None:
    """Run the hooks, the first registered first, after a new random seed: restored processes would share the old."""
    random.seed()
    await _run(_hooks("get_after_restore"))


async def _run(hooks: Iterable[Hook]) -> None:
    for function, arguments, named in hooks:
        result = function(*arguments, **named)
        if inspect.isawaitable(result):
            await result


def _hooks(getter: str) -> list[Hook]:
    """Imports the registry late: only the runtime's own sys.path leads to it. Without it nothing was registered."""
    try:
        registry = importlib.import_module("snapshot_restore_py")
    except ImportError:
        return []
    hooks: list[Hook] = getattr(registry, getter)()
    return hooks
