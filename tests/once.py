"""Work that each worker of a test run needs, done by the first and shared through a file: a built page, templates."""

import fcntl
import os
from collections.abc import Callable

import pytest


def once(folders: pytest.TempPathFactory, name: str, make: Callable[[], str]) -> str:
    """The text that `make` returns. It is called once per run and name; other workers wait for its result."""
    folder = folders.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # each worker has a folder in that of the run
    with (folder / f"once-{name}").open("a+", encoding="utf-8") as shared:
        fcntl.flock(shared, fcntl.LOCK_EX)
        shared.seek(0)
        text = shared.read()
        if not text:
            text = make()
            shared.write(text)
    return text
