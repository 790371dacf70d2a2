"""The Lambda Runtime API as values and bytes, for both of its ends: the runtime's and the emulator's.

Knows no socket, no clock and no environment. Sources, by the short names used below:
API   https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
STR   https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming
LIM   https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
RIE   https://github.com/aws/aws-lambda-runtime-interface-emulator, the open part of the service itself
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

MIB = 1024 * 1024  # LIM says MB; the service counts 1,048,576 bytes (RIE)

EVENT_MAX_BYTES = 6 * MIB  # LIM: an invocation's payload
BUFFERED_MAX_BYTES = 6 * MIB + 100  # RIE: a buffered answer; one byte more is a 413
PRELUDE_MAX_BYTES = 16 * 1024  # RIE: status, headers and cookies as JSON, the delimiter included
BURST_BYTES = 6 * MIB  # LIM: what a streamed answer may send at once
RATE_BYTES_PER_S = 2 * MIB  # LIM: ... and from then on

NO_DEADLINE_MS = 253_402_300_799_000  # the end of the year 9999: a test server may not send one, Lambda always does

NEXT_PATH = "/2018-06-01/runtime/invocation/next"
INIT_ERROR_PATH = "/2018-06-01/runtime/init/error"
RESTORE_NEXT_PATH = "/2018-06-01/runtime/restore/next"
RESTORE_ERROR_PATH = "/2018-06-01/runtime/restore/error"

REQUEST_ID = "Lambda-Runtime-Aws-Request-Id"
DEADLINE = "Lambda-Runtime-Deadline-Ms"
FUNCTION_ARN = "Lambda-Runtime-Invoked-Function-Arn"
TRACE_ID = "Lambda-Runtime-Trace-Id"
TENANT_ID = "Lambda-Runtime-Aws-Tenant-Id"
INVOCATION_ID = "Lambda-Runtime-Invocation-Id"
RESPONSE_MODE = "Lambda-Runtime-Function-Response-Mode"
ERROR_TYPE = "Lambda-Runtime-Function-Error-Type"
ERROR_BODY = "Lambda-Runtime-Function-Error-Body"

STREAMING = "streaming"  # exactly so: the service answers any other value with 400 (RIE)
HTTP_INTEGRATION = "application/vnd.awslambda.http-integration-response"
DELIMITER = b"\0" * 8  # STR: between the prelude and the body

# Headers of one hop (RFC 9110 7.6.1), and the length: Lambda frames the answer itself.
# content-encoding is not among them: it describes the bytes, and they travel untouched.
_DROPPED = {b"connection", b"keep-alive", b"transfer-encoding", b"te", b"trailer", b"upgrade", b"content-length"}


class ProtocolError(Exception):
    """The other end broke the protocol; the text says where."""


def response_path(request_id: str) -> str:
    return f"/2018-06-01/runtime/invocation/{request_id}/response"


def error_path(request_id: str) -> str:
    return f"/2018-06-01/runtime/invocation/{request_id}/error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One delivery from the Runtime API: what `next` answers (API). An empty header means: absent."""

    request_id: str
    deadline_ms: int  # epoch, milliseconds
    event: bytes  # JSON, as it came
    function_arn: str | None = None
    trace_id: str | None = None
    tenant_id: str | None = None
    invocation_id: str | None = None  # to be echoed with the answer when present
    content_type: str | None = "application/json"

    @classmethod
    def from_answer(cls, headers: Mapping[str, str], body: bytes) -> Self:
        """The invocation in an answer of `next` (header names in lower case). ProtocolError without an id."""
        values = {name: headers.get(header) or None for name, header in _READ_HEADERS.items()}
        deadline = headers.get(_READ_DEADLINE, "")
        if values["request_id"] is None:
            raise ProtocolError(f"next came without {REQUEST_ID}")
        deadline_ms = int(deadline) if deadline.isdecimal() else NO_DEADLINE_MS
        return cls(deadline_ms=deadline_ms, event=body, **values)  # type: ignore[arg-type]  # request_id: checked above

    def headers(self, *, empty: bool = False) -> list[tuple[str, str]]:
        """For an answer of `next`; `empty` also writes the absent ones, as "" (Managed Instances do)."""
        pairs = [(header, getattr(self, name)) for name, header in _INVOCATION_HEADERS.items()]
        return [(DEADLINE, str(self.deadline_ms)), *((header, v or "") for header, v in pairs if v or empty)]


_INVOCATION_HEADERS = {
    "request_id": REQUEST_ID,
    "function_arn": FUNCTION_ARN,
    "trace_id": TRACE_ID,
    "tenant_id": TENANT_ID,
    "invocation_id": INVOCATION_ID,
    "content_type": "Content-Type",
}
_READ_HEADERS = {name: header.lower() for name, header in _INVOCATION_HEADERS.items()}
_READ_DEADLINE = DEADLINE.lower()


@dataclass(frozen=True, slots=True)
class Prelude:
    """Status, headers and cookies of a streamed answer (STR)."""

    status: int = 200  # what the front assumes when a prelude names none
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


def split_prelude(buffer: bytes) -> tuple[Prelude, bytes] | None:
    """The prelude at the start of a streamed answer, and the body bytes after it; None while the delimiter is missing.

    ProtocolError when it is not the JSON that STR asks for, or longer than PRELUDE_MAX_BYTES.
    """
    text, delimiter, body = buffer.partition(DELIMITER)
    if len(text) + len(DELIMITER) > PRELUDE_MAX_BYTES:
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
        raise ProtocolError(f"the prelude is not the JSON it should be: {fault}") from fault
    return prelude, body


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """A failure as the Runtime API takes it: `kind` travels in the header, the rest as JSON (API)."""

    kind: str  # (Runtime|Function).[A-Z][a-zA-Z]+, or the service makes it Function.Unknown
    name: str  # the exception's own class name
    message: str
    stack: list[str] = field(default_factory=list)

    def encode(self) -> bytes:
        return json.dumps({"errorMessage": self.message, "errorType": self.name, "stackTrace": self.stack}).encode()

    def headers(self) -> list[tuple[str, str]]:
        """For a POST to an error path."""
        return [(ERROR_TYPE, self.kind), ("Content-Type", "application/vnd.aws.lambda.error+json")]

    def trailers(self) -> list[tuple[str, str]]:
        """For the end of an answer that had begun: the JSON travels as standard base64 (STR)."""
        return [(ERROR_TYPE, self.kind), (ERROR_BODY, b64encode(self.encode()).decode())]

    @classmethod
    def decode(cls, kind: str, body: bytes) -> Self:
        """The report in a POST to an error path. What is not the JSON that API asks for becomes an empty message."""
        try:
            fields = json.loads(body)
            return cls(
                kind, str(fields["errorType"]), str(fields["errorMessage"]), list(fields.get("stackTrace") or [])
            )
        except (ValueError, TypeError, KeyError):
            return cls(kind, "Unknown", "")

    @classmethod
    def from_trailers(cls, trailers: Mapping[str, str]) -> Self | None:
        """The report in the trailers (names in lower case) of a streamed answer; None when it ended well."""
        if (kind := trailers.get(ERROR_TYPE.lower())) is None:
            return None
        try:
            body = b64decode(trailers.get(ERROR_BODY.lower(), ""), validate=True)
        except ValueError:
            body = b""  # not base64: the error keeps its type, and loses its text
        return cls.decode(kind, body)


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
