"""A handler module whose import is slow unless the file named by STARTED exists; the first import creates the file."""

import os
import time
from pathlib import Path
from typing import Any

from tests.runtime.apps import Answers

marker = os.environ.get("STARTED")
if marker is None or not Path(marker).exists():
    if marker is not None:
        Path(marker).touch()
    time.sleep(600)


@Answers
def handler(event: Any, context: Any) -> str:
    return "up"
