"""Serves the naive handler with a minimal loop in place of AWS's runtime; the loop itself costs almost nothing."""

import http.client
import json
import os
from types import SimpleNamespace

from tests.bench.naive.server import handler

api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    response = api.getresponse()
    request_id = response.headers["Lambda-Runtime-Aws-Request-Id"]
    event = json.loads(response.read())
    result = handler(event, SimpleNamespace(aws_request_id=request_id))
    api.request("POST", f"/2018-06-01/runtime/invocation/{request_id}/response", json.dumps(result))
    api.getresponse().read()
