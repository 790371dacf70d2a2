"""Installs, builds and serves copies of examples/ in .local/examples/. npm ci runs only if a lock file has changed."""

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
GENERATED = ("node_modules", "dist", ".next", "next-env.d.ts")  # not part of an example
POLL_EVERY_S = 0.1
START_S = 120  # for a busy machine


@dataclass(frozen=True)
class Example:
    """One of the examples: the prefix of its settings, and how it is built and served."""

    name: str
    prefix: str
    builds: tuple[tuple[str, ...], ...]  # run in order: a program in node_modules and its arguments
    serve: tuple[str, ...]

    @contextmanager
    def at(self, chat_url: str, **env: str) -> Iterator[str]:
        """Build and serve the example for the chat at `chat_url`, and yield the example's URL."""
        folder = self.installed()
        settings = {f"{self.prefix}CHAT_URL": chat_url, **env}
        for program, *arguments in self.builds:
            run([*tool(program), *arguments], folder, settings)
        port = free_port()
        with serving([*tool(self.serve[0]), *self.serve[1:], "--port", str(port)], folder, port, settings) as url:
            yield url

    def installed(self) -> Path:
        """The folder of a current copy with the locked packages installed."""
        return installed(EXAMPLES / self.name)


TSC, RUN_VITE, RUN_NEXT = "typescript/bin/tsc", "vite/bin/vite.js", "next/dist/bin/next"
VITE = Example("react-vite", "VITE_", ((TSC,), (RUN_VITE, "build")), (RUN_VITE, "preview"))
NEXT = Example("next", "NEXT_PUBLIC_", ((RUN_NEXT, "build"),), (RUN_NEXT, "start"))  # its build runs tsc


def installed(source: Path) -> Path:
    """The folder of a current copy of an npm package with its locked packages installed."""
    copy = COPIES / source.name
    copy.mkdir(parents=True, exist_ok=True)
    for old in copy.iterdir():
        if old.name not in (*GENERATED, "installed"):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns(*GENERATED), dirs_exist_ok=True)
    lock, stamp = (copy / "package-lock.json").read_bytes(), copy / "installed"
    if not stamp.is_file() or stamp.read_bytes() != lock:
        run([*toolchain.find_npm(), "ci", "--loglevel=error"], copy)
        stamp.write_bytes(lock)
    return copy


def run(command: list[str], folder: Path, env: Mapping[str, str] | None = None) -> None:
    """Run a command. If it fails, raise an AssertionError with its output."""
    done = subprocess.run(
        command, cwd=folder, env=environment(env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, f"{' '.join(command)} in {folder}:\n{done.stdout}"


def environment(env: Mapping[str, str] | None) -> dict[str, str]:
    """Our environment and `env`, with our Node first in PATH."""
    return toolchain.with_node({**os.environ, "NEXT_TELEMETRY_DISABLED": "1", **(env or {})})


def tool(program: str) -> list[str]:
    """The command that starts a program in the example's node_modules."""
    return [*toolchain.find_node(), f"node_modules/{program}"]


@contextmanager
def serving(command: list[str], folder: Path, port: int, env: Mapping[str, str]) -> Iterator[str]:
    """Serve the example on http://localhost:`port` until the block ends."""
    log = folder / "server.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=folder, env=environment(env), stdout=output, stderr=subprocess.STDOUT) as process,
    ):
        try:
            until = time.monotonic() + START_S
            while not is_listening(port):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(POLL_EVERY_S)
            yield f"http://localhost:{port}"
        finally:
            process.terminate()


def is_listening(port: int) -> bool:
    """Whether something listens on the port."""
    try:
        socket.create_connection(("localhost", port)).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
