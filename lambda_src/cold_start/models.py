"""Libraries full of pydantic models: when their validators are built. That of a model that nothing uses is not."""

from importlib.machinery import SourceFileLoader
from types import ModuleType


class LateModels(SourceFileLoader):
    """Loads a module whose models are built when they are first used."""

    def exec_module(self, module: ModuleType) -> None:
        """importlib's hook."""
        from lambda_src.cold_start.late_building import late_building  # noqa: PLC0415 - it imports pydantic

        with late_building():
            super().exec_module(module)


class SharedModels(SourceFileLoader):
    """Loads a module whose models are parts of many others, and builds each of them: once, not within each of those."""

    def exec_module(self, module: ModuleType) -> None:
        """importlib's hook."""
        super().exec_module(module)
        from pydantic import BaseModel  # noqa: PLC0415 - the module has imported it

        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, BaseModel):
                value.model_rebuild()
