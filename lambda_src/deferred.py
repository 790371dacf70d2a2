"""A package whose own body runs when it is first used, not when something below it is imported. Knows no package.

The Agents SDK imports `mcp.shared.exceptions` for one exception class, and with it runs `mcp/__init__.py`: client,
server and web server, a third of all import time, for an agent that has no MCP server. importlib's own LazyLoader
cannot do this: to import a submodule is to look up its package's `__path__`, and that already wakes it.
"""

import importlib.util
import sys
import threading
from types import ModuleType


class _Deferred(ModuleType):
    """A package without what its body defines: the first name that is missing runs the body, and is looked up anew."""

    def __getattr__(self, name: str) -> object:
        body: _Body = self.__dict__["__spec__"].loader_state
        body.run(self)
        try:
            return self.__dict__[name]
        except KeyError:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name, obj=self) from None


class _Body:
    """What is still to be run, once. Whoever comes meanwhile waits, as for any import; the body itself does not."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._running = False

    def run(self, module: ModuleType) -> None:
        with self._lock:
            if self._running or type(module) is not _Deferred:
                return
            spec = module.__spec__
            assert spec is not None
            assert spec.loader is not None
            self._running = True
            try:
                spec.loader.exec_module(module)
                module.__class__ = ModuleType  # type: ignore[assignment]  # from here on nothing of ours stands in the way
            finally:
                self._running = False


def defer(package: str) -> bool:
    """Let `package` run its body on first use; False when it is not installed, or was imported already."""
    if package in sys.modules or (spec := importlib.util.find_spec(package)) is None or spec.loader is None:
        return False
    spec.loader_state = _Body()
    module = _Deferred(package)
    module.__spec__, module.__loader__, module.__package__ = spec, spec.loader, package
    module.__path__ = spec.submodule_search_locations or []
    module.__file__ = spec.origin
    sys.modules[package] = module
    return True
