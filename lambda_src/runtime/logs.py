"""Log lines as Lambda's own Python runtime writes them: text or JSON, to stdout or framed to the telemetry socket.

Formats: https://docs.aws.amazon.com/lambda/latest/dg/python-logging.html; frames: AWS's own client (awslambdaric),
bootstrap.py. The request id comes from a context variable, so it is right for N streams on one event loop.
"""

import json
import logging
import os
import struct
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from lambda_src.runtime.context import request_id_var
from lambda_src.runtime.environment import Environment

TEXT_FRAME, JSON_FRAME = 0xA55A0003, 0xA55A0002
_FRAME_HEAD = struct.Struct(">IIQ")  # type, length of the payload in bytes, epoch in microseconds
_LEVEL_BITS = {"DEBUG": 2, "INFO": 3, "WARNING": 4, "ERROR": 5, "CRITICAL": 6}  # times four, beside the frame type
_LEVELS = {"TRACE": "DEBUG", "WARN": "WARNING", "FATAL": "CRITICAL"}  # Lambda's names to Python's
REQUEST_ID = "aws_request_id"  # of a record: the attribute that AWS's own runtime sets
# What else a record has came as `extra`.
_RECORD_FIELDS = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", REQUEST_ID}

Write = Callable[[str, str], None]  # a formatted line without its end, and the name of its level


def set_up(environment: Environment, *, root: logging.Logger | None = None) -> None:
    """Send log records to Lambda in its format, from its log level on."""
    as_json = environment.log_format == "JSON" or environment.concurrency > 1  # Managed Instances take JSON only
    fd = environment.telemetry_fd
    handler = LambdaLogHandler(write_stdout if fd is None else framed(fd, as_json=as_json))
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    root = root or logging.getLogger()
    root.addHandler(handler)
    level = _LEVELS.get(environment.log_level, environment.log_level)
    if level in _LEVEL_BITS:
        root.setLevel(level)


class LambdaLogHandler(logging.Handler):
    """Hands each formatted record to `write`. Sets its `aws_request_id` for formatters."""

    def __init__(self, write: Write) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        setattr(record, REQUEST_ID, request_id_var.get())
        try:
            line = self.format(record).encode(errors="backslashreplace").decode()  # a lone surrogate is not UTF-8
            self._write(line, record.levelname)
        except Exception:  # noqa: BLE001 - logging's own convention: a broken log line must not break the invocation
            self.handleError(record)


class TextFormatter(logging.Formatter):
    """`[LEVEL]<tab>time<tab>request id<tab>message`, then `extra` as name=value; a `traceback` follows as lines."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def format(self, record: logging.LogRecord) -> str:
        extra = _extra(record)
        stack = extra.pop("traceback", None) or (self.formatException(record.exc_info) if record.exc_info else "")
        fields = "".join(f" {name}={value}" for name, value in extra.items())
        line = f"[{record.levelname}]\t{self.formatTime(record)}\t{request_id_var.get()}\t{record.getMessage()}{fields}"
        return f"{line}\n{stack.rstrip()}" if stack else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with Lambda's field names; the fields of `extra` are added to them."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%SZ"
    default_msec_format = None

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "timestamp": self.formatTime(record),
            "level": record.levelname,
            "message": record.msg if isinstance(record.msg, dict) and not record.args else record.getMessage(),
            "logger": record.name,
            "requestId": request_id_var.get() or None,
        }
        if record.exc_info and record.exc_info[0] is not None:
            fields["errorType"] = record.exc_info[0].__name__
            fields["errorMessage"] = str(record.exc_info[1])
            fields["stackTrace"] = traceback.format_tb(record.exc_info[2])
            fields["location"] = f"{record.pathname}:{record.funcName}:{record.lineno}"
        fields = _extra(record) | {name: value for name, value in fields.items() if value is not None}
        return json.dumps(fields, ensure_ascii=False, default=str)


def frame(level: str, payload: bytes, *, as_json: bool, at_us: int) -> bytes:
    """One log line for _LAMBDA_TELEMETRY_LOG_FD; `at_us` is epoch microseconds."""
    kind = (JSON_FRAME if as_json else TEXT_FRAME) | _LEVEL_BITS.get(level, 0) << 2
    return _FRAME_HEAD.pack(kind, len(payload), at_us) + payload


def framed(fd: int, *, as_json: bool) -> Write:
    """A writer of frames to the open file descriptor `fd`."""

    def write(line: str, level: str) -> None:
        left = frame(level, line.encode(), as_json=as_json, at_us=time.time_ns() // 1000)
        while left:
            left = left[os.write(fd, left) :]

    return write


def write_stdout(line: str, level: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _RECORD_FIELDS}
