"""The common alternative to our runtime, as lean as possible: uvicorn in its own process, bridged to the Runtime API.

It adds a process and an HTTP hop over loopback, with TCP_NODELAY on both sockets. The chunks of uvicorn are passed on
unchanged, because the framing is the same; only the event and the head are parsed. It uses blocking sockets, the
fastest loop in Python.
"""

import json
import os
import socket
import subprocess
import sys
import time

from lambda_src.runtime.http1 import head as write_head
from lambda_src.runtime.protocol import NEXT_PATH, Prelude, response_path, streaming_headers

APP = "tests.bench.runtime_apps:app"
CHUNKED = b"0\r\n\r\n"


def read_head(sock: socket.socket) -> tuple[dict[bytes, bytes], bytes]:
    """The headers by lowercase name (the start line as b""), and the bytes after them."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += sock.recv(65536)
    head, _, rest = data.partition(b"\r\n\r\n")
    start, *lines = head.split(b"\r\n")
    pairs = (line.partition(b":") for line in lines)
    return {b"": start} | {name.lower(): value.strip() for name, _, value in pairs}, rest


def read_length(sock: socket.socket, headers: dict[bytes, bytes], rest: bytes) -> bytes:
    missing = int(headers.get(b"content-length", b"0")) - len(rest)
    while missing > 0:
        data = sock.recv(65536)
        rest, missing = rest + data, missing - len(data)
    return rest


def connect(host: str, port: int) -> socket.socket:
    while True:
        try:
            sock = socket.create_connection((host, port))
        except ConnectionRefusedError:
            time.sleep(0.01)
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock


def start_uvicorn() -> socket.socket:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = ["--port", str(port), "--log-level", "warning", "--no-access-log"]
    subprocess.Popen([sys.executable, "-m", "uvicorn", APP, *flags])
    return connect("127.0.0.1", port)


def pass_on(request_id: str, api: socket.socket, server: socket.socket) -> None:
    """Forward uvicorn's response to the Runtime API as it arrives."""
    headers, rest = read_head(server)
    status = int(headers.pop(b"").split()[1])
    prelude = Prelude.from_asgi(status, headers.items()).encode()
    head = write_head(f"POST {response_path(request_id)} HTTP/1.1", [("Host", "bridge"), *streaming_headers(None)])
    if b"content-length" in headers:
        body = prelude + read_length(server, headers, rest)
        api.sendall(head + b"%x\r\n%b\r\n" % (len(body), body) + CHUNKED)
        return
    api.sendall(head + b"%x\r\n%b\r\n" % (len(prelude), prelude) + rest)
    tail = rest[-5:]
    while tail != CHUNKED:
        data = server.recv(65536)
        api.sendall(data)
        tail = (tail + data)[-5:]


def main() -> None:
    server = start_uvicorn()
    host, _, port = os.environ["AWS_LAMBDA_RUNTIME_API"].rpartition(":")
    api = connect(host, int(port))
    while True:
        api.sendall(f"GET {NEXT_PATH} HTTP/1.1\r\nHost: bridge\r\n\r\n".encode())
        headers, rest = read_head(api)
        event = json.loads(read_length(api, headers, rest))
        server.sendall(f"GET {event['rawPath']} HTTP/1.1\r\nHost: bridge\r\n\r\n".encode())
        pass_on(headers[b"lambda-runtime-aws-request-id"].decode(), api, server)
        read_length(api, *read_head(api))


if __name__ == "__main__":
    main()
