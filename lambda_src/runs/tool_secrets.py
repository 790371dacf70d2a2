"""Secrets for tools: `await secret("shop-api-key")`. Knows no AWS: a function that reads a secret is passed in.

A process has one set of secrets, installed when its app is built. Each value is cached and read again once it is a
minute old, so a changed secret needs no deployment. Why a secret cannot be read is logged as `tool_secret_not_read`;
the user gets one plain sentence. No value is ever logged.
"""

import logging
import re
import time
from collections.abc import Callable, Collection

from lambda_src.errors import UnavailableError
from lambda_src.rotating_secret import OLDEST_S, Secret

NAME = re.compile(r"[a-z][a-z0-9-]{0,62}", re.ASCII)  # part of the names of an SSM parameter and a variable
HIDDEN = "•••"  # shown instead of a secret
UNREADABLE = "Something that this assistant needs is not available at the moment. Try again later."
NOT_INSTALLED = (
    "no secrets are available here: they are read by a deployed stage, `make dev` and `chat.secrets` in tests"
)

log = logging.getLogger(__name__)


class SecretError(UnavailableError):
    """A secret cannot be read. The text is for the user; the log and tracebacks have the reason."""


class SecretReadError(Exception):
    """The reason why a secret cannot be read, for the operator."""


class ToolSecrets:
    """The secrets of one process. `names` are the allowed names; None allows all."""

    def __init__(
        self,
        read: Callable[[str], str],
        names: Collection[str] | None = None,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`read` returns the value of a secret by its name. It may block, and raises SecretReadError if it cannot."""
        self._read, self._names, self._now = read, names, now
        self._cached: dict[str, Secret] = {}
        self._given: set[str] = set()  # every value that a tool has received, also those rotated since

    async def value(self, name: str) -> str:
        """The secret's value. Raises SecretReadError with the reason if it cannot be read."""
        if not NAME.fullmatch(name):
            raise SecretReadError("a secret's name has up to 63 of a-z, 0-9 and -, a letter first")
        if self._names is not None and name not in self._names:
            listed = ", ".join(self._names) or "no secrets"
            raise SecretReadError(f"the stage does not list it in cdk.json, `secrets`: it lists {listed}")
        if name not in self._cached:
            self._cached[name] = Secret(lambda: self._present(name), oldest_s=OLDEST_S, now=self._now)
        value = await self._cached[name].value()
        self._given.add(value)
        return value

    def spans_in(self, text: str) -> list[tuple[int, int]]:
        """Where `text` has a value that tools have received, as pairs of begin and end. They may overlap."""
        return [match.span() for value in self._given for match in re.finditer(re.escape(value), text)]

    def _present(self, name: str) -> str:
        if not (value := self._read(name).strip()):
            raise SecretReadError("it is empty")
        return value


_installed: ToolSecrets | None = None


def install(secrets: ToolSecrets | None) -> None:
    """Set the secrets of the process, replacing any earlier ones."""
    global _installed
    _installed = secrets


def spans_in(text: str) -> list[tuple[int, int]]:
    """Where `text` has a secret that tools of this process have received, as pairs of begin and end."""
    return [] if _installed is None else _installed.spans_in(text)


async def secret(name: str) -> str:
    """The value of a secret that the stage lists in cdk.json: `key = await secret("shop-api-key")`.

    On AWS it is an SSM parameter, set with `chat secret set NAME --stage STAGE`; under `make dev` it comes from
    `chat secret set NAME --local` or the environment, in tests from `chat.secrets`. The value is cached for a minute:
    call this where you use the value, and do not keep it. Raises SecretError if there is no such secret, if it is
    empty, or if it cannot be read; the log line `tool_secret_not_read` says why.
    """
    try:
        if _installed is None:
            raise SecretReadError(NOT_INSTALLED)
        return await _installed.value(name)
    except SecretReadError as cause:
        reason, safe_name = str(cause), name if NAME.fullmatch(name) else "not a name"
        log.error("tool_secret_not_read", extra={"secret": safe_name, "reason": reason})
        error = SecretError(UNREADABLE)
        error.add_note(f"The secret {safe_name!r} cannot be read: {reason}.")
        raise error from cause
