"""A pytest fixture that serves your handler as Lambda would. In a conftest.py of yours:

    pytest_plugins = ["lambda_src.dev.emulator.pytest_plugin"]

    async def test_my_app(emulate):
        emulator = await emulate("my.module.handler", processes=1, timeout_s=3)
        ...  # any HTTP client, at emulator.url; what the processes print is in emulator.printed

Needs pytest-asyncio. Knows no more of your project than the name of the handler.
"""

import io
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest_asyncio

from lambda_src.dev.emulator.emulator import Emulator
from lambda_src.dev.emulator.switches import Switches


class Printing(Emulator):
    """An Emulator that keeps what its processes print."""

    def __init__(self, handler: str, **arguments: Any) -> None:  # noqa: ANN401 - Emulator's own
        self._printed = io.StringIO()
        super().__init__(handler, output=self._printed, **arguments)

    @property
    def printed(self) -> str:
        return self._printed.getvalue()


class Emulate(Protocol):
    """Starts an emulator for `handler`; keywords other than these two are fields of Switches."""

    def __call__(
        self,
        handler: str,
        *,
        env: Mapping[str, str] | None = None,
        task_root: Path | None = None,
        **switches: Any,  # noqa: ANN401 - a field of Switches each
    ) -> Awaitable[Printing]: ...


@pytest_asyncio.fixture
async def emulate() -> AsyncIterator[Emulate]:
    """Start emulators; all of them, and their processes, end with the test."""
    async with AsyncExitStack() as stack:

        async def start(
            handler: str,
            *,
            env: Mapping[str, str] | None = None,
            task_root: Path | None = None,
            **switches: Any,  # noqa: ANN401 - a field of Switches each
        ) -> Printing:
            emulator = Printing(handler, env=env, task_root=task_root, switches=Switches(**switches))
            return await stack.enter_async_context(emulator)

        yield start
