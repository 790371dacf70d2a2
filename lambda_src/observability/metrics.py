"""CloudWatch metrics, made from log events and written in the embedded metric format (EMF).

A module that logs an event needs no knowledge of metrics: METRICS says which events become which numbers.
Format: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, TextIO

NAMESPACE = "chatkit-lambda"
UNKNOWN_KEY = "unknown_key"  # `reason` of a 503 that anybody can cause with a made-up token, so no server error
NONE = "none"  # a dimension's value may not be empty: the assistant without a name, a turn that no model answered
MAX_DIMENSION_CHARS = 1024  # CloudWatch's limit for a dimension's value, which must be ASCII

Unit = Literal["Count", "Milliseconds"]
Fields = Mapping[str, Any]


Dimensions = tuple[tuple[str, str], ...]
"""Names and values of dimensions."""


class Metric(NamedTuple):
    """One number for CloudWatch. Its dimensions are the service and `more`."""

    name: str
    value: float
    unit: Unit = "Count"
    more: Dimensions = ()


def _of_kind(name: str, kind: object, value: float = 1) -> Metric:
    return Metric(name, value, more=(("kind", str(kind)),) if kind else ())


def _of_request(fields: Fields) -> Iterator[Metric]:
    if fields.get("status") == 401:
        yield Metric("Unauthorized", 1)
    if fields.get("status", 0) >= 500 and fields.get("reason") != UNKNOWN_KEY:
        yield Metric("ServerErrors", 1)
    if "limit" in fields:
        yield _of_kind("QuotaRefusals", fields["limit"])
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
        yield Metric("Tokens", sum(counted))  # the alarm `spend` compares this with the stage's limit
    ended = {"stopped": "Stops", "deadline": "DeadlineCuts"}.get(fields.get("kind", ""))
    if ended is not None:
        yield Metric(ended, 1)
    if fields.get("by_model"):  # the stage counts its usage: each metric of a model costs
        source = tuple((name, fields.get(name) or NONE) for name in ("assistant", "model", "release"))
        for name, field in (("TokensIn", "tokens_in"), ("TokensCached", "tokens_cached"), ("TokensOut", "tokens_out")):
            if fields.get(field) is not None:
                yield Metric(name, fields[field], more=source)


METRICS: dict[str, Callable[[Fields], Iterator[Metric]]] = {
    "request": _of_request,
    "turn": _of_turn,
    "quota_struck": lambda fields: iter([_of_kind("QuotaRefusals", fields.get("limit"))]),
    "run_failed": lambda fields: iter([_of_kind("ModelErrors", fields.get("error_type"))]),
    "tool_failed": lambda _: iter([_of_kind("ToolErrors", "tool")]),
    "tool_server_failed": lambda _: iter([_of_kind("ToolErrors", "server")]),
    "hook_failed": lambda _: iter([_of_kind("ToolErrors", "hook")]),
    "feedback": lambda fields: iter([_of_kind("Feedback", fields.get("kind"), fields.get("items", 1))]),
    "operator_access": lambda _: iter([Metric("OperatorAccesses", 1)]),
    "handoff_requested": lambda _: iter([Metric("Handoffs", 1)]),
    "handoff_unanswered": lambda _: iter([Metric("HandoffsUnanswered", 1)]),
    "event_not_sent": lambda _: iter([Metric("EventsNotSent", 1)]),
    "unreadable_row": lambda _: iter([Metric("PoisonRows", 1)]),
    "clock_ahead": lambda _: iter([Metric("ClocksAhead", 1)]),
}


class MetricsHandler(logging.Handler):
    """Writes the metrics of each log event to `stream`: one EMF line for each set of dimensions."""

    def __init__(self, stream: TextIO, *, service: str) -> None:
        super().__init__()
        self._stream, self._service = stream, service

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's metrics, if its event has any."""
        metrics_of = METRICS.get(record.msg) if isinstance(record.msg, str) else None
        if metrics_of is None:
            return
        grouped: dict[Dimensions, list[Metric]] = {}
        for metric in metrics_of(vars(record)):
            grouped.setdefault(metric.more, []).append(metric)
        for more, metrics in grouped.items():
            dimensions = {"service": self._service, **dict(more)}
            self._stream.write(emf_line(metrics, dimensions=dimensions, at_ms=int(record.created * 1000)) + "\n")


def emf_line(metrics: list[Metric], *, dimensions: Mapping[str, str], at_ms: int) -> str:
    """One EMF document. Each metric's name occurs once; CloudWatch takes at most 100 of them in one document."""
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [list(dimensions)],
        "Metrics": [{"Name": metric.name, "Unit": metric.unit} for metric in metrics],
    }
    members: dict[str, Any] = {"_aws": {"Timestamp": at_ms, "CloudWatchMetrics": [directive]}}
    members |= {name: _dimension(value) for name, value in dimensions.items()}
    return json.dumps(members | {metric.name: [metric.value] for metric in metrics})


def _dimension(value: str) -> str:
    return value.encode("ascii", "backslashreplace").decode()[:MAX_DIMENSION_CHARS]
