"""The fake OIDC issuer over HTTPS on loopback, for a function that fetches keys as it would from a real issuer."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.fakes.certificate import Certificate
from tests.fakes.issuer import Issuer


@contextmanager
def serve(folder: Path) -> Iterator[tuple[Issuer, Path]]:
    """Yield the issuer and the CA certificate that its clients must trust (SSL_CERT_FILE)."""
    certificate = Certificate.create(folder)
    issuers: list[Issuer] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = issuers[0].fetch(issuers[0].url.rstrip("/") + self.path)
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate.chain, certificate.key)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    issuers.append(Issuer(f"https://127.0.0.1:{server.server_port}/"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield issuers[0], certificate.authority
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
