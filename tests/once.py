"""Work that each worker of a test run needs, done by the first and shared through a file: a built page, templates."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def once(folders: pytest.TempPathFactory, name: str, make: Callable[[], str]) -> str:
    """The text that `make` returns. It is called once per run and name; other workers wait for its result."""
    folder = folders.getbasetemp()
    if folder.name == f"popen-{os.environ.get('PYTEST_XDIST_WORKER')}":  # a worker's folder in that of the run
        folder = folder.parent
    with (folder / f"once-{name}").open("a+", encoding="utf-8") as shared:
        fcntl.flock(shared, fcntl.LOCK_EX)
        shared.seek(0)
        text = shared.read()
        if not text:
            text = make()
            shared.write(text)
    return text


@contextmanager
def first_alone(file: Path) -> Iterator[None]:
    """Whoever enters first is alone in the block; the others wait for it, and are then in the block together."""
    with file.open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(lock, fcntl.LOCK_SH)
        yield
