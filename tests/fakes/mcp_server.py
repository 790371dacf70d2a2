"""A real MCP server in a process of its own, over Streamable HTTP. It reports one line for each HTTP request.

Processes are forked from one that has imported this module: importing `mcp` takes longer than most tests.
"""

import asyncio
import multiprocessing
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

    def reporting(app: ASGIApp) -> ASGIApp:
        async def reported(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                report.send(scope["method"])
            await app(scope, receive, send)

        return reported

    listening = socket.create_server(("127.0.0.1", port))
    report.send(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp")
    config = uvicorn.Config(reporting(server.streamable_http_app()), log_level="critical", lifespan="on")
    uvicorn.Server(config).run(sockets=[listening])


@dataclass(slots=True)
class McpProcess:
    """A running one. `requests` are the methods that it was asked with."""

    url: str
    process: ForkServerProcess
    requests: list[str] = field(default_factory=list)
    asked: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until_asked(self, times: int) -> None:
        """Return when so many requests have come."""
        async with self.asked:
            await self.asked.wait_for(lambda: len(self.requests) >= times)

    @property
    def port(self) -> int:
        return int(self.url.split(":")[2].split("/")[0])

    async def kill(self) -> None:
        """As a machine that fails."""
        self.process.kill()
        await asyncio.to_thread(self.process.join)


@asynccontextmanager
async def mcp_process(port: int = 0) -> AsyncIterator[McpProcess]:
    """A server of its own while this is entered."""
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
            async with running.asked:
                running.requests.append(request)
                running.asked.notify_all()

    listening = asyncio.create_task(listen())
    try:
        yield running
    finally:
        await running.kill()
        await listening
        reports.close()
        process.close()
