"""The `emulate` fixture, imported the way users of the project import it."""

from lambda_src.dev.emulator.pytest_plugin import emulate

__all__ = ["emulate"]
