"""A real MCP server in a process of its own, over Streamable HTTP: `python -m tests.fakes.mcp_server`.

Says its URL, then one line for each HTTP request.
"""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from mcp.server import MCPServer
from starlette.types import ASGIApp, Receive, Scope, Send

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Serve until killed."""
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

    def told(app: ASGIApp) -> ASGIApp:
        async def telling(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                say(scope["method"])
            await app(scope, receive, send)

        return telling

    listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    say(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp")
    config = uvicorn.Config(told(server.streamable_http_app()), log_level="critical", lifespan="on")
    uvicorn.Server(config).run(sockets=[listening])


def say(line: str) -> None:
    """To whoever started this."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@dataclass(slots=True)
class McpProcess:
    """A running one. `requests` are the methods that it was asked with."""

    url: str
    process: asyncio.subprocess.Process
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
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def mcp_process(port: int = 0) -> AsyncIterator[McpProcess]:
    """A server of its own while this is entered."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.fakes.mcp_server", str(port)]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    running = McpProcess((await process.stdout.readline()).decode().strip(), process)

    async def listen() -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            async with running.asked:
                running.requests.append(line.decode().strip())
                running.asked.notify_all()

    listening = asyncio.create_task(listen())
    try:
        yield running
    finally:
        await running.kill()
        await listening


if __name__ == "__main__":
    main()
