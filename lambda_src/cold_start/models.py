"""Libraries full of pydantic models: when their validators are built. That of a model that nothing uses is not."""

from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from importlib.machinery import SourceFileLoader
from types import ModuleType


class LateModels(SourceFileLoader):
    """Loads a module whose models are built when they are first used."""

    def exec_module(self, module: ModuleType) -> None:
        """importlib's hook."""
        from lambda_src.cold_start.late_building import late_building  # noqa: PLC0415 - it imports pydantic

        with late_building(module.__name__):
            super().exec_module(module)


def build_shared(modules: Iterable[str]) -> None:
    """Build the models that these modules hold: once, not within each model that they are part of.

    One that cannot be built says so where it is used. Not while one of them is imported: building has a lock of its
    own, and whoever holds that may wait for an import.
    """
    from pydantic import BaseModel, PydanticUserError  # noqa: PLC0415 - as above

    for module in modules:
        for value in list(vars(import_module(module)).values()):
            if isinstance(value, type) and issubclass(value, BaseModel) and value is not BaseModel:
                with suppress(PydanticUserError):
                    value.model_rebuild(raise_errors=False)
