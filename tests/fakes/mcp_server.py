"""A real MCP server in its own process, over Streamable HTTP. It reports the method of each HTTP request.

Processes are forked from one that has imported this module, because importing `mcp` takes longer than most tests.
"""

import asyncio
import errno
import multiprocessing
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess

import uvicorn
from mcp.server import MCPServer
from starlette.types import ASGIApp, Receive, Scope, Send

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([__name__])


def listening(port: int) -> socket.socket:
    """Return a socket at `port`, or at any port if it is 0.

    That port can be taken again after the process has died: it is not one that the system gives to connections.
    """
    for candidate in [port] if port else random.sample(range(20_000, 30_000), 100):
        try:
            return socket.create_server(("127.0.0.1", candidate))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or port:
                raise
    raise AssertionError("100 ports in a row are in use")


def serve(port: int, report: Connection) -> None:
    """Report the server's URL, then serve until killed."""
    server = MCPServer("Warehouse")

    @server.tool()
    def count_socks() -> str:
        """How many socks there are."""
        return "there are 42 socks"

    @server.tool()
    def drop_socks() -> str:
        """Fails."""
        raise ValueError("the drawer is stuck")

    @server.tool()
    async def wait_for_socks() -> str:
        """Never answers."""
        await asyncio.Event().wait()
        raise AssertionError

    def with_reports(app: ASGIApp) -> ASGIApp:
        async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                report.send(scope["method"])
            await app(scope, receive, send)

        return wrapped

    listener = listening(port)
    report.send(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp")
    config = uvicorn.Config(with_reports(server.streamable_http_app()), log_level="critical", lifespan="on")
    uvicorn.Server(config).run(sockets=[listener])


@dataclass(slots=True)
class McpProcess:
    """A running server. `requests` are the HTTP methods of the requests so far."""

    url: str
    process: ForkServerProcess
    requests: list[str] = field(default_factory=list)
    requested: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until_requested(self, times: int) -> None:
        """Wait until `times` requests have arrived."""
        async with self.requested:
            await self.requested.wait_for(lambda: len(self.requests) >= times)

    @property
    def port(self) -> int:
        return int(self.url.split(":")[2].split("/")[0])

    async def kill(self) -> None:
        """Kill the process, as when a machine fails."""
        self.process.kill()
        await asyncio.to_thread(self.process.join)


@asynccontextmanager
async def mcp_process(port: int = 0) -> AsyncIterator[McpProcess]:
    """Run a server inside the block."""
    reports, report = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=serve, args=(port, report), daemon=True)
    await asyncio.to_thread(process.start)
    report.close()
    running = McpProcess(await asyncio.to_thread(reports.recv), process)

    async def listen() -> None:
        while True:
            try:
                request = await asyncio.to_thread(reports.recv)
            except EOFError:
                return
            async with running.requested:
                running.requests.append(request)
                running.requested.notify_all()

    listener = asyncio.create_task(listen())
    try:
        yield running
    finally:
        await running.kill()
        await listener
        reports.close()
        process.close()
