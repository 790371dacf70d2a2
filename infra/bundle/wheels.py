"""Installs the locked wheels for one platform and compiles bytecode. Knows no code of ours."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.errors import BundleError

TASK_ROOT = "/var/task"  # where Lambda unpacks the zip: tracebacks show paths that exist there


@dataclass(frozen=True, slots=True)
class Target:
    """Where the zip runs. `platform` is uv's name, None for this machine; `name` is the name of its build."""

    python: str
    platform: str | None
    name: str = "lambda-here"

    def __str__(self) -> str:
        return f"Python {self.python}, {self.platform or 'this machine'}"


def for_this_interpreter() -> Target:
    """The target for this machine and this Python, with which the local AWS runs functions."""
    return Target(python=f"{sys.version_info.major}.{sys.version_info.minor}", platform=None)


# Lambda's Python 3.13 runs on Amazon Linux 2023, which has glibc 2.34.
LAMBDA = {
    "arm64": Target(python="3.13", platform="aarch64-manylinux_2_34", name="lambda"),
    "x86_64": Target(python="3.13", platform="x86_64-manylinux_2_34", name="lambda-x86_64"),
}


def install(root: Path, *, to: Path, target: Target, uv: list[str], environ: Mapping[str, str]) -> None:
    """Install uv.lock's runtime dependencies and the group `agent` into the folder `to`. Wheels only, checked by hash.

    Goes through a pylock.toml, which holds each wheel's URL: no index is queried, and offline uv's cache suffices.
    Files are copied, because links into the cache would change when the cache does.
    """
    lock = to.parent / f"pylock.{to.name}.toml"
    export = ["export", "--frozen", "--no-default-groups", "--group", "agent", "--no-emit-project"]
    _run([*uv, *export, "--format", "pylock.toml", "--output-file", str(lock)], cwd=root, environ=environ)
    platform = ["--python-platform", target.platform] if target.platform else []
    into = ["--python", sys.executable, "--target", str(to), "--python-version", target.python, *platform]
    options = ["--only-binary", ":all:", "--no-deps", "--require-hashes", "--link-mode", "copy"]
    _run([*uv, "pip", "install", *into, *options, "--requirement", str(lock)], cwd=root, environ=environ)
    shutil.rmtree(to / "bin", ignore_errors=True)  # scripts whose first line is the path of a local Python
    (to / ".lock").unlink(missing_ok=True)


def _run(command: list[str], *, cwd: Path, environ: Mapping[str, str]) -> None:
    done = subprocess.run(
        [*command, "--quiet"], cwd=cwd, env=dict(environ), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BundleError(f"the wheels cannot be installed. uv's output:\n{done.stderr.strip()}")


def compile_bytecode(folder: Path, *, under: Path, python: str) -> str:
    """Compile the Python files in `folder`, a part of the bundle `under`; return the compiler's errors, or ''.

    Lambda's disk is read-only: without bytecode, every cold start compiles again and takes twice as long. Python does
    not validate the bytecode, because our zip keeps no file times. A fixed hash seed makes the bytecode reproducible.
    """
    command = [python, "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash"]
    strip = ["-s", str(under.resolve()), "-p", TASK_ROOT]
    # Drop every other variable that configures Python: PYTHONPYCACHEPREFIX would put the bytecode elsewhere.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environ["PYTHONHASHSEED"] = "0"
    done = subprocess.run(
        [*command, *strip, str(folder.resolve())], env=environ, capture_output=True, text=True, check=False
    )
    return (done.stdout + done.stderr).strip() if done.returncode else ""
