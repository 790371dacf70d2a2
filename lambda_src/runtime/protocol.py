"""The Lambda Runtime API as values and bytes, as a runtime reads and writes them.

Knows no socket, no clock and no environment. Sources, by the short names used below:
API   https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
STR   https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming
RIE   https://github.com/aws/aws-lambda-runtime-interface-emulator, the open part of the service itself
"""

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

PRELUDE_MAX_BYTES = 16 * 1024  # RIE: status, headers and cookies as JSON, the delimiter included
NO_DEADLINE_MS = 253_402_300_799_000  # the end of the year 9999: a test server may not send one, Lambda always does

NEXT_PATH = "/2018-06-01/runtime/invocation/next"
INIT_ERROR_PATH = "/2018-06-01/runtime/init/error"
RESTORE_NEXT_PATH = "/2018-06-01/runtime/restore/next"
RESTORE_ERROR_PATH = "/2018-06-01/runtime/restore/error"

REQUEST_ID = "Lambda-Runtime-Aws-Request-Id"
DEADLINE = "Lambda-Runtime-Deadline-Ms"
FUNCTION_ARN = "Lambda-Runtime-Invoked-Function-Arn"
TRACE_ID = "Lambda-Runtime-Trace-Id"
INVOCATION_ID = "Lambda-Runtime-Invocation-Id"
RESPONSE_MODE = "Lambda-Runtime-Function-Response-Mode"
ERROR_TYPE = "Lambda-Runtime-Function-Error-Type"
ERROR_BODY = "Lambda-Runtime-Function-Error-Body"
ERROR_CAUSE = "Lambda-Runtime-Function-XRay-Error-Cause"

STREAMING = "streaming"  # exactly so: the service answers any other value with 400 (RIE)
HTTP_INTEGRATION = "application/vnd.awslambda.http-integration-response"
DELIMITER = b"\0" * 8  # STR: between the prelude and the body

# Headers of one hop (RFC 9110 7.6.1), and the length: Lambda frames the answer itself.
# content-encoding is not among them: it describes the bytes, and they travel untouched.
_DROPPED = {b"connection", b"keep-alive", b"transfer-encoding", b"te", b"trailer", b"upgrade", b"content-length"}


def response_path(request_id: str) -> str:
    return f"/2018-06-01/runtime/invocation/{request_id}/response"


def error_path(request_id: str) -> str:
    return f"/2018-06-01/runtime/invocation/{request_id}/error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One delivery from the Runtime API: the response to `next` (API). An empty header means: absent."""

    request_id: str
    deadline_ms: int  # epoch, milliseconds
    event: bytes  # JSON, as it came
    function_arn: str | None = None
    trace_id: str | None = None
    invocation_id: str | None = None  # to be echoed with the answer when present

    @classmethod
    def from_response(cls, headers: Mapping[str, str], body: bytes) -> Self:
        """The invocation in a response to `next` (header names in lower case). ConnectionError without an id."""
        if not (request_id := headers.get(REQUEST_ID.lower())):
            raise ConnectionAbortedError(f"The Runtime API delivered an invocation without {REQUEST_ID}.")
        deadline = headers.get(DEADLINE.lower(), "")
        return cls(
            request_id=request_id,
            deadline_ms=int(deadline) if deadline.isdecimal() else NO_DEADLINE_MS,
            event=body,
            function_arn=headers.get(FUNCTION_ARN.lower()) or None,
            trace_id=headers.get(TRACE_ID.lower()) or None,
            invocation_id=headers.get(INVOCATION_ID.lower()) or None,
        )


@dataclass(frozen=True, slots=True)
class Prelude:
    """Status, headers and cookies of a streamed answer (STR)."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cookies: list[str] = field(default_factory=list)  # each a whole Set-Cookie value

    @classmethod
    def from_asgi(cls, status: int, headers: Iterable[tuple[bytes, bytes]]) -> Self:
        """Names in lower case; hop-by-hop headers and content-length dropped; repeated headers joined with ", "."""
        joined: dict[str, str] = {}
        cookies: list[str] = []
        for raw_name, raw_value in headers:
            name = raw_name.lower()
            if name in _DROPPED or name.startswith(b"proxy-"):
                continue
            key, value = name.decode("latin-1"), raw_value.decode("latin-1")
            if name == b"set-cookie":
                cookies.append(value)
            else:
                joined[key] = f"{joined[key]}, {value}" if key in joined else value
        return cls(status, joined, cookies)

    def encode(self) -> bytes:
        """JSON and delimiter, always with all three keys. Its length is the caller's to check: PRELUDE_MAX_BYTES."""
        fields = {"statusCode": self.status, "headers": self.headers, "cookies": self.cookies}
        return json.dumps(fields, separators=(",", ":")).encode() + DELIMITER


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorReport:
    """A failure as the Runtime API takes it: type and cause in headers, the rest as AWS's own client writes it."""

    kind: str  # (Runtime|Function).[A-Z][a-zA-Z]+, or the service makes it Function.Unknown
    name: str  # the exception's own class name
    message: str
    stack: list[str] = field(default_factory=list)
    request_id: str = ""  # empty while the function loads
    cause: str = ""  # JSON for X-Ray: https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html

    def encode(self) -> bytes:
        fields = {
            "errorMessage": self.message,
            "errorType": self.name,
            "requestId": self.request_id,
            "stackTrace": self.stack,
        }
        return json.dumps(fields).encode()

    def headers(self) -> list[tuple[str, str]]:
        """For a POST to an error path."""
        cause = [(ERROR_CAUSE, self.cause)] if self.cause else []
        return [(ERROR_TYPE, self.kind), *cause, ("Content-Type", "application/vnd.aws.lambda.error+json")]

    def trailers(self) -> list[tuple[str, str]]:
        """For the end of an answer that had begun: the JSON travels as standard base64 (STR)."""
        return [(ERROR_TYPE, self.kind), (ERROR_BODY, b64encode(self.encode()).decode())]


def streaming_headers(invocation_id: str | None) -> list[tuple[str, str]]:
    """Of the POST that streams an answer (STR). Trailers not declared here are dropped without a word (RIE)."""
    return [
        (RESPONSE_MODE, STREAMING),
        ("Content-Type", HTTP_INTEGRATION),
        ("Transfer-Encoding", "chunked"),
        ("Trailer", f"{ERROR_TYPE}, {ERROR_BODY}"),
        *echo_headers(invocation_id),
    ]


def echo_headers(invocation_id: str | None) -> list[tuple[str, str]]:
    """What every answer to an invocation repeats, when `next` carried it."""
    return [(INVOCATION_ID, invocation_id)] if invocation_id else []
