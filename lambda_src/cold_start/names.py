"""Packages that only hand on names of their modules: a module is imported when a name of it is asked for, not before.

Such a body is many times `from .module import Name`. It is run once with an import that only notes what is asked of it;
when there is anything else in it, it runs as ever. importlib's LazyLoader cannot do this: to import a submodule is to
look up its package's `__path__`, and that already wakes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import find_spec
from types import CodeType, ModuleType


class LateNames(SourceFileLoader):
    """Loads a package without the modules whose names it hands on."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """importlib's hook."""
        return _Package(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """importlib's hook: note the names, or run the body where there is more in it."""
        noted = _noted(self.get_code(module.__name__)) if type(module) is _Package else None
        if noted is None:
            module.__class__ = ModuleType  # nothing of ours stands in the way
            super().exec_module(module)
            return
        names, own = noted
        assert module.__spec__ is not None
        module.__spec__.loader_state = names
        for name, value in own.items():
            setattr(module, name, value)


class _Package(ModuleType):
    """A package that gets each of its names when it is first asked for it; all when asked for its `__dict__`."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):  # Python's own questions
            raise self._missing(name)
        if (promised := self._names().get(name)) is not None:
            value = promised.imported(self.__name__)
            setattr(self, name, value)
            return value
        if find_spec(f"{self.__name__}.{name}") is not None:
            return import_module(f"{self.__name__}.{name}")  # a module of it, which the body has mostly imported
        raise self._missing(name)

    @property
    def __dict__(self) -> dict[str, object]:  # type: ignore[override]  # for vars(module), which asks for no name
        for name in self._names():
            getattr(self, name)
        return super().__dict__

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._names()})

    def _names(self) -> "Mapping[str, _Name]":
        assert self.__spec__ is not None
        names: Mapping[str, _Name] = self.__spec__.loader_state
        return names

    def _missing(self, name: str) -> AttributeError:
        return AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name, obj=self)


@dataclass(frozen=True, slots=True)
class _Name:
    """What `from source import name` binds; `level` is the number of dots before `source`."""

    source: str
    name: str
    level: int

    def imported(self, package: str) -> object:
        if not self.source:
            return import_module(f"{package}.{self.name}")
        return getattr(__import__(self.source, {"__package__": package}, None, (self.name,), self.level), self.name)

    def __bool__(self) -> bool:
        raise TypeError("A body that decides by what it imports does more than hand it on.")


class _Source:
    """Stands for a module while a body is noted: each name of it is a _Name."""

    def __init__(self, source: str, level: int) -> None:
        self._of = source, level

    def __getattr__(self, name: str) -> _Name:
        source, level = self._of
        return _Name(source, name, level)


def _noted(code: CodeType | None) -> tuple[Mapping[str, _Name], Mapping[str, object]] | None:
    """The names that a body hands on, and what else it says of itself (`__all__`); None when it does more than that."""

    def note(
        source: str, of: object = None, local: object = None, names: Sequence[str] | None = None, level: int = 0
    ) -> _Source:
        if not names or "*" in names or (not source and level != 1):
            raise TypeError("import x, from x import *, from .. import x")
        return _Source(source, level)

    if code is None:
        return None
    found: dict[str, object] = {"__builtins__": {"__import__": note}, "__name__": ""}
    try:
        exec(code, found)  # noqa: S102 - a library's own body; without builtins it can do nothing else
    except Exception:  # noqa: BLE001 - whatever it is that it does, the plain path will do it
        return None
    del found["__builtins__"], found["__name__"]
    names = {name: value for name, value in found.items() if isinstance(value, _Name)}
    own = {name: value for name, value in found.items() if name not in names}
    if any(not name.startswith("__") or not isinstance(value, str | list | tuple) for name, value in own.items()):
        return None
    modules = {name.source.partition(".")[0] for name in names.values() if name.level == 1}
    return None if modules & names.keys() else (names, own)  # a module's name that comes to mean something else
