"""What is told of a request: an event name and fields, one JSON line. Never what people or models wrote.

Fields are an allow-list: a field that is not named here does not leave, whoever logged it.
"""

import logging
import sys
from typing import Any, TextIO

from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

FIELDS = frozenset(
    {"level", "location", "message", "timestamp", "exception_name"}  # powertools' own, less the texts of exceptions
    | {"request_id", "operation", "status", "duration_ms", "error_type", "place", "kind", "items"}
)


class FieldsFormatter(LambdaPowertoolsFormatter):
    """Powertools' JSON line, less every field that is not in FIELDS."""

    def serialize(self, log: Any) -> str:  # noqa: ANN401 - powertools' LogRecord is a TypedDict that takes no fields of ours
        """The allowed fields of `log` as one line of JSON."""
        return super().serialize({name: value for name, value in log.items() if name in FIELDS})


def configure_logging(*, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Our loggers to `stream` (stdout) as JSON; ChatKit's own off: it logs exceptions whole, and they quote users."""
    ours = logging.getLogger("lambda_src")
    if not ours.handlers:
        handler = logging.StreamHandler(stream or sys.stdout)
        handler.setFormatter(FieldsFormatter(utc=True))
        ours.addHandler(handler)
        ours.propagate = False
    ours.setLevel(level)
    logging.getLogger("chatkit").setLevel(logging.CRITICAL + 1)
