"""Lazy imports: packages that only re-export names import a submodule when one of its names is used.

`import openai`, `import agents` and `import jwt` run hundreds of modules, most of them for names that a chat never
uses: a third of a cold start. Built on importlib's public hooks; no library is patched. What can be imported, and what
it is, stays the same; docs/explanation/speed.md says what it saves.

Two kinds of package:

* RE_EXPORTING: the body is nothing but `from .module import Name`. Each name is imported when it is asked for.
* DEFERRED: the package's modules import each other in circles, so their order matters, or the body does more. The whole
  body runs, in its own order, when anything of the package is used except the listed modules.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import find_spec
from types import CodeType, ModuleType

RE_EXPORTING = frozenset(
    {
        "jwt",  # its client for key sets is not used
        "openai.lib",
        "openai.lib._parsing",
        "openai.types",
        "openai.types.beta",
        "openai.types.chat",
        "openai.types.graders",
        "openai.types.realtime",
        "openai.types.responses",
        "openai.types.shared",
        "openai.types.shared_params",
    }
)
DEFERRED: Mapping[str, frozenset[str]] = {
    # The Agents SDK imports mcp.shared.exceptions for one class, and needs neither mcp's client nor its web server.
    "mcp": frozenset({"mcp.shared", "mcp.shared.exceptions"}),
    "cryptography.x509": frozenset(),  # PyJWT imports it for keys in certificates, which our tokens never have
}
BODY = "_deferred_body"  # the submodule whose import runs a deferred body: importlib's locks then apply to it


def install(re_exporting: frozenset[str] = RE_EXPORTING, deferred: Mapping[str, frozenset[str]] = DEFERRED) -> None:
    """Import these packages lazily from here on; a second call changes nothing."""
    if any(isinstance(finder, LazyPackageFinder) for finder in sys.meta_path):
        return
    # Right before importlib's path finder: import hooks of others (tracers, for instance) come first and see all.
    at = sys.meta_path.index(PathFinder) if PathFinder in sys.meta_path else len(sys.meta_path)
    sys.meta_path.insert(at, LazyPackageFinder(re_exporting, deferred))


class LazyPackageFinder(MetaPathFinder):
    """Lets the other finders find a module; a plain source file of a lazy package gets a loader of ours."""

    def __init__(self, re_exporting: frozenset[str], deferred: Mapping[str, frozenset[str]]) -> None:
        self._re_exporting, self._deferred = re_exporting, deferred

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """importlib's hook: None leaves the module to the finders that follow."""
        for root in self._deferred:
            if fullname == root or fullname.startswith(f"{root}."):
                return self._deferred_spec(root, fullname, path, target)
        if fullname in self._re_exporting:
            return self._found_by_others(_ReExportingLoader, fullname, path, target)
        return None

    def _deferred_spec(
        self, root: str, fullname: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> ModuleSpec | None:
        if fullname == f"{root}.{BODY}":
            return ModuleSpec(fullname, _BodyLoader(sys.modules[root]))
        loader: Callable[[str, str], SourceFileLoader] = _DeferringLoader
        if fullname != root:
            loader = partial(_ExemptLoader if fullname in self._deferred[root] else _AfterBodyLoader, root)
        return self._found_by_others(loader, fullname, path, target)

    def _found_by_others(
        self,
        loader: Callable[[str, str], SourceFileLoader],
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None,
    ) -> ModuleSpec | None:
        for finder in sys.meta_path[sys.meta_path.index(self) + 1 :]:
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                if type(spec.loader) is SourceFileLoader:
                    spec.loader = spec.loader_state = loader(fullname, spec.loader.path)  # a hook may wrap the loader
                return spec
        return None


_own_dict: Callable[[ModuleType], dict[str, object]] = vars(ModuleType)["__dict__"].__get__


class _DeferringLoader(SourceFileLoader):
    """Loads a package without running its body."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """importlib's hook."""
        return _DeferredPackage(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """importlib's hook; a reload runs the body at once."""
        if f"{module.__name__}.{BODY}" in sys.modules:
            self.run(module)

    def run(self, package: ModuleType) -> None:
        """Run the body in the package's namespace."""
        code = self.get_code(package.__name__)
        assert code is not None
        exec(code, _own_dict(package))  # noqa: S102 - as importlib does; it would ask the package for its `__dict__`


class _BodyLoader(Loader):
    """Loads the pseudo module BODY of a package: runs the package's body."""

    def __init__(self, package: ModuleType) -> None:
        self._package = package

    def exec_module(self, module: ModuleType) -> None:
        """importlib's hook. When the body fails, importlib forgets the pseudo module and the next use tries again."""
        assert self._package.__spec__ is not None
        self._package.__spec__.loader_state.run(self._package)
        self._package.__class__ = ModuleType  # from here on it is an ordinary package


class _DeferredPackage(ModuleType):
    """A package whose body runs when somebody asks for a name, or for its `__dict__`, as dir() and vars() do."""

    def __getattr__(self, name: str) -> object:
        if not _is_special(name):
            _run_body(self.__name__)
            if name in (own := _own_dict(self)):
                return own[name]
        raise _no_attribute(self, name)

    def __setattr__(self, name: str, value: object) -> None:
        is_submodule = (
            isinstance(value, ModuleType) and value.__name__ == f"{self.__name__}.{name}"
        )  # import sets those
        if not (_is_special(name) or is_submodule):
            _run_body(self.__name__)  # or the body would overwrite the value later
        ModuleType.__setattr__(self, name, value)  # of an ordinary module, once the body has run

    @property
    def __dict__(self) -> dict[str, object]:  # type: ignore[override]
        _run_body(self.__name__)
        return _own_dict(self)


class _PartLoader(SourceFileLoader):
    """Loads a module of the deferred package `root`."""

    def __init__(self, root: str, fullname: str, path: str) -> None:
        super().__init__(fullname, path)
        self.root = root


class _ExemptLoader(_PartLoader):
    """Loads a module of a deferred package without the package's body."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """importlib's hook."""
        return _ExemptModule(spec.name)


class _ExemptModule(ModuleType):
    """A module that was imported before its package's body ran: what it lacks, the body may bring (submodules)."""

    def __getattr__(self, name: str) -> object:
        if not _is_special(name):
            assert self.__spec__ is not None
            root: str = self.__spec__.loader_state.root
            if f"{root}.{BODY}" not in sys.modules:
                _run_body(root)
                if name in (own := _own_dict(self)):
                    return own[name]
        raise _no_attribute(self, name)


class _AfterBodyLoader(_PartLoader):
    """Loads any other module of a deferred package: after the package's body, as Python itself would."""

    _already: ModuleType | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """importlib's hook: the module that the body has just imported, if it did."""
        _run_body(self.root)
        self._already = sys.modules.get(spec.name)
        return self._already

    def exec_module(self, module: ModuleType) -> None:
        """importlib's hook."""
        if self._already is not module:
            super().exec_module(module)
        self._already = None  # a reload runs it again


def _run_body(package: str) -> None:
    """Run the package's body unless that was done; another thread that is running it is waited for, as by an import."""
    __import__(f"{package}.{BODY}")
    _own_dict(sys.modules[package]).pop(BODY, None)  # importing it made it an attribute


class _ReExportingLoader(SourceFileLoader):
    """Loads a package without the submodules whose names it re-exports."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """importlib's hook."""
        return _ReExportingPackage(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """importlib's hook: note the names; a body that does more than re-export runs as it is."""
        code = self.get_code(module.__name__) if type(module) is _ReExportingPackage else None
        noted = None if code is None else _re_exports(code, module.__name__)
        if noted is None:
            module.__class__ = ModuleType
            super().exec_module(module)
            return
        names, own = noted
        for name in names:  # those of before a reload
            _own_dict(module).pop(name, None)
        assert module.__spec__ is not None
        module.__spec__.loader_state = names
        _own_dict(module).update(own)


class _ReExportingPackage(ModuleType):
    """A package that imports a name when it is asked for; all of them when asked for its `__dict__`."""

    def __getattr__(self, name: str) -> object:
        if not _is_special(name):
            if (source := _names_of(self).get(name)) is not None:
                return _own_dict(self).setdefault(name, source.imported(self.__name__))
            if _is_module(f"{self.__name__}.{name}"):  # the plain body would have imported it along the way
                return import_module(f"{self.__name__}.{name}")
        raise _no_attribute(self, name)

    @property
    def __dict__(self) -> dict[str, object]:  # type: ignore[override]
        own = _own_dict(self)
        for name, source in _names_of(self).items():
            if name not in own:
                own.setdefault(name, source.imported(self.__name__))
        return own


def _is_special(name: str) -> bool:
    """Whether it is one of Python's own questions (`__path__`, `__wrapped__`), which no body answers."""
    return name.startswith("__")


def _no_attribute(module: ModuleType, name: str) -> AttributeError:
    return AttributeError(f"module {module.__name__!r} has no attribute {name!r}", name=name, obj=module)


def _names_of(package: ModuleType) -> "Mapping[str, _Name]":
    assert package.__spec__ is not None
    names: Mapping[str, _Name] = package.__spec__.loader_state
    return names


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:  # sys.modules holds something without a spec under that name
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
        raise TypeError("A body that branches on what it imports does more than re-export it.")


class _Source:
    """Takes a module's place while a body is inspected: each of its attributes is a _Name."""

    def __init__(self, source: str, level: int) -> None:
        self._source, self._level = source, level

    def __getattr__(self, name: str) -> _Name:
        return _Name(self._source, name, self._level)


def _re_exports(code: CodeType, package: str) -> tuple[Mapping[str, _Name], Mapping[str, object]] | None:
    """The names that a body re-exports, and its dunder assignments (`__all__`); None if it does anything else.

    The body is run once with an import that only notes names: parsing its source would cost more than it saves.
    """

    def note(
        source: str,
        globals_: object = None,
        locals_: object = None,
        names: Sequence[str] | None = None,
        level: int = 0,
    ) -> _Source:
        if not names or "*" in names or (not source and level != 1):
            raise TypeError("import x, from x import *, from .. import x")
        return _Source(source, level)

    namespace: dict[str, object] = {"__builtins__": {"__import__": note}, "__name__": ""}
    try:
        exec(code, namespace)  # noqa: S102 - a library's own body; without builtins it can do nothing but import
    except Exception:  # noqa: BLE001 - whatever else it does, the plain path will do it
        return None
    del namespace["__builtins__"], namespace["__name__"]
    names = {name: value for name, value in namespace.items() if isinstance(value, _Name)}
    own = {name: value for name, value in namespace.items() if name not in names}
    if any(not name.startswith("__") or not isinstance(value, str | list | tuple) for name, value in own.items()):
        return None
    sources = {name.source if name.level else name.source.removeprefix(f"{package}.") for name in names.values()}
    modules = {source.partition(".")[0] for source in sources}
    return None if modules & names.keys() else (names, own)  # a submodule's name that is rebound to something else
