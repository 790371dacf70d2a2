"""SnapStart: hooks before the snapshot and after the restore, and what the runtime itself renews. Knows no wire.

https://docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-python.html. The registry is snapshot_restore_py's,
which AWS's managed runtime ships; elsewhere one of our own takes its place, so that a handler may always register.
"""

import importlib
import inspect
import random
from collections.abc import Callable
from types import ModuleType
from typing import Any

Hook = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

BEFORE_SNAPSHOT_EXIT = 64  # what the service expects of a runtime whose hook failed
AFTER_RESTORE_EXIT = 65

_before: list[Hook] = []
_after: list[Hook] = []


def before_snapshot(hook: Callable[..., Any]) -> None:
    """Call `hook` (plain or async) when everything is loaded, before the snapshot; the last registered first."""
    before_hooks().append((hook, (), {}))


def after_restore(hook: Callable[..., Any]) -> None:
    """Call `hook` (plain or async) in each restored process, before its first invocation; the first registered first.

    For what must not be shared by processes that come out of one snapshot: connections, credentials, random state.
    """
    after_hooks().append((hook, (), {}))


def before_hooks() -> list[Hook]:
    aws = _aws_registry()
    return _before if aws is None else aws.get_before_snapshot()


def after_hooks() -> list[Hook]:
    aws = _aws_registry()
    return _after if aws is None else aws.get_after_restore()


async def run_before_snapshot() -> None:
    """Last in, first out. Raises what a hook raises; the rest is not run."""
    for hook in reversed(before_hooks()):
        await _call(hook)


async def run_after_restore() -> None:
    """First in, first out, after the runtime's own: a new random state, or all restored processes would throw alike."""
    random.seed()
    for hook in after_hooks():
        await _call(hook)


async def _call(hook: Hook) -> None:
    function, arguments, named = hook
    result = function(*arguments, **named)
    if inspect.isawaitable(result):
        await result


def _aws_registry() -> ModuleType | None:
    """Looked up late: sys.path leads to it only once the runtime has extended it."""
    try:
        return importlib.import_module("snapshot_restore_py")
    except ImportError:
        return None
