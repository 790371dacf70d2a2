"""What pydantic calls `defer_build`, for all that is defined meanwhile: models inherit it, a TypeAdapter is told.

Such a model is used as any other; one that cannot be built says so at its first use. Imports pydantic: import it late.
"""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel, ConfigDict, PydanticUserError, TypeAdapter

LATE = ConfigDict(defer_build=True)

_usual_config, _usual_init = BaseModel.model_config, TypeAdapter.__init__
_lock = threading.Lock()
_within = 0  # modules that are being run so: they import each other, and from several threads


@contextmanager
def late_building() -> Generator[None]:
    """Within, what is defined is built late; by other threads too, for which it works as well."""
    _enter(+1)
    try:
        yield
    finally:
        _enter(-1)


def _enter(step: int) -> None:
    global _within  # it belongs to the process, as what it counts for does
    with _lock:
        _within += step
        BaseModel.model_config = LATE if _within else _usual_config
        TypeAdapter.__init__ = _late_init if _within else _usual_init  # type: ignore[assignment, method-assign]


def _late_init(adapter: TypeAdapter[Any], type: Any, **given: Any) -> None:  # noqa: A002, ANN401 - pydantic's own
    """A TypeAdapter's, which builds late unless its maker has configured it."""
    given["_parent_depth"] = given.get("_parent_depth", 2) + 1  # this frame stands between its maker and pydantic
    try:
        _usual_init(adapter, type, **{"config": LATE, **given})
    except PydanticUserError:  # a type with a configuration of its own takes no other
        _usual_init(adapter, type, **given)
