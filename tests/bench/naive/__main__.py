"""The leanest loop that serves the naive handler, in the place of AWS's own: what it costs itself is nothing."""

import http.client
import json
import os
from types import SimpleNamespace

from tests.bench.naive.server import handler

api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    answer = api.getresponse()
    request_id = answer.headers["Lambda-Runtime-Aws-Request-Id"]
    event = json.loads(answer.read())
    result = handler(event, SimpleNamespace(aws_request_id=request_id))
    api.request("POST", f"/2018-06-01/runtime/invocation/{request_id}/response", json.dumps(result))
    api.getresponse().read()
