"""Runs MiniStack (DynamoDB and S3) in a child process on a free loopback port."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.store.tables import Aws

STARTS_WITHIN_S = 60  # usually one to three; more on a loaded machine, but a hang must not block CI forever
PROGRAM = Path(sys.prefix) / "ministack" / "bin" / "ministack"


@contextmanager
def ministack() -> Iterator[Aws]:
    """Run an empty MiniStack inside the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | {
            "GATEWAY_PORT": str(port),
            "BIND_HOST": "127.0.0.1",  # the default is every interface
            "SFTP_ENABLED": "0",
            "IOT_MTLS_ENABLED": "0",
        }
        process = subprocess.Popen([PROGRAM], env=env, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait(process, port)
            yield Aws(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
            process.wait()


def _wait(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + STARTS_WITHIN_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None, "MiniStack ended before it listened"
            assert time.monotonic() < deadline, f"MiniStack did not listen within {STARTS_WITHIN_S} s"
            time.sleep(0.05)
        else:
            return
