"""Fakes for the secret commands, on loopback ports: SSM's parameters and a model vendor's list of models."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.fakes.http_api import http_api


@contextmanager
def ssm_with(parameters: dict[str, str]) -> Iterator[str]:
    """Yield the URL of an SSM that has these parameters. The value `AccessDeniedException` makes reading it fail."""

    def respond(request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, Any]]:
        assert request.headers["x-amz-target"] == "AmazonSSM.GetParameter"
        name = json.loads(body)["Name"]
        if name not in parameters:
            return 400, {"__type": "ParameterNotFound"}
        if parameters[name] == "AccessDeniedException":
            return 400, {"__type": "AccessDeniedException"}
        return 200, {"Parameter": {"Name": name, "Type": "SecureString", "Value": parameters[name]}}

    with http_api(respond) as url:
        yield url


@contextmanager
def ssm_api(written: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the URL of an SSM that accepts parameters and appends them to `written`."""

    def respond(request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, Any]]:
        assert request.headers["x-amz-target"] == "AmazonSSM.PutParameter"
        written.append(json.loads(body))
        return 200, {"Version": len(written), "Tier": "Standard"}

    with http_api(respond) as url:
        yield url


@contextmanager
def models_api(*, good: str, status: int = 200, listed: object = ()) -> Iterator[str]:
    """Yield the base URL of a vendor that answers the key `good` with `status` and the models `listed`."""

    def respond(request: BaseHTTPRequestHandler, _: bytes) -> tuple[int, dict[str, Any]]:
        assert request.path == "/v1/models"
        if request.headers["authorization"] != f"Bearer {good}":
            return 401, {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}}
        return status, {"object": "list", "data": listed}

    with http_api(respond) as url:
        yield f"{url}/v1"
