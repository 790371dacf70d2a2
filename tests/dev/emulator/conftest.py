"""The fixture that users of the project import, imported as they do it."""

from lambda_src.dev.emulator.pytest_plugin import emulate

__all__ = ["emulate"]
