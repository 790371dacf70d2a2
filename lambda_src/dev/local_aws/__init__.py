"""A local AWS on loopback: MiniStack in a separate process, with the chat's table and bucket. Knows no chat.

MiniStack writes its data to `folder` when it gets SIGTERM. leash.py sends that signal if the parent process dies.
"""

import asyncio
import fcntl
import json
import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from lambda_src.cli.options import LOCAL_AWS
from lambda_src.store.keys import table_definition

PYTHON = Path(sys.prefix) / "ministack" / "bin" / "python"  # a separate environment: requirements/ministack.in
TABLE = "chat"
BUCKET = "chat-files"
REGION = "us-east-1"
SERVICES = "dynamodb,s3,ssm,secretsmanager,sts"
PAGES: dict[str, Any] = {  # any page may upload, because only presigned URLs are accepted
    "AllowedOrigins": ["*"],
    "AllowedMethods": ["PUT", "GET", "HEAD"],
    "AllowedHeaders": ["*"],
    "ExposeHeaders": ["etag"],
}
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")  # the only variables of the shell that it gets
START_TIMEOUT_S = 60.0  # measured: 0.8 to 2.5 s; a busy laptop may take longer
ASK_EVERY_S = 0.1
LAST_WORDS_CHARS = 2000
LEASH = Path(__file__).with_name("leash.py")
MINISTACK = Path(__file__).with_name("guarded_ministack.py")
STOP_TIMEOUT_S = 20.0  # for writing its state


@dataclass(frozen=True, slots=True)
class LocalKey:
    """Credentials of one run of the local AWS. Without them a page in the developer's browser could use it."""

    id: str
    secret: str

    @classmethod
    def random(cls) -> Self:
        """A new one; the id looks like one of AWS's."""
        return cls(f"AKIA{secrets.token_hex(8).upper()}", secrets.token_urlsafe(30))


@dataclass(frozen=True, slots=True)
class LocalAws:
    """The address of the local AWS, and the key of this run, which every request needs."""

    url: str
    key: LocalKey

    @property
    def env(self) -> dict[str, str]:
        """Environment variables that make every AWS client of a process use this address only."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.key.id,
            "AWS_SECRET_ACCESS_KEY": self.key.secret,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,  # a profile may name other endpoints
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3's clients have no common type
        """A boto3 client of this local AWS."""
        return boto3.client(  # type: ignore[call-overload] # the service is not known to the type checker
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=self.key.id,
            aws_secret_access_key=self.key.secret,
        )


@asynccontextmanager
async def local_aws(folder: Path, *, on_death: Callable[[], None] = lambda: None) -> AsyncIterator[LocalAws]:
    """A running local AWS with its data in `folder`. Calls `on_death` if it ends unexpectedly.

    RuntimeError, with the end of its log, if it does not start or ends without saving.
    """
    if not PYTHON.is_file():
        raise RuntimeError(f"MiniStack is not installed ({PYTHON} is missing): run `make setup`.")
    port, key = _free_port(), LocalKey.random()
    log = folder / "ministack.log"
    with await asyncio.to_thread(_open_log, log) as output:
        await _lock(output, folder)
        process = await asyncio.create_subprocess_exec(
            PYTHON, "-P", str(LEASH), str(MINISTACK),
            env=_environment(folder, port, key), stdin=asyncio.subprocess.PIPE, stdout=output, stderr=output,
            start_new_session=True,  # Ctrl-C must not reach it: it has to save first
        )  # fmt: skip
    aws = LocalAws(f"http://127.0.0.1:{port}", key)
    told_to_stop = False

    async def watch() -> None:
        await process.wait()
        if not told_to_stop:
            on_death()

    watching = asyncio.create_task(watch())
    try:
        await _listening(process, port, log=log)
        await asyncio.to_thread(_create, aws)
        await asyncio.to_thread(_write_address, folder / LOCAL_AWS.name, aws)
        yield aws
    finally:
        told_to_stop = True
        (folder / LOCAL_AWS.name).unlink(missing_ok=True)
        code = await _stopped(process)
        await watching
    if code != 0:
        raise RuntimeError(
            f"The local AWS ended without saving ({_how(code)}): messages since its start may be lost. "
            + await asyncio.to_thread(_last_words, log)
        )


async def _stopped(process: asyncio.subprocess.Process) -> int:
    """Stop it and return its exit code: 0 if it has saved."""
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            process.kill()
    return await process.wait()


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _environment(folder: Path, port: int, key: LocalKey) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return inherited | {
        "AUTH": "true",
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
        "AWS_ACCESS_KEY_ID": key.id,  # its root key, which verifies every request and presigned URL
        "AWS_SECRET_ACCESS_KEY": key.secret,
        "AWS_SESSION_TOKEN": "",
    }


async def _listening(
    process: asyncio.subprocess.Process, port: int, *, log: Path, timeout_s: float = START_TIMEOUT_S
) -> None:
    why = "did not start"
    try:
        async with asyncio.timeout(timeout_s):
            while process.returncode is None:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(ASK_EVERY_S)
                else:
                    writer.close()
                    return
    except TimeoutError:
        why = f"did not answer within {timeout_s:.0f} s"
    raise RuntimeError(f"The local AWS {why}. {await asyncio.to_thread(_last_words, log)}")


def _last_words(log: Path) -> str:
    words = log.read_text(errors="replace")[-LAST_WORDS_CHARS:].strip()
    return f"The end of its log ({log}):\n{words}" if words else f"Its log is empty ({log})."


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


def _write_address(file: Path, aws: LocalAws) -> None:
    """Write the address and the key for `chat --local` (lambda_src/cli/places.py), readable by the owner only."""
    file.unlink(missing_ok=True)  # left by a run that was killed
    address = {
        "endpoint_url": aws.url,
        "region": REGION,
        "access_key_id": aws.key.id,
        "secret_access_key": aws.key.secret,
        "table": TABLE,
        "bucket": BUCKET,
        "pid": os.getpid(),
    }
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        json.dump(address, stream)


async def _lock(log: BinaryIO, folder: Path) -> None:
    """Lock the folder, because two local AWSs would overwrite each other's state. MiniStack inherits the lock.

    Waits for a MiniStack whose parent was killed and which is still saving. RuntimeError: the folder is in use.
    """
    owner = folder / "make-dev.pid"
    for _ in range(round(STOP_TIMEOUT_S / ASK_EVERY_S)):
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if (pid := await asyncio.to_thread(_running, owner)) is not None:
                raise RuntimeError(
                    f"Another make dev (process {pid}) uses {folder}. Stop it, or use another folder: "
                    'make dev FLAGS="--data DIR".'
                ) from None
            await asyncio.sleep(ASK_EVERY_S)
        else:
            await asyncio.to_thread(owner.write_text, str(os.getpid()))
            return
    raise RuntimeError(
        f"A MiniStack of an earlier make dev still uses {folder} and does not end. Find it with `ps ax | grep "
        'ministack`, or use another folder: make dev FLAGS="--data DIR".'
    )


def _running(owner: Path) -> int | None:
    """The id in the file, if that process is running."""
    try:
        pid = int(owner.read_text())
        os.kill(pid, 0)
    except (OSError, ValueError):
        return None
    return pid


def _open_log(log: Path) -> BinaryIO:
    log.parent.mkdir(parents=True, exist_ok=True)
    return log.open("ab")  # not "wb", which would empty it before we have the lock


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
