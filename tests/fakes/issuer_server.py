"""The fake OIDC issuer on a real socket, with the failures of a web server: down, silent, slow, huge, redirecting."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Literal

from tests.fakes.issuer import Issuer

Mood = Literal["well", "down", "silent", "dripping", "huge", "redirecting", "broken", "nonsense"]
HUGE_BYTES = 1_000_001


class ServedIssuer(Issuer):
    """`mood` sets how the next requests are answered; `done` releases requests that are still waiting."""

    mood: Mood = "well"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.done = Event()


@contextmanager
def served_issuer() -> Iterator[ServedIssuer]:
    """Serve an issuer at http://127.0.0.1 inside the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.fetched.append(self.path)
            match issuer.mood:
                case "well":
                    self._answer(json.dumps(issuer.documents()[self.path[1:]]).encode())
                case "down":
                    self.close_connection = True
                case "silent":
                    issuer.done.wait()
                case "dripping":
                    self._head(200, HUGE_BYTES)
                    while not issuer.done.wait(0.02):
                        self.wfile.write(b" ")
                case "huge":
                    self._answer(b" " * HUGE_BYTES)
                case "redirecting":
                    self.send_response(302)
                    self.send_header("location", "/.well-known/openid-configuration?again")
                    self.end_headers()
                case "broken":
                    self._head(500, 0)
                case "nonsense":
                    self._answer(b"<html>sign in</html>")

        def _answer(self, body: bytes) -> None:
            self._head(200, len(body))
            self.wfile.write(body)

        def _head(self, status: int, length: int) -> None:
            self.send_response(status)
            self.send_header("content-length", str(length))
            self.end_headers()

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:  # the client gave up, as it should
                return

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer = ServedIssuer(f"http://127.0.0.1:{server.server_address[1]}/")
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield issuer
    finally:
        issuer.done.set()
        server.shutdown()
        server.server_close()
        thread.join()
