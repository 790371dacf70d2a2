"""Lets another loader run some modules. Knows no package and no shortcut.

importlib finds the module; only one of plain source, with its bytecode or without, gets the other loader. That is
importlib's own for such modules and a little more, so that who asks a module for its source or its files is answered.
"""

from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType


class Finder(MetaPathFinder):
    """For sys.meta_path: the modules that `chosen` says yes to are run by `loader`."""

    def __init__(self, loader: type[SourceFileLoader], chosen: Callable[[str], bool]) -> None:
        self._loader, self._chosen = loader, chosen

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """importlib's hook: None leaves the module to the finders that follow."""
        if not self._chosen(fullname):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or type(spec.loader) is not SourceFileLoader:
            return None
        spec.loader = self._loader(fullname, spec.loader.path)
        return spec
