"""lambda_src/runtime/logs.py: Lambda's text and JSON log formats, levels and frames; the request ID on every line."""

import asyncio
import contextlib
import io
import json
import logging
import os
import sys

import pytest

from lambda_src.runtime import logs
from lambda_src.runtime.asgi import Receive, Scope, Send
from lambda_src.runtime.context import request_id_var
from lambda_src.runtime.environment import Environment
from tests.runtime.apps import body, sends, start
from tests.runtime.serving import serving


def record(level: int = logging.INFO, message: str = "turn.done", **extra: object) -> logging.LogRecord:
    log_record = logging.makeLogRecord({"name": "app", "levelno": level, "levelname": logging.getLevelName(level)})
    log_record.msg, log_record.created, log_record.msecs = message, 1_700_000_000.0, 12.0
    vars(log_record).update(extra)
    return log_record


@pytest.fixture
def request_id() -> object:
    token = request_id_var.set("r-1")
    yield
    request_id_var.reset(token)


@pytest.mark.usefixtures("request_id")
def test_a_text_line_has_lambdas_format_followed_by_the_fields() -> None:
    line = logs.TextFormatter().format(record(items=3))
    assert line == "[INFO]\t2023-11-14T22:13:20.012Z\tr-1\tturn.done items=3"


@pytest.mark.usefixtures("request_id")
def test_a_json_line_has_lambdas_field_names() -> None:
    line = json.loads(logs.JsonFormatter().format(record(items=3)))
    assert line == {
        "timestamp": "2023-11-14T22:13:20Z", "level": "INFO", "message": "turn.done", "logger": "app",
        "requestId": "r-1", "items": 3,
    }  # fmt: skip


def test_a_json_line_of_an_exception_has_its_type_message_location_and_stack() -> None:
    try:
        raise KeyError("k")
    except KeyError:
        log_record = record(logging.ERROR, exc_info=sys.exc_info(), funcName="f", lineno=7, pathname="p.py")
    line = json.loads(logs.JsonFormatter().format(log_record))
    assert (line["errorType"], line["errorMessage"], line["location"]) == ("KeyError", "'k'", "p.py:f:7")
    assert 'raise KeyError("k")' in line["stackTrace"][0]


def test_a_message_that_is_an_object_stays_an_object_in_json() -> None:
    log_record = record()
    log_record.msg = {"event": "x"}
    assert json.loads(logs.JsonFormatter().format(log_record))["message"] == {"event": "x"}


@pytest.mark.parametrize(
    ("level", "as_json", "kind"),
    [
        ("DEBUG", False, 0xA55A000B), ("INFO", False, 0xA55A000F), ("WARNING", False, 0xA55A0013),
        ("ERROR", True, 0xA55A0016), ("CRITICAL", True, 0xA55A001A), ("INFO", True, 0xA55A000E),
        ("NOTSET", False, 0xA55A0003), ("NOTSET", True, 0xA55A0002),
    ],
)  # fmt: skip
def test_a_frame_is_type_length_microseconds_and_payload(level: str, as_json: bool, kind: int) -> None:
    expected = kind.to_bytes(4, "big") + (2).to_bytes(4, "big") + (17).to_bytes(8, "big") + b"hi"
    assert logs.frame(level, b"hi", as_json=as_json, at_us=17) == expected


def test_lines_are_written_as_frames_to_the_telemetry_descriptor() -> None:
    read, write = os.pipe()
    logs.framed(write, as_json=False)("line\nwith another", "INFO")
    os.close(write)
    with os.fdopen(read, "rb") as frames:
        data = frames.read()
    assert (data[:4], data[16:]) == (b"\xa5\x5a\x00\x0f", b"line\nwith another")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (Environment(api="", handler="", log_level="WARN"), "[WARNING]"),
        (Environment(api="", handler="", log_level="WARN", log_format="JSON"), '{"timestamp"'),
        (Environment(api="", handler="", log_level="WARN", concurrency=2), '{"timestamp"'),
    ],
    ids=["text", "json", "managed is json"],
)
def test_the_environment_sets_format_and_level(environment: Environment, expected: str) -> None:
    root = logging.Logger("root")
    with contextlib.redirect_stdout(io.StringIO()) as out:
        logs.set_up(environment, root=root)
        root.info("below")
        root.warning("above")
    assert (out.getvalue().startswith(expected), out.getvalue().count("\n")) == (True, 1)


def test_a_lone_surrogate_is_logged_escaped() -> None:
    """UTF-8 cannot encode surrogates, so writing the line unescaped would fail and lose it."""
    lines: list[str] = []
    handler = logs.LambdaLogHandler(lambda line, level: lines.append(line))
    handler.setFormatter(logs.JsonFormatter())
    handler.handle(record(message="half \ud83d"))
    assert lines[0].encode()
    assert json.loads(lines[0])["message"] == "half \ud83d"


async def test_concurrent_streams_log_their_own_request_ids() -> None:
    lines: list[str] = []
    both = asyncio.Barrier(2)
    handler = logs.LambdaLogHandler(lambda line, level: lines.append(line))
    handler.setFormatter(logs.TextFormatter())
    log = logging.Logger("app")
    log.addHandler(handler)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await both.wait()
        log.warning("mine %s", scope["aws.context"].aws_request_id)
        await asyncio.to_thread(log.warning, "mine %s", scope["aws.context"].aws_request_id)
        await sends(start(), body(b"x"))(scope, receive, send)

    async with serving(app, clients=2) as (api, _):
        first, second = await api.take("/next"), await api.take("/next")
        for next_request, request_id in ((first, "r-1"), (second, "r-2")):
            headers = [("Lambda-Runtime-Aws-Request-Id", request_id), ("Lambda-Runtime-Deadline-Ms", "10000")]
            event = (
                b'{"version":"2.0","headers":{},"requestContext":{"http":{"method":"GET","path":"/","sourceIp":""}}}'
            )
            next_request.answer(200, event, headers)
        for _ in range(2):
            (await (await api.take("/response")).complete()).answer(202)
    assert len(lines) == 4
    assert all(line.split("\t")[2] == line.split()[-1] for line in lines)
