"""A local AWS on loopback: MiniStack in a process of its own, with the table and the bucket in it. Knows no chat.

Its data is written to `folder` when it is told to stop (that is how MiniStack persists); when whoever started it is
killed, it is told so by its leash (leash.py).
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

PYTHON = Path(sys.prefix) / "ministack" / "bin" / "python"  # its own environment: requirements/ministack.in
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
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")  # nothing else of the shell reaches it
START_TIMEOUT_S = 60.0  # seen: 0.8 to 2.5 s; a loaded laptop may take long
ASK_EVERY_S = 0.1
LAST_WORDS_CHARS = 2000
LEASH = Path(__file__).with_name("leash.py")
MINISTACK = Path(__file__).with_name("guarded_ministack.py")
STOP_TIMEOUT_S = 20.0  # it writes its state when it is told to stop


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
    """Where the local AWS listens, and what makes boto3 talk to it: a key of this run, which it asks everybody for."""

    url: str
    key: LocalKey

    @property
    def env(self) -> dict[str, str]:
        """Environment variables that send every AWS client of a process here (and nowhere else)."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.key.id,
            "AWS_SECRET_ACCESS_KEY": self.key.secret,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,  # a profile of somebody's may name endpoints of its own
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
    """A running local AWS whose data lives in `folder`; `on_death` is called if it ends before it is told to.

    RuntimeError, with its last words, when it does not start, or ended without saving.
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
            start_new_session=True,  # Ctrl-C is ours: it must outlive it long enough to save
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
            f"The local AWS ended without saving ({_how(code)}): what was said since its start may be lost. "
            + await asyncio.to_thread(_last_words, log)
        )


async def _stopped(process: asyncio.subprocess.Process) -> int:
    """Its exit code, once it has saved; 0 is a good end."""
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
        "AWS_ACCESS_KEY_ID": key.id,  # its root key: every request and presigned URL is verified against it
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
    return f"Its last words (all in {log}):\n{words}" if words else f"It left no words in {log}."


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
    """For `chat --local` (lambda_src/cli/places.py). It has the key of this run: only its owner can read it."""
    file.unlink(missing_ok=True)  # of a run that was killed
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
    """One local AWS a folder: two would overwrite each other's state. MiniStack inherits the lock.

    Whose starter was killed is about to save, and is waited for. RuntimeError: somebody uses the folder.
    """
    owner = folder / "make-dev.pid"
    for _ in range(round(STOP_TIMEOUT_S / ASK_EVERY_S)):
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if (pid := await asyncio.to_thread(_running, owner)) is not None:
                raise RuntimeError(
                    f"Another make dev (process {pid}) uses {folder}. End it, or use another folder: "
                    'make dev FLAGS="--data DIR".'
                ) from None
            await asyncio.sleep(ASK_EVERY_S)
        else:
            await asyncio.to_thread(owner.write_text, str(os.getpid()))
            return
    raise RuntimeError(
        f"A MiniStack that an earlier make dev left behind in {folder} does not end. Look for it with: ps ax | "
        'grep ministack; or use another folder: make dev FLAGS="--data DIR".'
    )


def _running(owner: Path) -> int | None:
    """The process whose id is in the file, if it is there."""
    try:
        pid = int(owner.read_text())
        os.kill(pid, 0)
    except (OSError, ValueError):
        return None
    return pid


def _open_log(log: Path) -> BinaryIO:
    log.parent.mkdir(parents=True, exist_ok=True)
    return log.open("ab")  # not "wb": the lock comes first


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
