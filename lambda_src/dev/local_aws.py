"""A local AWS on loopback: MiniStack in a process of its own, with the table and the bucket in it. Knows no chat.

Its data is written to `folder` when it is stopped (that is how MiniStack persists), so stop it, do not kill it.
"""

import asyncio
import fcntl
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from lambda_src.store.keys import table_definition

TABLE = "chat"
BUCKET = "chat-files"
REGION = "us-east-1"
SERVICES = "dynamodb,s3,ssm,secretsmanager,sts"
PAGES: dict[str, Any] = {  # on a laptop any page may upload: presigned URLs are all that is let in
    "AllowedOrigins": ["*"],
    "AllowedMethods": ["PUT", "GET", "HEAD"],
    "AllowedHeaders": ["*"],
    "ExposeHeaders": ["etag"],
}
START_TIMEOUT_S = 60.0  # seen: 0.8 to 2.5 s; a loaded laptop may take long
ASK_EVERY_S = 0.1
STOP_TIMEOUT_S = 20.0  # it writes its state when it is told to stop


@dataclass(frozen=True, slots=True)
class LocalAws:
    """Where the local AWS listens, and what makes boto3 talk to it."""

    url: str

    @property
    def env(self) -> dict[str, str]:
        """Environment variables that send every AWS client of a process here (and nowhere else)."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3's clients have no common type
        """A boto3 client of this local AWS."""
        return boto3.client(  # type: ignore[call-overload] # the service is not known to the type checker
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="local",
            aws_secret_access_key="local",  # noqa: S106 - not a secret: nothing checks it
        )


@asynccontextmanager
async def local_aws(folder: Path) -> AsyncIterator[LocalAws]:
    """A running local AWS whose data lives in `folder`; RuntimeError with its last words when it does not start."""
    port = _free_port()
    log = folder / "ministack.log"
    with await asyncio.to_thread(_open_log, log) as output:
        _lock(output, folder)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ministack", env=_environment(folder, port), stdout=output, stderr=output,
            start_new_session=True,  # Ctrl-C is ours: it must outlive it long enough to save
        )  # fmt: skip
    aws = LocalAws(url=f"http://127.0.0.1:{port}")
    try:
        await _listening(process, port, log=log)
        await asyncio.to_thread(_create, aws)
        yield aws
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
            except TimeoutError:
                process.kill()
                await process.wait()


def _environment(folder: Path, port: int) -> dict[str, str]:
    return os.environ | {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "SERVICES": SERVICES,
        "PERSIST_STATE": "1",
        "STATE_DIR": str(folder / "state"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(folder / "s3"),
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        "LOG_LEVEL": "WARNING",
        "AWS_ACCESS_KEY_ID": "local",  # its root key: presigned URLs are verified against it
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_SESSION_TOKEN": "",
    }


async def _listening(process: asyncio.subprocess.Process, port: int, *, log: Path) -> None:
    async with asyncio.timeout(START_TIMEOUT_S):
        while process.returncode is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(ASK_EVERY_S)
            else:
                writer.close()
                return
    last_words = (await asyncio.to_thread(log.read_text, errors="replace"))[-2000:]
    raise RuntimeError(f"The local AWS did not start. Its last words (all in {log}):\n{last_words}")


def _create(aws: LocalAws) -> None:
    dynamodb, s3 = aws.client("dynamodb"), aws.client("s3")
    with suppress(dynamodb.exceptions.ResourceInUseException):  # kept from an earlier run
        dynamodb.create_table(**table_definition(TABLE))
    try:
        s3.create_bucket(Bucket=BUCKET)
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
            raise
    except BotoCoreError as error:
        raise RuntimeError(f"The local AWS does not answer: {error}") from error
    s3.put_bucket_cors(Bucket=BUCKET, CORSConfiguration={"CORSRules": [PAGES]})


def _lock(log: BinaryIO, folder: Path) -> None:
    """One local AWS a folder: two would overwrite each other's state. MiniStack inherits the lock, an orphan too."""
    try:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RuntimeError(
            f"Another make dev uses {folder}, or left its MiniStack behind. Stop it (pkill -f ministack), or use "
            'another folder: make dev FLAGS="--data DIR".'
        ) from None


def _open_log(log: Path) -> BinaryIO:
    log.parent.mkdir(parents=True, exist_ok=True)
    return log.open("ab")  # not "wb": the lock comes first


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
