"""Structured logs: each line is one JSON object with an event name and fields, never content (what people or models
wrote).

FIELDS is an allow-list: a field that is not in it never leaves the process. Lines of libraries lose their text, because
openai's, the Agents SDK's and asyncio's quote users. Metrics are made from the same events: metrics.py.
"""

import json
import logging
import sys
import time
import traceback
from typing import Any, Literal, TextIO

from lambda_src.observability.metrics import MetricsHandler

FIELDS = frozenset(
    {"request_id", "user", "source", "operation", "status", "code", "limit", "kind", "error_type", "place"}
    | {"cold_start", "tool", "action", "server", "hook", "reason", "stack", "caused_by", "waited_s"}
    | {"traceback"}  # only if a function cannot start, and on a laptop: a traceback quotes the exception's text
    | {"assistant", "model", "release", "items", "bytes_in", "bytes_out", "tokens_in", "tokens_cached", "tokens_out"}
    | {"operator", "thread_id"}  # of the operators' accesses
    | {"duration_ms", "first_event_ms", "first_token_ms"}
)
OURS = "lambda_src"
REQUEST_ID = "aws_request_id"  # the attribute of a record that Lambda's runtimes set, both AWS's and ours


class LogFormatter(logging.Formatter):
    """The JSON format of the whole process.

    Our records keep their event name and the fields in FIELDS. Records of libraries are written by `libraries`; without
    it, the line says which library logged what level where, but not its text, which may quote a user or a secret.
    """

    def __init__(self, libraries: logging.Formatter | None = None) -> None:
        super().__init__(datefmt="%Y-%m-%d %H:%M:%S")
        self.converter = time.gmtime
        self._libraries = libraries

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        if record.name == OURS or record.name.startswith(f"{OURS}."):
            fields = self._our_fields(record)
        elif self._libraries is not None:
            return self._libraries.format(record)
        else:
            fields = _library_fields(record)
        present = {name: value for name, value in fields.items() if value is not None}
        return json.dumps(present, default=str, separators=(",", ":"), ensure_ascii=False)

    def _our_fields(self, record: logging.LogRecord) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "request_id": _request_id(record),
            "level": record.levelname,
            "location": f"{record.funcName}:{record.lineno}",
            "message": record.getMessage(),
            "timestamp": f"{self.formatTime(record, self.datefmt)},{int(record.msecs):03d}+0000",
        }
        fields |= {name: value for name, value in vars(record).items() if name in FIELDS}
        if record.exc_info and record.exc_info[0] is not None:
            fields["exception_name"] = record.exc_info[0].__name__
        return fields


def _library_fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "level": record.levelname,
        "message": "library",
        "kind": record.name,
        "place": f"{record.pathname}:{record.lineno}",
        "request_id": _request_id(record),
    }
    if record.exc_info and record.exc_info[0] is not None:
        fields["error_type"] = record.exc_info[0].__qualname__
        frames = traceback.extract_tb(record.exc_info[2])
        fields["stack"] = [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
    return fields


def _request_id(record: logging.LogRecord) -> str | None:
    return getattr(record, REQUEST_ID, None) or None


def configure_logging(
    *,
    root: logging.Logger | None = None,
    quiet: bool = True,
    level: str = "INFO",
    stream: TextIO | None = None,
    service: str = "chat",
) -> None:
    """Write our log lines as JSON to `stream` (stdout), and turn off ChatKit's logger, whose lines quote users.

    Pass `root` if the process is ours: then every line leaves through the root's handlers (Lambda's runtime sets them
    up), and lines of libraries lose their text unless `quiet` is False. Without `root`, no other logging changes.
    """
    stream = stream or sys.stdout
    ours = logging.getLogger(OURS)
    if not ours.handlers:
        ours.addHandler(MetricsHandler(stream, service=service))
        if root is None:
            handler = logging.StreamHandler(stream)
            handler.setFormatter(LogFormatter())
            ours.addHandler(handler)
            ours.propagate = False
    ours.setLevel(level)
    logging.getLogger("chatkit").setLevel(logging.CRITICAL + 1)
    if root is not None:
        if not root.handlers:
            root.addHandler(logging.StreamHandler(stream))
        for target in root.handlers:
            target.setFormatter(LogFormatter(libraries=None if quiet else target.formatter))
        logging.captureWarnings(True)


def count_row(event: Literal["unreadable_row", "clock_ahead"]) -> None:
    """The store's Count: one log line, which becomes one metric."""
    logging.getLogger(f"{OURS}.store").warning(event)
