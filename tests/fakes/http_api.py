"""Small HTTP server on a loopback port, for fakes of HTTP APIs: one function answers every request."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# Takes the request and its body; returns the status, and either JSON or the text of an XML document.
Answer = Callable[[BaseHTTPRequestHandler, bytes], tuple[int, dict[str, Any] | str]]


@contextmanager
def http_api(answer: Answer) -> Iterator[str]:
    """Answer GET, POST, PUT and DELETE with `answer`; yield the URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # headers and body are two writes: the second would wait 40 ms for an ACK

        def do_POST(self) -> None:
            status, content = answer(self, self.rfile.read(int(self.headers.get("content-length", 0))))
            body = (content if isinstance(content, str) else json.dumps(content)).encode()
            self.send_response(status)
            self.send_header("content-type", "text/xml" if isinstance(content, str) else "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_DELETE = do_POST  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            serving.join()
