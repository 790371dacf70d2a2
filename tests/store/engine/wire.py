"""Faults between a boto3 client and its service: throttling, errors, resets, timeouts, lost and partial answers.

Hooks into botocore's before-send event, below its validation, retries and parsing, and records every request.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Literal

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError
from moto.core.models import botocore_stubber

from tests.store.engine import strict
from tests.store.engine.engine import Engine
from tests.store.engine.expressions import RefusedError

Fault = Literal["throttle", "500", "reset", "timeout", "lost", "partial", "short", "conflict"]
FAULTS: tuple[Fault, ...] = ("throttle", "500", "reset", "timeout", "lost", "partial", "short", "conflict")
READ_TIMEOUT_S = 2.0  # the duration of a timeout with calls.CLIENT_CONFIG


class _Raw:
    """A response body with urllib3's interface."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_: object) -> Iterator[bytes]:
        """Yield the whole body at once."""
        yield self._body


@dataclass
class Wire:
    """A layer on clients' requests. `faults` maps the number of a request (from 0) to its fault.

    `engine` answers for DynamoDB instead of moto. `waited_s` adds up timeouts and pauses instead of waiting for them.
    """

    faults: dict[int, Fault] = field(default_factory=dict)
    is_strict: bool = True
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)
    waited_s: float = 0.0
    engine: Engine | None = None
    is_faulted: bool = False

    @contextmanager
    def on(self, *clients: Any) -> Iterator["Wire"]:
        """Intercept these clients' requests inside the block, in place of moto's own handler."""
        for client in clients:
            client.meta.events.unregister("before-send", botocore_stubber)
            client.meta.events.register("before-send", self._send)
        try:
            yield self
        finally:
            for client in clients:
                client.meta.events.unregister("before-send", self._send)
                client.meta.events.register("before-send", botocore_stubber)

    @property
    def operations(self) -> list[str]:
        """The operations sent so far, in order."""
        return [operation for operation, _ in self.requests]

    def _send(self, *, request: AWSPreparedRequest, event_name: str, **_: object) -> AWSResponse | None:
        service, operation = event_name.split(".")[1:]
        body = json.loads(_body(request)) if service == "dynamodb" else {}
        number = len(self.requests)
        self.requests.append((operation, body))
        fault = self.faults.get(number)
        if fault is not None:
            answer = self._faulty_answer(fault, request, service, operation, body)
            if answer is not None:
                self.is_faulted = True
                return answer
        if service == "dynamodb" and self.is_strict:
            try:
                strict.check(operation, body)
            except RefusedError as refused:
                return _failed(request, 400, refused.code, str(refused))
        answer = self._pass_through(event_name, request)
        if service != "dynamodb" or answer is None:
            return answer
        content = json.loads(answer.content)
        self.answers.append(content)
        if operation == "Query" and self.is_strict:
            return _answered(request, strict.exact_page(body, content))
        return _answered(request, content, answer.status_code)

    def _faulty_answer(
        self, fault: Fault, request: AWSPreparedRequest, service: str, operation: str, body: dict[str, Any]
    ) -> AWSResponse | None:
        """Return the faulty answer, or None if this fault cannot happen to this request."""
        match fault:
            case "throttle":
                if service == "s3":
                    return _failed_s3(request, 503, "SlowDown")
                return _failed(request, 400, "ThrottlingException", "Rate exceeded")
            case "500":
                if service == "s3":
                    return _failed_s3(request, 500, "InternalError")
                return _failed(request, 500, "InternalServerError", "Internal server error")
            case "reset":
                self.is_faulted = True
                raise ConnectionClosedError(endpoint_url=request.url, request=request)
            case "timeout" | "lost":
                self.is_faulted = True
                if fault == "lost":
                    self._pass_through(f"before-send.{service}.{operation}", request)
                self.waited_s += READ_TIMEOUT_S
                raise ReadTimeoutError(endpoint_url=request.url, request=request)
            case "partial":
                return self._partial(request, operation, body)
            case "short":
                return self._short(request, operation, body)
            case "conflict":
                if operation == "TransactWriteItems":
                    reasons = [{"Code": "TransactionConflict"}, *[{"Code": "None"}] * (len(body["TransactItems"]) - 1)]
                    code = "TransactionCanceledException"
                    return _failed(request, 400, code, "Transaction cancelled", CancellationReasons=reasons)
                if operation in ("UpdateItem", "PutItem", "DeleteItem"):
                    return _failed(request, 400, "TransactionConflictException", "Transaction is ongoing for the item")
                return None

    def _partial(self, request: AWSPreparedRequest, operation: str, body: dict[str, Any]) -> AWSResponse | None:
        """Process the first half of a batch and return the rest as unprocessed."""
        if operation not in ("BatchWriteItem", "BatchGetItem"):
            return None
        ((table, batch),) = body["RequestItems"].items()
        left = "UnprocessedItems" if operation == "BatchWriteItem" else "UnprocessedKeys"
        entries = batch if operation == "BatchWriteItem" else batch["Keys"]
        half = len(entries) // 2
        rest = entries[half:] if operation == "BatchWriteItem" else {**batch, "Keys": entries[half:]}
        content: dict[str, Any] = {} if operation == "BatchWriteItem" else {"Responses": {table: []}}
        if half:
            now = entries[:half] if operation == "BatchWriteItem" else {**batch, "Keys": entries[:half]}
            content = self._resend(request, operation, {**body, "RequestItems": {table: now}})
        return _answered(request, {**content, left: {table: rest}})

    def _short(self, request: AWSPreparedRequest, operation: str, body: dict[str, Any]) -> AWSResponse | None:
        """Return a page that ends after one row, as DynamoDB's pages end after 1 MB."""
        if operation != "Query":
            return None
        limited = {**body, "Limit": 1}
        return _answered(request, strict.exact_page(limited, self._resend(request, operation, limited)))

    def _pass_through(self, event_name: str, request: AWSPreparedRequest) -> AWSResponse | None:
        """Return the service's answer: from `engine` for DynamoDB if there is one, else from moto."""
        service, operation = event_name.split(".")[1:]
        if service == "dynamodb" and self.engine is not None:
            try:
                return _answered(
                    request, self.engine.answer(operation, json.loads(_body(request), object_hook=_with_bytes))
                )
            except ClientError as refused:
                content: dict[str, Any] = dict(refused.response)
                error = content.pop("Error")
                return _failed(request, 400, error["Code"], error["Message"], **content)
        answer: AWSResponse | None = botocore_stubber(event_name=event_name, request=request)
        return answer

    def _resend(self, request: AWSPreparedRequest, operation: str, body: dict[str, Any]) -> dict[str, Any]:
        changed = copy(request)
        changed.body = json.dumps(body).encode()
        answer = self._pass_through(f"before-send.dynamodb.{operation}", changed)
        assert answer is not None
        content: dict[str, Any] = json.loads(answer.content)
        return content


