"""The Lambda Runtime API as Lambda's side writes and reads it: paths, header names, limits, payloads. Pure.

Every name is spelled out here and shared with no runtime, so that a misspelling on the other side shows. Sources:
API   https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
STR   https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming
EXT   https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html
ENV   https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
LIM   https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
RIE   https://github.com/aws/aws-lambda-runtime-interface-emulator, the open part of the service itself
"""

import json
import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MIB = 1024 * 1024  # LIM says MB; the service counts 1,048,576 bytes (RIE)
EVENT_MAX_BYTES = 6 * MIB  # LIM: an invocation's payload
BUFFERED_MAX_BYTES = 6 * MIB + 100  # RIE: a buffered response; one byte more is a 413
PRELUDE_MAX_BYTES = 16 * 1024  # RIE: status, headers and cookies as JSON, including the delimiter
BURST_BYTES = 6 * MIB  # LIM: what a streamed response may send at once
RATE_BYTES_PER_S = 2 * MIB  # LIM: ... and from then on
INIT_S = 10.0  # ENV: loading an on-demand function
LONG_INIT_S = 130.0  # ENV: with SnapStart and on Managed Instances, or the function's timeout if that is longer

NEXT_PATH = "/2018-06-01/runtime/invocation/next"
INIT_ERROR_PATH = "/2018-06-01/runtime/init/error"
RESTORE_NEXT_PATH = "/2018-06-01/runtime/restore/next"
RESTORE_ERROR_PATH = "/2018-06-01/runtime/restore/error"
RESPONSE_PATH = re.compile("/2018-06-01/runtime/invocation/([^/]+)/(response|error)")
REGISTER_PATH = "/2020-01-01/extension/register"
EXTENSION_NEXT_PATH = "/2020-01-01/extension/event/next"

# Names of headers that are read are in lower case.
RESPONSE_MODE = "lambda-runtime-function-response-mode"
STREAMING = "streaming"  # exactly so: any other value is a 400 (RIE)
HTTP_INTEGRATION = "application/vnd.awslambda.http-integration-response"
ERROR_TYPE = "lambda-runtime-function-error-type"
ERROR_BODY = "lambda-runtime-function-error-body"
INVOCATION_ID = "lambda-runtime-invocation-id"
EXTENSION_ID = "lambda-extension-identifier"
EXTENSION_ID_SENT = "Lambda-Extension-Identifier"

_DELIMITER = b"\0" * 8  # STR: between the prelude and the body
_ERROR_TYPES = re.compile(r"(Runtime|Function)\.[A-Z][a-zA-Z]+")  # RIE


class ProtocolError(Exception):
    """The runtime broke the protocol; the text says where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One event on its way to the runtime: the body and headers of the response to `next` (API)."""

    request_id: str
    deadline_ms: int  # epoch, milliseconds
    event: bytes  # JSON
    function_arn: str = ""
    trace_id: str = ""
    tenant_id: str = ""
    invocation_id: str = ""  # of this delivery; a retry of the same request has another one

    def headers(self, *, empty: bool) -> list[tuple[str, str]]:
        """For the response to `next`; `empty` also writes absent ones, as "" (Managed Instances do)."""
        pairs = [
            ("Lambda-Runtime-Aws-Request-Id", self.request_id),
            ("Lambda-Runtime-Deadline-Ms", str(self.deadline_ms)),
            ("Lambda-Runtime-Invoked-Function-Arn", self.function_arn),
            ("Lambda-Runtime-Trace-Id", self.trace_id),
            ("Lambda-Runtime-Aws-Tenant-Id", self.tenant_id),
            ("Lambda-Runtime-Invocation-Id", self.invocation_id),
            ("Content-Type", "application/json"),
        ]
        return [(name, value) for name, value in pairs if value or empty]


@dataclass(frozen=True, slots=True)
class Prelude:
    """Status, headers and cookies at the start of a streamed response (STR)."""

    status: int = 200  # what the function URL assumes when a prelude names none
    headers: dict[str, str] = field(default_factory=dict)
    cookies: list[str] = field(default_factory=list)  # each a whole Set-Cookie value


def split_prelude(buffer: bytes) -> tuple[Prelude, bytes] | None:
    """The prelude at the start of a streamed response and the body bytes after it; None until the delimiter is there.

    ProtocolError when it is not the JSON that STR describes, or longer than PRELUDE_MAX_BYTES.
    """
    text, delimiter, body = buffer.partition(_DELIMITER)
    if len(text) + len(_DELIMITER) > PRELUDE_MAX_BYTES:
        raise ProtocolError(f"the prelude is over {PRELUDE_MAX_BYTES} bytes")
    if not delimiter:
        return None
    try:
        fields: dict[str, Any] = json.loads(text)
        prelude = Prelude(
            int(fields.get("statusCode", 200)),
            {str(k): str(v) for k, v in (fields.get("headers") or {}).items()},
            [str(cookie) for cookie in fields.get("cookies") or []],
        )
    except (ValueError, TypeError, AttributeError) as fault:
        raise ProtocolError(f"the prelude is not valid JSON of a prelude: {fault}") from fault
    return prelude, body


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """A failure: the error type that the service accepts, and what the runtime's JSON says about it."""

    kind: str
    name: str = "Unknown"  # of the exception's class
    message: str = ""
    stack: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, headers: Mapping[str, str], body: bytes) -> "ErrorReport":
        """The report of a POST to an error path. A body of another shape leaves the error without a message."""
        kind = headers.get(ERROR_TYPE, "")
        if not _ERROR_TYPES.fullmatch(kind):
            kind = "Function.Unknown"
        try:
            fields = json.loads(body)
            stack = [str(line) for line in fields.get("stackTrace") or []]
            return cls(kind, str(fields["errorType"]), str(fields["errorMessage"]), stack)
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls(kind)

    @classmethod
    def from_trailers(cls, trailers: Mapping[str, str]) -> "ErrorReport | None":
        """The report in the trailers of a streamed response; None when it ended well."""
        if ERROR_TYPE not in trailers:
            return None
        try:
            body = b64decode(trailers.get(ERROR_BODY, ""), validate=True)
        except ValueError:
            body = b""  # as the service: the error keeps its type and loses its text (RIE)
        return cls.read(trailers, body)
