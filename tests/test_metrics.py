"""The metrics that infra/ shows and warns of are those that lambda_src/ emits, though neither imports the other."""

import json
import logging
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

from infra.monitoring import function_metrics
from lambda_src.observability import logs

ROOT = Path(__file__).parents[1]


def _metrics(value: Any) -> Iterator[tuple[str, frozenset[str]]]:
    """(name, dimensions) of each metric of the function's own in a template: of alarms, of graphs, of searches."""
    match value:
        case {"Namespace": function_metrics.NAMESPACE, "MetricName": str(name), "Dimensions": dimensions}:
            yield name, frozenset(one["Name"] for one in dimensions)
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


def _emitted() -> set[tuple[str, frozenset[str]]]:
    """(name, dimensions) of each metric that some log line becomes."""
    fields: list[dict[str, Any]] = [
        {"status": 401, "limit": "day", "cold_start": True, "items": 2},
        {"status": 503},
        {"operation": "attachments.create", "status": 200, "kind": "stopped", "error_type": "E"},
        {"first_event_ms": 1, "first_token_ms": 2, "tokens_in": 3, "tokens_out": 4, "kind": "deadline"},
    ]
    told = StringIO()
    handler = logs.MetricsHandler(told, service="chat")
    for event in logs.METRICS:
        for one in fields:
            handler.emit(logging.makeLogRecord({"msg": event, **one}))
    return {
        (metric["Name"], frozenset(dimensions))
        for line in told.getvalue().splitlines()
        for directive in json.loads(line)["_aws"]["CloudWatchMetrics"]
        for dimensions in directive["Dimensions"]
        for metric in directive["Metrics"]
        if directive["Namespace"] == function_metrics.NAMESPACE
    }


def test_alarms_and_graphs_show_metrics_that_the_function_emits_and_all_of_them() -> None:
    template = json.loads((ROOT / "tests/infra/snapshots/full.json").read_text(encoding="utf-8"))
    shown = {*_metrics(template)}
    assert shown <= _emitted()
    assert {name for name, _ in _emitted()} - {name for name, _ in shown} == {"Attachments"}
