"""What pydantic calls `defer_build`, for all that is defined meanwhile: models inherit it, a TypeAdapter is told.

Such a model is used as any other; one that cannot be built says so at its first use. Imports pydantic: import it late.
"""

import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any, ForwardRef, get_args

from pydantic import BaseModel, ConfigDict, PydanticUserError, TypeAdapter

LATE = ConfigDict(defer_build=True)

_usual_config, _usual_init = BaseModel.model_config, TypeAdapter.__init__
_usual_rebuild = vars(BaseModel).get("model_rebuild")
_lock = threading.Lock()
_within: set[str] = set()  # the modules that are being run so: they import each other, and from several threads


def _fits() -> bool:
    """Whether pydantic still is what the functions below stand in for; else models are built as ever."""
    taken = getattr(getattr(_usual_rebuild, "__func__", None), "__code__", None), _usual_init.__code__
    return all(
        code is not None and name in code.co_varnames
        for code, name in zip(taken, ("_parent_namespace_depth", "_parent_depth"), strict=True)
    )


@contextmanager
def late_building(module: str) -> Generator[None]:
    """While it runs, what `module` defines is built late.

    So are models that others define meanwhile, which pydantic's setting cannot tell apart: those that `module` imports,
    those of another thread.
    """
    if not _fits():
        yield
        return
    _let(_within.add, module)
    try:
        yield
    finally:
        _let(_within.remove, module)


def _let(change: Callable[[str], None], module: str) -> None:
    with _lock:
        change(module)
        BaseModel.model_config = LATE if _within else _usual_config
        TypeAdapter.__init__ = _late_init if _within else _usual_init  # type: ignore[assignment, method-assign]
        rebuild = classmethod(_late_rebuild) if _within else _usual_rebuild
        BaseModel.model_rebuild = rebuild  # type: ignore[assignment, method-assign]


def _late_init(adapter: TypeAdapter[Any], type: Any, **given: Any) -> None:  # noqa: A002, ANN401 - pydantic's own
    """A TypeAdapter's, which builds late unless its maker has configured it, or has names that it looks up here."""
    maker = sys._getframe(1).f_globals.get("__name__", "")
    _one_frame_more(given, "_parent_depth")
    if maker in _within and not _has_references(type):
        with suppress(PydanticUserError):  # a type with a configuration of its own takes no other
            _usual_init(adapter, type, **{"config": LATE, **given})
            return
    _usual_init(adapter, type, **given)


def _late_rebuild(model: type[BaseModel], /, **given: Any) -> bool | None:  # noqa: ANN401 - pydantic's own
    """A model's, which pydantic asks for of each generic model that is given a type: `Page[Item]` would build `Page`.

    A late one is left to its first use, unless names in its fields are not known yet: who derives from it elsewhere
    could not know them.
    """
    named = sys._getframe(1).f_code.co_name == "__class_getitem__" and not given.get("_types_namespace")
    known = getattr(model, "__pydantic_fields_complete__", False)
    if named and known and model.model_config.get("defer_build"):
        return None
    _one_frame_more(given, "_parent_namespace_depth")
    rebuilt: bool | None = _usual_rebuild.__get__(None, model)(**given)  # type: ignore[union-attr]
    return rebuilt


def _one_frame_more(given: dict[str, Any], depth: str) -> None:
    """Ours stands between pydantic and who asked; 0 is no frame at all."""
    given[depth] = given.get(depth, 2) + (given.get(depth, 2) > 0)


def _has_references(type: Any) -> bool:  # noqa: A002, ANN401 - as above
    return isinstance(type, str | ForwardRef) or any(map(_has_references, get_args(type)))
