"""Packages that only hand on names of their modules: a module is imported when a name of it is asked for, not before.

Such a body is many times `from .module import Name`. It is run once with an import that only notes what is asked of it;
when there is anything else in it, it runs as ever. importlib's LazyLoader cannot do this: to import a submodule is to
look up its package's `__path__`, and that already wakes it.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import find_spec
from types import CodeType, ModuleType

WAIT_S = 10.0  # for another thread to bring all names; it may itself wait for a module that this one is importing


class LateNames(SourceFileLoader):
    """Loads a package without the modules whose names it hands on; each is imported for a name of its own."""

    whole = False

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """importlib's hook."""
        return _Package(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """importlib's hook: note the names, or run the body where there is more in it."""
        code = self.get_code(module.__name__) if type(module) is _Package else None
        noted = None if code is None else _noted(code, module.__name__)
        if noted is None:
            module.__class__ = ModuleType  # nothing of ours stands in the way
            super().exec_module(module)
            return
        names, own = noted
        for name in names:
            with suppress(AttributeError):  # of before a reload
                delattr(module, name)
        assert module.__spec__ is not None
        module.__spec__.loader_state = _Names(names, whole=self.whole)
        for name, value in own.items():
            setattr(module, name, value)


class LateWhole(LateNames):
    """The same for a package whose modules import each other in circles: its first name imports all of them."""

    whole = True


class _Package(ModuleType):
    """A package that gets its names when it is asked for them; all when asked for its `__dict__`, as by dir()."""

    def __getattr__(self, name: str) -> object:
        missing = AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name, obj=self)
        if name.startswith("__"):  # Python's own questions
            raise missing
        noted = _names_of(self)
        if noted.whole:
            try:
                noted.bring_all(self)
            except (AttributeError, ImportError):  # where the module that asks is being imported, and is one of them
                if name not in noted.names:
                    raise
            if name in (own := _own_dict(self)):
                return own[name]
        if name in noted.names:
            return noted.bring(name, self)
        if not noted.whole and _is_module(f"{self.__name__}.{name}"):
            return import_module(f"{self.__name__}.{name}")  # which its body has mostly imported
        raise missing

    @property
    def __dict__(self) -> dict[str, object]:  # type: ignore[override]  # for vars(module), which asks for no name
        _names_of(self).bring_all(self)
        return _own_dict(self)


class _Names:
    """What a package hands on, and the bringing of it."""

    def __init__(self, names: "Mapping[str, _Name]", *, whole: bool) -> None:
        self.names, self.whole = names, whole
        self._lock, self._brought = threading.RLock(), False

    def bring(self, name: str, package: ModuleType) -> object:
        """The value of one name, which is the package's from now on."""
        value = self.names[name].imported(package.__name__)
        setattr(package, name, value)
        return value

    def bring_all(self, package: ModuleType) -> None:
        """Once, by one thread; what has been brought, or set by somebody else, stays. A circle may ask it again.

        Not at all where two threads would wait for each other: then the name that was asked for is brought alone.
        """
        if not self._lock.acquire(timeout=WAIT_S):
            return
        try:
            if self._brought:
                return
            self._brought = True
            own = _own_dict(package)
            try:
                for name in self.names:
                    if name not in own:
                        self.bring(name, package)
            except BaseException:
                self._brought = False
                raise
        finally:
            self._lock.release()


_own_dict: Callable[[ModuleType], dict[str, object]] = vars(ModuleType)["__dict__"].__get__


def _names_of(package: ModuleType) -> _Names:
    assert package.__spec__ is not None
    noted: _Names = package.__spec__.loader_state
    return noted


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:  # something that somebody has put among the modules
        return False


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


def _noted(code: CodeType, package: str) -> tuple[Mapping[str, _Name], Mapping[str, object]] | None:
    """The names that a body hands on, and what else it says of itself (`__all__`); None when it does more than that."""

    def note(
        source: str, of: object = None, local: object = None, names: Sequence[str] | None = None, level: int = 0
    ) -> _Source:
        if not names or "*" in names or (not source and level != 1):
            raise TypeError("import x, from x import *, from .. import x")
        return _Source(source, level)

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
    sources = {one.source if one.level else one.source.removeprefix(f"{package}.") for one in names.values()}
    modules = {source.partition(".")[0] for source in sources}
    return None if modules & names.keys() else (names, own)  # a module's name that comes to mean something else
