"""SnapStart: runs the hooks before the snapshot and after the restore. Knows no wire.

https://docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-python.html. Hooks are registered with
snapshot_restore_py, which AWS's managed runtime ships; they may also be coroutine functions here.
"""

import importlib
import inspect
import random
from collections.abc import Callable
from types import ModuleType
from typing import Any

Hook = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

BEFORE_SNAPSHOT_EXIT = 64  # Lambda expects these exit codes of a runtime whose hook failed
AFTER_RESTORE_EXIT = 65


async def run_before_snapshot() -> None:
    """The last registered first. Raises what a hook raises; the rest is not run."""
    registry = _registry()
    hooks: list[Hook] = [] if registry is None else registry.get_before_snapshot()
    for hook in reversed(hooks):
        await _call(hook)


async def run_after_restore() -> None:
    """Hooks, the first registered first, after a new random seed: restored processes would share the old one."""
    random.seed()
    registry = _registry()
    hooks: list[Hook] = [] if registry is None else registry.get_after_restore()
    for hook in hooks:
        await _call(hook)


async def _call(hook: Hook) -> None:
    function, arguments, named = hook
    result = function(*arguments, **named)
    if inspect.isawaitable(result):
        await result


def _registry() -> ModuleType | None:
    """Looked up late: sys.path leads to it only once the runtime has extended it. None: nothing was registered."""
    try:
        return importlib.import_module("snapshot_restore_py")
    except ImportError:
        return None
