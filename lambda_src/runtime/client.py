"""The runtime's end of the Runtime API: next, error, restore. Knows no handler and no ASGI.

One client holds one connection and serves one invocation at a time; with Managed Instances there are N clients.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from lambda_src.runtime import protocol
from lambda_src.runtime.connection import Connection
from lambda_src.runtime.errors import RuntimeApiError
from lambda_src.runtime.http1 import ApiResponse, head
from lambda_src.runtime.protocol import ErrorReport, Invocation
from lambda_src.runtime.reply import Reply

NEXT_ATTEMPTS = 5  # as AWS's own client; a 403 right after a broken answer is gone at the second
FIRST_PAUSE_S = 0.1  # before the second attempt; doubled before each further one
SERVER_FAULT = 500  # from this status on the sandbox is lost: the runtime must exit

Pause = Callable[[float], Awaitable[None]]


class RuntimeClient:
    """`address` is host:port, AWS_LAMBDA_RUNTIME_API. `pause` sleeps for seconds; tests hand in one that does not."""

    def __init__(self, address: str, *, pause: Pause = asyncio.sleep) -> None:
        self._address, self._pause = address, pause
        self._connection: Connection | None = None

    async def next(self) -> Invocation:
        """The next invocation; waits without a time-out, since the sandbox is frozen meanwhile (API).

        RuntimeApiError or OSError when the Runtime API has gone: there is nothing left to do but exit.
        """
        for attempt in range(NEXT_ATTEMPTS):
            last = attempt == NEXT_ATTEMPTS - 1
            try:
                response = await self._call("GET", protocol.NEXT_PATH)
            except OSError:
                if last:
                    raise
            else:
                if response.status == 200:
                    return Invocation.from_response(response.headers, response.body)
                if last or response.status >= SERVER_FAULT:
                    raise RuntimeApiError("next", response.status, response.body)
            await self._pause(FIRST_PAUSE_S * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    async def reply(self, invocation: Invocation) -> Reply:
        """A new answer to `invocation`, of which nothing is sent yet."""
        return Reply(await self._connect(), invocation, host=self._address)

    async def report(self, path: str, report: ErrorReport) -> None:
        """Report that the function cannot start (INIT_ERROR_PATH) or be restored (RESTORE_ERROR_PATH)."""
        response = await self._call("POST", path, report.headers(), report.encode())
        if response.status != 202:
            raise RuntimeApiError(path, response.status, response.body)

    async def restore_next(self) -> None:
        """Let Lambda take the snapshot; returns in the restored process, without the old connection (SnapStart)."""
        try:
            response = await self._call("GET", protocol.RESTORE_NEXT_PATH)
        finally:
            self.close()
        if response.status != 200:
            raise RuntimeApiError("restore/next", response.status, response.body)

    def close(self) -> None:
        """Drop the connection; the next call opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _connect(self) -> Connection:
        if self._connection is None or not self._connection.usable:
            self._connection = await Connection.open(self._address)
        return self._connection

    async def _call(
        self, method: str, path: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
    ) -> ApiResponse:
        connection = await self._connect()
        framing = [("Host", self._address), *([("Content-Length", str(len(body)))] if method == "POST" else [])]
        return await connection.request(head(f"{method} {path} HTTP/1.1", [*framing, *headers]) + body)
