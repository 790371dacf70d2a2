"""The benchmark's floor: a runtime that answers every invocation with the same bytes. No runtime can be faster.

With --app it first calls the app without a server or an event loop, and discards the response: no runtime that serves
the app can be faster. The app is called between requests, because calls in a loop would run from the CPU cache.
"""

import os
import sys
from typing import Any

from lambda_src.runtime.http1 import head as write_head
from lambda_src.runtime.protocol import NEXT_PATH, Prelude, response_path, streaming_headers
from tests.bench.bridge import connect, read_head, read_length

BODY = b'{"text":"' + b"x" * 1000 + b'"}'
CHUNK = b"64\r\ndata: " + b"x" * 92 + b"\n\n\r\n"  # runtime_apps.CHUNK as an HTTP chunk


def call_app() -> None:
    """Call the app with GET /json, which never waits and so completes in one step."""
    from tests.bench.runtime_apps import app

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        pass

    scope = {"type": "http", "method": "GET", "path": "/json", "query_string": b"", "headers": [], "state": {}}
    try:
        app(scope, receive, send).send(None)
    except StopIteration:
        return
    raise AssertionError("the app waited")


def main(*, with_app: bool) -> None:
    host, _, port = os.environ["AWS_LAMBDA_RUNTIME_API"].rpartition(":")
    api = connect(host, int(port))
    first = Prelude(200, {"content-type": "application/json"}).encode() + BODY
    while True:
        api.sendall(f"GET {NEXT_PATH} HTTP/1.1\r\nHost: null\r\n\r\n".encode())
        headers, rest = read_head(api)
        event = read_length(api, headers, rest)
        if with_app:
            call_app()
        request_id = headers[b"lambda-runtime-aws-request-id"].decode()
        head = write_head(f"POST {response_path(request_id)} HTTP/1.1", [("Host", "null"), *streaming_headers(None)])
        api.sendall(head + b"%x\r\n%b\r\n" % (len(first), first))
        if (at := event.find(b'"/stream/')) > 0:
            for _ in range(int(event[at + 9 : event.index(b'"', at + 1)])):
                api.sendall(CHUNK)
        api.sendall(b"0\r\n\r\n")
        read_length(api, *read_head(api))


if __name__ == "__main__":
    main(with_app="--app" in sys.argv)
