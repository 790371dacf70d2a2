"""What happened, line by line, and the digest of it."""

import hashlib
import json
import logging
from collections import deque

from tests.simulation.sources import MACHINE, SECOND, START_NS, Sources

LAST = 50


class Trace:
    """Every event of a simulation; keeps the last 50, or all with `is_whole`."""

    def __init__(self, sources: Sources, *, is_whole: bool = False) -> None:
        self._sources = sources
        self._digest = hashlib.sha256()
        self.lines: deque[str] = deque(maxlen=None if is_whole else LAST)
        self.count = 0

    def add(self, what: str, *details: object) -> None:
        """Record an event."""
        machine = MACHINE.get()
        seconds = (self._sources.now_ns - START_NS) / SECOND
        line = f"{seconds:12.6f} {machine.name if machine else 'world':8} {what} {' '.join(map(str, details))}".rstrip()
        self._digest.update(line.encode(errors="backslashreplace") + b"\n")
        self.lines.append(line)
        self.count += 1

    def record_logs(self) -> None:
        """The product's log lines become events."""
        logger = logging.getLogger("lambda_src")
        logger.handlers, logger.propagate = [_Handler(self)], False
        logger.setLevel(logging.INFO)
        logging.getLogger("openai.agents").setLevel(logging.CRITICAL)

    @property
    def now_ns(self) -> int:
        """The time of the world, epoch nanoseconds."""
        return self._sources.now_ns

    @property
    def digest(self) -> str:
        """The same for the same events."""
        return self._digest.hexdigest()


class _Handler(logging.Handler):
    """Adds log lines to a trace, with those of their fields that say what went wrong."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self._trace = trace

    def emit(self, record: logging.LogRecord) -> None:
        fields = {
            name: vars(record)[name]
            for name in ("code", "error_type", "kind", "operation", "status")
            if vars(record).get(name) is not None
        }
        self._trace.add("log", record.levelname, record.getMessage(), json.dumps(fields, default=str))
