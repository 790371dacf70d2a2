"""The examples as a person uses them: a copy in .local/examples/, npm ci once a lock, a build, a server."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.bundle import toolchain

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
COPIES = ROOT / ".local" / "examples"
MADE = ("node_modules", "dist", ".next", "next-env.d.ts")  # not a part of an example
ASK_EVERY_S = 0.1
START_S = 120  # a machine with much else to do


@dataclass(frozen=True)
class Example:
    """One of examples/: which settings it reads, how it is built and served."""

    name: str
    prefix: str
    builds: tuple[tuple[str, ...], ...]  # one after the other: a program of node_modules, and its arguments
    serve: tuple[str, ...]

    @contextmanager
    def at(self, chat_url: str, **env: str) -> Iterator[str]:
        """Built for the chat there, and served; its own URL."""
        folder = self.installed()
        settings = {f"{self.prefix}CHAT_URL": chat_url, **env}
        for program, *arguments in self.builds:
            run([*tool(program), *arguments], folder, settings)
        port = free_port()
        with serving([*tool(self.serve[0]), *self.serve[1:], "--port", str(port)], folder, port, settings) as url:
            yield url

    def installed(self) -> Path:
        """A copy of its files as they are now, with what its lock says."""
        return installed(EXAMPLES / self.name)


TSC, RUN_VITE, RUN_NEXT = "typescript/bin/tsc", "vite/bin/vite.js", "next/dist/bin/next"
VITE = Example("react-vite", "VITE_", ((TSC,), (RUN_VITE, "build")), (RUN_VITE, "preview"))
NEXT = Example("next", "NEXT_PUBLIC_", ((RUN_NEXT, "build"),), (RUN_NEXT, "start"))  # its build runs tsc


def installed(source: Path) -> Path:
    """A copy of the npm package there, as its files are now, with the packages that its lock names."""
    copy = COPIES / source.name
    copy.mkdir(parents=True, exist_ok=True)
    for old in copy.iterdir():
        if old.name not in (*MADE, "installed"):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns(*MADE), dirs_exist_ok=True)
    lock, stamp = (copy / "package-lock.json").read_bytes(), copy / "installed"
    if not stamp.is_file() or stamp.read_bytes() != lock:
        run([*toolchain.find_npm(), "ci", "--loglevel=error"], copy)
        stamp.write_bytes(lock)
    return copy


def run(command: list[str], folder: Path, env: Mapping[str, str] | None = None) -> None:
    """Run it to its end; an AssertionError with what it printed when it failed."""
    done = subprocess.run(
        command, cwd=folder, env=environment(env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, f"{' '.join(command)} in {folder}:\n{done.stdout}"


def environment(env: Mapping[str, str] | None) -> dict[str, str]:
    """Ours and `env`, with our Node first in PATH."""
    return toolchain.with_node({**os.environ, "NEXT_TELEMETRY_DISABLED": "1", **(env or {})})


def tool(program: str) -> list[str]:
    """The words that start a program of the example's node_modules."""
    return [*toolchain.find_node(), f"node_modules/{program}"]


@contextmanager
def serving(command: list[str], folder: Path, port: int, env: Mapping[str, str]) -> Iterator[str]:
    """The example on http://localhost:`port`, until the block is left."""
    log = folder / "server.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=folder, env=environment(env), stdout=output, stderr=subprocess.STDOUT) as process,
    ):
        try:
            until = time.monotonic() + START_S
            while not answers(port):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(ASK_EVERY_S)
            yield f"http://localhost:{port}"
        finally:
            process.terminate()


def answers(port: int) -> bool:
    """Whether something listens there."""
    try:
        socket.create_connection(("localhost", port)).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
