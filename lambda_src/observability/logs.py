"""What is told of a request: an event name and fields, one JSON line. Never what people or models wrote.

Fields are an allow-list: a field that is not named here does not leave, whoever logged it. Metrics are made from the
same lines (METRICS), in CloudWatch's embedded format, so whoever logs an event need know nothing of metrics. Lines of
libraries lose their text: openai's, the agents SDK's and asyncio's quote users.
"""

import json
import logging
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, TextIO

from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

FIELDS = frozenset(
    {"level", "location", "message", "timestamp", "exception_name"}  # powertools' own, less the texts of exceptions
    | {
        "request_id",
        "user",
        "source",
        "operation",
        "status",
        "code",
        "limit",
        "kind",
        "error_type",
        "place",
        "cold_start",
    }
    | {"tool", "action", "server", "hook", "reason", "stack", "caused_by", "waited_s"}
    | {"traceback"}  # of a function that cannot start; of other failures on a laptop only: it has their texts
    | {"assistant", "model", "release", "items", "bytes_in", "bytes_out", "tokens_in", "tokens_cached", "tokens_out"}
    | {"duration_ms", "first_event_ms", "first_token_ms"}
)
NAMESPACE = "chatkit-lambda"
OURS = "lambda_src"
UNKNOWN_KEY = "unknown_key"  # `reason` of a 503 that anybody can cause with a made-up token, so no server error
REQUEST_ID = "aws_request_id"  # the attribute of a record that Lambda's runtimes set, AWS's own and ours

Unit = Literal["Count", "Milliseconds"]
Fields = Mapping[str, Any]


class Metric(NamedTuple):
    """One number for CloudWatch; `kind` is its only dimension beside the service."""

    name: str
    value: float
    unit: Unit = "Count"
    kind: str | None = None


def _of_request(fields: Fields) -> Iterator[Metric]:
    if fields.get("status") == 401:
        yield Metric("Unauthorized", 1)
    if fields.get("status", 0) >= 500 and fields.get("reason") != UNKNOWN_KEY:
        yield Metric("ServerErrors", 1)
    if "limit" in fields:
        yield Metric("QuotaRefusals", 1, kind=fields["limit"])
    if fields.get("cold_start"):
        yield Metric("ColdStarts", 1)
    if fields.get("operation") in ("attachments.create", "attachments.upload") and fields.get("status") == 200:
        yield Metric("Attachments", 1)


def _of_turn(fields: Fields) -> Iterator[Metric]:
    yield Metric("Turns", 1)
    for name, field in (("TimeToFirstEvent", "first_event_ms"), ("TimeToFirstToken", "first_token_ms")):
        if field in fields:
            yield Metric(name, fields[field], "Milliseconds")
    for name, field in (("TokensIn", "tokens_in"), ("TokensOut", "tokens_out")):
        if fields.get(field) is not None:
            yield Metric(name, fields[field])
    counted = [fields[field] for field in ("tokens_in", "tokens_out") if fields.get(field) is not None]
    if counted:
        yield Metric("Tokens", sum(counted))  # what the alarm `spend` compares with the stage's ceiling
    ended = {"stopped": "Stops", "deadline": "DeadlineCuts"}.get(fields.get("kind", ""))
    if ended is not None:
        yield Metric(ended, 1)


METRICS: dict[str, Callable[[Fields], Iterator[Metric]]] = {
    "request": _of_request,
    "turn": _of_turn,
    "quota_struck": lambda fields: iter([Metric("QuotaRefusals", 1, kind=fields.get("limit"))]),
    "run_failed": lambda fields: iter([Metric("ModelErrors", 1, kind=fields.get("error_type"))]),
    "tool_failed": lambda _: iter([Metric("ToolErrors", 1, kind="tool")]),
    "tool_server_failed": lambda _: iter([Metric("ToolErrors", 1, kind="server")]),
    "hook_failed": lambda _: iter([Metric("ToolErrors", 1, kind="hook")]),
    "feedback": lambda fields: iter([Metric("Feedback", fields.get("items", 1), kind=fields.get("kind"))]),
    "unreadable_row": lambda _: iter([Metric("PoisonRows", 1)]),
    "clock_ahead": lambda _: iter([Metric("ClocksAhead", 1)]),
}


