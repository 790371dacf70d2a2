"""AWS clients and secrets. Uses botocore alone: boto3 would also load resources and S3's transfer manager, unused.

Part of the composition root, which passes clients to the modules that use them.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lambda_src.errors import UnavailableError
from lambda_src.runs.tool_secrets import SecretReadError

if TYPE_CHECKING:
    from botocore.config import Config
    from botocore.session import Session

UNREADABLE = "A secret of this server cannot be read at the moment. Try again shortly."
NO_PARAMETER = "ParameterNotFound"

log = logging.getLogger(__name__)


class _MissingError(UnavailableError):
    """The parameter does not exist yet."""


class Clients:
    """Creates clients with one session, which reads botocore's data once."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self._making = threading.RLock()  # sessions are not thread-safe

    def client(self, service: str, config: "Config | None" = None) -> Any:  # noqa: ANN401 - clients have no common type
        """A client with the timeouts of a chat, or with `config`. It still works after a SnapStart restore.

        Model clients need no hook: they are built on the first message, which is never part of a snapshot.
        """
        with self._making:
            import botocore.session  # noqa: PLC0415 - 0.2 s that the memory store does not need

            from lambda_src.store.aws_calls import CLIENT_CONFIG  # noqa: PLC0415 - imports botocore

            self._session = self._session or botocore.session.get_session()
            client = self._session.create_client(service, config=config or CLIENT_CONFIG)
        if is_snapshot():
            from snapshot_restore_py import register_after_restore  # noqa: PLC0415 - part of the managed runtime

            register_after_restore(client.close)  # the snapshot's sockets are dead; the next call opens new ones
        return client

    def late_client(self, service: str, config: "Config | None" = None) -> Any:  # noqa: ANN401 - as above
        """A client that is created on first use, or at once under SnapStart: S3's takes 30 ms, few requests need it."""
        return self.client(service, config) if is_snapshot() else _Late(lambda: self.client(service, config))

    def model_key(self, parameter: str | None) -> str | None:
        """The model key from SSM (a SecureString); None if no parameter is named or it does not exist yet.

        UnavailableError: it cannot be read, now or ever.
        """
        if parameter is None:
            return None
        try:
            return self._parameter(parameter)
        except _MissingError:
            return None

    def stored_secret(self, name: str) -> str:
        """The text of a secret: an SSM parameter if `name` is a path, else a secret in Secrets Manager.

        UnavailableError: it cannot be read, now or ever.
        """
        return self._parameter(name) if name.startswith("/") else self._secret(name)

    def tool_secret(self, parameter: str) -> str:
        """The value of a parameter that a tool needs. SecretReadError says why it cannot be read."""
        try:
            return self._parameter(parameter)
        except UnavailableError as error:
            raise SecretReadError(_why_unreadable(parameter, error.__cause__)) from error

    def _parameter(self, name: str) -> str:
        with _readable():
            text: str = self.client("ssm").get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
        return text

    def _secret(self, name: str) -> str:
        with _readable():
            text: str = self.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"]
        return text


def _why_unreadable(parameter: str, cause: BaseException | None) -> str:
    """Why a parameter cannot be read, and what the operator can do."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - a stage may have no such secret

    code = cause.response["Error"]["Code"] if isinstance(cause, ClientError) else type(cause).__qualname__
    match code:
        case "ParameterNotFound":
            name = parameter.rpartition("/")[2]
            return f'the SSM parameter {parameter} does not exist: `make chat ARGS="secret set {name} --stage STAGE"`'
        case "AccessDeniedException" | "AccessDenied":
            return f"the function may not read the SSM parameter {parameter} ({code}): deploy the stage again"
        case _:
            return f"the SSM parameter {parameter} could not be read ({code})"


@contextmanager
def _readable() -> Iterator[None]:
    """Turns AWS's errors into an UnavailableError whose text reveals neither the secret's name nor the cause."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - a stage may have no such secret

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__qualname__
        if code == NO_PARAMETER:
            raise _MissingError(UNREADABLE) from error
        log.warning("secret_not_read", extra={"kind": code})
        raise UnavailableError(UNREADABLE) from error


def is_snapshot() -> bool:
    """Whether this process is being initialized for a SnapStart snapshot."""
    return os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start"


class _Late:
    """A proxy that creates its client when the first of its methods is accessed."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make, self._lock = make, threading.Lock()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as a client's
        with self._lock:
            if "_client" not in self.__dict__:
                self._client = self._make()
        return getattr(self._client, name)
