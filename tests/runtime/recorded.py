"""A Reply whose writes are recorded, without a socket."""

import asyncio
from typing import Any

from lambda_src.runtime.connection import Connection
from lambda_src.runtime.protocol import Invocation
from lambda_src.runtime.reply import Reply


class RecordedTransport(asyncio.Transport):
    """Records each write. Nothing else works."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self

    def setsockopt(self, *option: int) -> None:
        """Accept the options set on a socket."""


def recorded() -> tuple[Reply, list[bytes]]:
    """A reply to invocation `r-1` (`i-1`), and the list of its writes."""
    transport = RecordedTransport()
    connection = Connection()
    connection.connection_made(transport)
    invocation = Invocation(request_id="r-1", deadline_ms=1, event=b"", invocation_id="i-1")
    return Reply(connection, invocation, host="h:1"), transport.writes
