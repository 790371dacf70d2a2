"""Agreement between the metrics that lambda_src/ emits and the alarms and graphs of infra/; and the EMF format."""

import json
import logging
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

from infra.monitoring import function_metrics
from lambda_src.observability import metrics

ROOT = Path(__file__).parents[2]


def _metrics(value: Any) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield (name, dimensions) of each metric in the function's namespace that alarms, graphs or searches use."""
    match value:
        case {"Namespace": function_metrics.NAMESPACE, "MetricName": str(name), "Dimensions": dimensions}:
            yield name, frozenset(dimension["Name"] for dimension in dimensions)
        case dict():
            for inner in value.values():
                yield from _metrics(inner)
        case list():
            for inner in value:
                yield from _metrics(inner)
        case str():
            graphed = rf'"{function_metrics.NAMESPACE}","(\w+)"((?:,"\w+","?[^"\]]*"?)*)'
            for name, dimensions in re.findall(graphed, value):
                yield name, frozenset(re.findall(r',"(\w+)",', dimensions))
            for dimensions, name in re.findall(
                rf'{{{function_metrics.NAMESPACE},([\w,]+)}} MetricName=\\+"(\w+)\\+"', value
            ):
                yield name, frozenset(dimensions.split(","))


def _documents(*, service: str = "chat") -> list[dict[str, Any]]:
    """Return an EMF document for each kind of metric that a log event becomes."""
    fields: list[dict[str, Any]] = [
        {"status": 401, "limit": "day", "cold_start": True, "items": 2},
        {"status": 503},
        {"operation": "attachments.create", "status": 200, "kind": "stopped", "error_type": "E"},
        {"first_event_ms": 1, "first_token_ms": 2, "tokens_in": 3, "tokens_out": 4, "kind": "deadline"},
        {"tokens_in": 3, "tokens_cached": 1, "tokens_out": 4, "by_model": True, "assistant": "", "model": None},
    ]
    stream = StringIO()
    handler = metrics.MetricsHandler(stream, service=service)
    for event in metrics.METRICS:
        for extra in fields:
            handler.emit(logging.makeLogRecord({"msg": event, **extra}))
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def _emitted() -> set[tuple[str, frozenset[str]]]:
    """Return (name, dimensions) of each metric that a log event becomes."""
    return {
        (metric["Name"], frozenset(dimensions))
        for document in _documents()
        for directive in document["_aws"]["CloudWatchMetrics"]
        for dimensions in directive["Dimensions"]
        for metric in directive["Metrics"]
        if directive["Namespace"] == function_metrics.NAMESPACE
    }


def test_alarms_and_graphs_use_exactly_the_metrics_that_the_function_emits() -> None:
    template = json.loads((ROOT / "tests/infra/snapshots/full.json").read_text(encoding="utf-8"))
    displayed = {*_metrics(template)}
    assert displayed <= _emitted()
    assert {name for name, _ in _emitted()} - {name for name, _ in displayed} == {"Attachments"}


UNITS = {"Count", "Milliseconds"}  # the ones we use of CloudWatch's MetricDatum


def _faults(document: dict[str, Any]) -> list[str]:
    """Return where a document violates the EMF specification, as paths in its JSON schema."""
    faults: list[str] = []

    def check(holds: object, path: str) -> None:
        if not holds:
            faults.append(path)

    head, targets = document["_aws"], {"_aws"}
    check(type(head["Timestamp"]) is int and head["Timestamp"] > 1_500_000_000_000, "_aws.Timestamp")
    check(len(json.dumps(document)) <= 1_000_000, "size")
    check(head["CloudWatchMetrics"], "CloudWatchMetrics")
    for directive in head["CloudWatchMetrics"]:
        check(set(directive) == {"Namespace", "Dimensions", "Metrics"}, "MetricDirective")
        check(1 <= len(directive["Namespace"]) <= 1024, "Namespace")
        check(directive["Dimensions"], "Dimensions")
        for dimensions in directive["Dimensions"]:
            check(len(dimensions) <= 30, "DimensionSet")
            for name in dimensions:
                check(1 <= len(name) <= 250 and not name.startswith(":"), f"DimensionReference {name}")
                value = document[name]
                check(isinstance(value, str) and value.isascii() and 1 <= len(value) <= 1024, f"dimension {name}")
        names = [metric["Name"] for metric in directive["Metrics"]]
        check(1 <= len(names) <= 100 and len(set(names)) == len(names), "Metrics")
        for metric in directive["Metrics"]:
            check(metric["Unit"] in UNITS, f"Unit of {metric['Name']}")
            values = document[metric["Name"]]
            check(isinstance(values, list) and 1 <= len(values) <= 100, f"values of {metric['Name']}")
            check(all(type(value) in (int, float) for value in values), f"numbers of {metric['Name']}")
        targets.update(names, *directive["Dimensions"])
    check(set(document) == targets, "members")
    return faults


def test_every_metric_is_a_valid_emf_document() -> None:
    documents = _documents()
    assert len(documents) >= len(metrics.METRICS)
    assert [fault for document in documents for fault in _faults(document)] == []


def test_a_dimension_that_cloudwatch_would_reject_is_escaped_and_truncated() -> None:
    """An exception class may have any name, and CloudWatch drops documents with non-ASCII dimensions."""
    stream = StringIO()
    handler = metrics.MetricsHandler(stream, service="chat")
    for name in ("Ошибка", "E" * 2_000, ""):
        handler.emit(logging.makeLogRecord({"msg": "run_failed", "error_type": name}))
    documents = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [fault for document in documents for fault in _faults(document)] == []
    assert [document.get("kind", "")[:6] for document in documents] == ["\\u041e", "EEEEEE", ""]