def _body(request: AWSPreparedRequest) -> bytes | str:
    body = request.body
    assert isinstance(body, bytes | str)
    return body


def _with_bytes(content: dict[str, Any]) -> dict[str, Any]:
    """Decode a binary attribute, which is base64 on the wire."""
    return {"B": b64decode(content["B"])} if content.keys() == {"B"} else content


def _answered(request: AWSPreparedRequest, content: dict[str, Any], status: int = 200) -> AWSResponse:
    body = json.dumps(content, default=lambda data: b64encode(data).decode()).encode()
    headers = {"content-type": "application/x-amz-json-1.0", "x-amzn-requestid": "test"}
    return AWSResponse(request.url, status, headers, _Raw(body))  # type: ignore[arg-type]  # urllib3's interface


def _failed(request: AWSPreparedRequest, status: int, code: str, message: str, **more: object) -> AWSResponse:
    content = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message, **more}
    return _answered(request, content, status)


def _failed_s3(request: AWSPreparedRequest, status: int, code: str) -> AWSResponse:
    body = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
    return AWSResponse(request.url, status, {}, _Raw(body))  # type: ignore[arg-type]  # urllib3's interface


@contextmanager
def no_waiting(wire: Wire, patch: Callable[[str, object], None]) -> Iterator[None]:
    """Add botocore's pauses between retries to `wire.waited_s` instead of sleeping."""

    class Clock:
        """The part of the time module that botocore.endpoint uses."""

        @staticmethod
        def sleep(seconds: float) -> None:
            """Record the pause."""
            wire.waited_s += seconds

    patch("botocore.endpoint.time", Clock)
    yield
