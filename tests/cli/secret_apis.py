"""Two APIs on loopback ports, as far as setting a secret asks them: SSM's PutParameter, a vendor's list of models."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[BaseHTTPRequestHandler, bytes], tuple[int, dict[str, Any]]]


@contextmanager
def ssm_with(parameters: dict[str, str]) -> Iterator[str]:
    """The URL of an SSM from which these parameters can be read; the value `AccessDeniedException` is refused."""

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, Any]]:
        assert request.headers["x-amz-target"] == "AmazonSSM.GetParameter"
        name = json.loads(body)["Name"]
        if name not in parameters:
            return 400, {"__type": "ParameterNotFound"}
        if parameters[name] == "AccessDeniedException":
            return 400, {"__type": "AccessDeniedException"}
        return 200, {"Parameter": {"Name": name, "Type": "SecureString", "Value": parameters[name]}}

    with _serving(answer) as url:
        yield url


@contextmanager
def ssm_api(written: list[dict[str, Any]]) -> Iterator[str]:
    """The URL of an SSM that takes parameters and notes them in `written`."""

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, Any]]:
        assert request.headers["x-amz-target"] == "AmazonSSM.PutParameter"
        written.append(json.loads(body))
        return 200, {"Version": len(written), "Tier": "Standard"}

    with _serving(answer) as url:
        yield url


@contextmanager
def models_api(*, good: str, status: int = 200, listed: object = ()) -> Iterator[str]:
    """The base URL of a vendor who takes one key, and answers whoever has it with `status` and the models `listed`."""

    def answer(request: BaseHTTPRequestHandler, _: bytes) -> tuple[int, dict[str, Any]]:
        assert request.path == "/v1/models"
        if request.headers["authorization"] != f"Bearer {good}":
            return 401, {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}}
        return status, {"object": "list", "data": listed}

    with _serving(answer) as url:
        yield f"{url}/v1"


@contextmanager
def _serving(answer: Answer) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        """Any request, answered as JSON."""

        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # headers and body are two writes: the second would wait 40 ms for an ACK

        def do_POST(self) -> None:
            """Read, answer."""
            status, told = answer(self, self.rfile.read(int(self.headers.get("content-length", 0))))
            body = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815 - http.server's name

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            serving.join()
