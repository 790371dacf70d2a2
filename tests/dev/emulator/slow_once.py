"""A module that loads quickly only when the file that STARTED names exists; the first load makes it."""

import os
import time
from pathlib import Path
from typing import Any

from tests.runtime.apps import Answers

mark = os.environ.get("STARTED")
if mark is None or not Path(mark).exists():
    if mark is not None:
        Path(mark).touch()
    time.sleep(600)


@Answers
def handler(event: Any, context: Any) -> str:
    return "up"