class FieldsFormatter(LambdaPowertoolsFormatter):
    """Powertools' JSON line with the request id, less every field that is not in FIELDS."""

    def serialize(self, log: Any) -> str:  # noqa: ANN401 - powertools' LogRecord is a TypedDict that takes no fields of ours
        """The allowed fields of `log` as one line of JSON."""
        request_id = {"request_id": log[REQUEST_ID]} if log.get(REQUEST_ID) else {}
        return super().serialize({name: value for name, value in (request_id | log).items() if name in FIELDS})


class LibraryFormatter(logging.Formatter):
    """Which library had something to say, how bad and where; not what, since that may quote a user or a secret."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON, without the record's text and without its exception's."""
        told: dict[str, object] = {
            "level": record.levelname,
            "message": "library",
            "kind": record.name,
            "place": f"{record.pathname}:{record.lineno}",
        }
        if request_id := getattr(record, REQUEST_ID, ""):
            told["request_id"] = request_id
        if record.exc_info and record.exc_info[0] is not None:
            told["error_type"] = record.exc_info[0].__qualname__
            stack = traceback.extract_tb(record.exc_info[2])
            told["stack"] = [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in stack]
        return json.dumps(told)


class LogFormatter(logging.Formatter):
    """The format of the whole process: our lines with their fields, other people's as `libraries` writes them."""

    def __init__(self, libraries: logging.Formatter) -> None:
        super().__init__()
        self._ours, self._libraries = FieldsFormatter(utc=True), libraries

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        is_ours = record.name == OURS or record.name.startswith(f"{OURS}.")
        return (self._ours if is_ours else self._libraries).format(record)


class MetricsHandler(logging.Handler):
    """Writes the metrics of each log line to `stream`, one line of embedded metrics for each set of dimensions."""

    def __init__(self, stream: TextIO, *, service: str) -> None:
        super().__init__()
        self._stream, self._service = stream, service

    def emit(self, record: logging.LogRecord) -> None:
        """Metrics, if the line is an event that has some."""
        made = METRICS.get(record.msg) if isinstance(record.msg, str) else None
        if made is None:
            return
        by_kind: dict[str | None, list[Metric]] = {}
        for metric in made(vars(record)):
            by_kind.setdefault(metric.kind, []).append(metric)
        for kind, metrics in by_kind.items():
            self._stream.write(self._line(kind, metrics) + "\n")

    def _line(self, kind: str | None, metrics: list[Metric]) -> str:
        from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import (  # noqa: PLC0415 - after the answer
            AmazonCloudWatchEMFProvider,
        )

        emf = AmazonCloudWatchEMFProvider(namespace=NAMESPACE, service=self._service)
        if kind is not None:
            emf.add_dimension("kind", kind)
        for metric in metrics:
            emf.add_metric(metric.name, metric.unit, metric.value)
        return json.dumps(emf.serialize_metric_set())


def configure_logging(
    *,
    root: logging.Logger | None = None,
    quiet: bool = True,
    level: str = "INFO",
    stream: TextIO | None = None,
    service: str = "chat",
) -> None:
    """Write our log lines as JSON to `stream` (stdout); turn ChatKit's own off, since they quote users.

    With `root`, the process is ours: all lines leave through its handlers, which the runtime has set up on Lambda, and
    those of libraries lose their words unless `quiet` is off. Without it, other people's logging stays as it is.
    """
    stream = stream or sys.stdout
    ours = logging.getLogger(OURS)
    if not ours.handlers:
        ours.addHandler(MetricsHandler(stream, service=service))
        if root is None:
            handler = logging.StreamHandler(stream)
            handler.setFormatter(FieldsFormatter(utc=True))
            ours.addHandler(handler)
            ours.propagate = False
    ours.setLevel(level)
    logging.getLogger("chatkit").setLevel(logging.CRITICAL + 1)
    if root is not None:
        if not root.handlers:
            root.addHandler(logging.StreamHandler(stream))
        for one in root.handlers:
            one.setFormatter(LogFormatter(LibraryFormatter() if quiet or one.formatter is None else one.formatter))
        logging.captureWarnings(True)


def count_row(what: Literal["unreadable_row", "clock_ahead"]) -> None:
    """The store's Count: one log line, and so one metric."""
    logging.getLogger(f"{OURS}.store").warning(what)
