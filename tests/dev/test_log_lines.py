"""lambda_src/dev/log_lines.py: `make dev` turns the function's JSON log lines into readable ones."""

import io
import json
import logging
from typing import Any

import pytest

from lambda_src.dev.log_lines import Readable, readable
from lambda_src.observability.logs import LogFormatter
from lambda_src.observability.metrics import METRICS, MetricsHandler

TIME = "12:34:56"


def line(event: str, level: int = logging.INFO, **fields: Any) -> str:
    """The line that the function logs for an event."""
    record = logging.LogRecord("lambda_src.x", level, "x.py", 1, event, None, None)
    vars(record).update(fields)
    written = json.loads(LogFormatter().format(record))
    return json.dumps(written | {"timestamp": f"2026-11-22 {TIME},000+0000"})


@pytest.mark.parametrize(
    ("json_line", "expected"),
    [
        (line("request", status=200, operation="threads.list", duration_ms=12, user="u", request_id="r"),
         "200  threads.list  0.01 s"),
        (line("request", status=422, operation="POST /chatkit", duration_ms=3, code="invalid_request"),
         "422  POST /chatkit  0.00 s  (invalid_request)"),
        (line("turn", kind="whole", first_token_ms=150, duration_ms=2500, tokens_in=120, tokens_out=40),
         "     answer: first word after 0.15 s, all after 2.50 s, 120 + 40 tokens"),
        (line("turn", kind="stopped", duration_ms=900), "     answer: all after 0.90 s, stopped"),
        (line("tool_failed", logging.WARNING, tool="look", traceback="Traceback:\n  x\nKeyError\n"),
         "WARNING tool_failed tool=look\nTraceback:\n  x\nKeyError"),
        (line("run_failed", logging.WARNING, error_type="KeyError", place="x.py:3"),
         "WARNING run_failed error_type=KeyError place=x.py:3"),
        (line("feedback", kind="positive", items=1), "feedback items=1 kind=positive"),
    ],
    ids=lambda text: "" if text.startswith("{") else text,
)  # fmt: skip
def test_an_event_is_one_short_line(json_line: str, expected: str) -> None:
    printed = readable(json_line)
    assert printed is not None
    assert sorted(printed.split()) == sorted(f"{TIME}  {expected}".split())


def test_a_failed_start_is_one_line_and_its_traceback() -> None:
    """It is in the runtime's own JSON format, because the handler that configures our logging was not loaded."""
    fields = {"timestamp": "2026-01-02T03:04:05Z", "level": "CRITICAL", "message": "runtime.cannot_start"}
    failure = {"reason": "no table", "stack": ["a.py:1 in f"], "logger": "lambda_src.runtime", "traceback": "Trace\n"}
    assert readable(json.dumps(fields | failure)) == "03:04:05  CRITICAL runtime.cannot_start reason=no table\nTrace"


def test_metrics_are_not_printed() -> None:
    out = io.StringIO()
    record = logging.LogRecord("x", logging.INFO, "x.py", 1, "turn", None, None)
    assert "turn" in METRICS
    MetricsHandler(out, service="chat").emit(record)
    assert readable(out.getvalue().strip()) is None


@pytest.mark.parametrize("text", ["print(1)", "Traceback (most recent call last):", "{not json", '{"own": "json"}', ""])
def test_output_of_the_users_code_is_printed_unchanged(text: str) -> None:
    assert readable(text) == text


def test_a_line_may_arrive_in_pieces() -> None:
    out = io.StringIO()
    log = Readable(out)
    for piece in ("hel", "lo\nwor", "ld\n", '{"_aws": {}}\n', "end"):
        log.write(piece)
    assert out.getvalue() == "hello\nworld\n"
