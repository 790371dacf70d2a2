"""Converts an HTTP request to a Lambda event: payload 2.0 (function URL) or 1.0 (API Gateway). Pure.

https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads,
https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
"""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

ACCOUNT, DOMAIN_ID = "123456789012", "emulated"
_TEXT = ("text/", "application/json", "application/javascript", "application/xml", "application/graphql")


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request: header names in lower case, the target not decoded."""

    method: str
    target: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    source_ip: str = "127.0.0.1"

    def header(self, name: str) -> str | None:
        """All values of `name`, joined by commas; None if there are none."""
        values = [value for key, value in self.headers if key == name]
        return ",".join(values) if values else None


def event_2_0(request: Request, *, request_id: str, now: datetime) -> dict[str, Any]:
    """The event of a function URL; `now` is timezone-aware."""
    path, _, query = request.target.partition("?")
    headers = _joined([(name, value) for name, value in request.headers if name != "cookie"])
    headers |= _forwarded(request)
    cookies = [c.strip() for name, value in request.headers if name == "cookie" for c in value.split(";")]
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path or "/",
        "rawQueryString": query,
        "headers": headers,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": DOMAIN_ID,
            "domainName": headers.get("host", ""),
            "domainPrefix": DOMAIN_ID,
            "http": {
                "method": request.method,
                "path": path or "/",
                "protocol": "HTTP/1.1",
                "sourceIp": request.source_ip,
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": request_id,
            "routeKey": "$default",
            "stage": "$default",
            "time": now.astimezone(UTC).strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "timeEpoch": int(now.timestamp() * 1000),
        },
        **_body(request),
    }
    if cookies:
        event["cookies"] = cookies
    if query:
        event["queryStringParameters"] = _joined(parse_qsl(query, keep_blank_values=True))
    return event


def event_1_0(request: Request, *, request_id: str, now: datetime) -> dict[str, Any]:
    """The event of API Gateway, with or without streaming; `now` is timezone-aware."""
    path, _, query = request.target.partition("?")
    headers = [*request.headers, *_forwarded(request).items()]
    pairs = parse_qsl(query, keep_blank_values=True)
    return {
        "resource": "/{proxy+}",
        "path": unquote(path) or "/",
        "httpMethod": request.method,
        "headers": dict(headers),
        "multiValueHeaders": _listed(headers),
        "queryStringParameters": dict(pairs) or None,
        "multiValueQueryStringParameters": _listed(pairs) or None,
        "pathParameters": {"proxy": unquote(path).lstrip("/")},
        "stageVariables": None,
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": DOMAIN_ID,
            "httpMethod": request.method,
            "identity": {"sourceIp": request.source_ip, "userAgent": request.header("user-agent")},
            "path": path,
            "protocol": "HTTP/1.1",
            "requestId": request_id,
            "requestTimeEpoch": int(now.timestamp() * 1000),
            "resourcePath": "/{proxy+}",
            "stage": "$default",
        },
        **_body(request),
    }


def _body(request: Request) -> dict[str, Any]:
    """The body as text if the content type is text and the bytes are UTF-8, else in base64."""
    if not request.body:
        return {"isBase64Encoded": False}
    if (request.header("content-type") or "").startswith(_TEXT):
        try:
            return {"body": request.body.decode(), "isBase64Encoded": False}
        except UnicodeDecodeError:
            pass  # sent in base64
    return {"body": b64encode(request.body).decode(), "isBase64Encoded": True}


def _forwarded(request: Request) -> dict[str, str]:
    port = (request.header("host") or "").rpartition(":")[2]
    return {
        "x-forwarded-for": request.source_ip,
        "x-forwarded-proto": "http",  # a function URL says https; here links must lead back to this port
        "x-forwarded-port": port if port.isdecimal() else "80",
    }


def _joined(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    return {name: ",".join(values) for name, values in _listed(pairs).items()}


def _listed(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    listed: dict[str, list[str]] = {}
    for name, value in pairs:
        listed.setdefault(name, []).append(value)
    return listed
