"""What others wrote: the locked wheels for one platform, cut down to what is used, and compiled. Knows no code of ours.

boto3 carries a description of every AWS service, half of the zip. Kept are those that some code in the zip names in a
call, `client("sqs")` or `resource("sqs")`; write the name like that once, and its service is there. Without its prose.
"""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.errors import BundleError

TASK_ROOT = "/var/task"  # where Lambda unpacks the zip; tracebacks shall show the path that exists there

_CLIENT_CALL = re.compile(r"(?:client|resource)\(\s*(?:service_name\s*=\s*)?[\"']([a-z0-9-]+)[\"']")
_AWS_SDK = {"boto3", "botocore", "s3transfer"}  # they name services in examples


@dataclass(frozen=True, slots=True)
class Target:
    """Where the zip shall run. `platform` in uv's words; None is this machine. `name` is that of its files."""

    python: str
    platform: str | None
    name: str = "lambda-here"

    def __str__(self) -> str:
        return f"Python {self.python}, {self.platform or 'this machine'}"


def for_this_interpreter() -> Target:
    """For the machine and the Python that run this: the local AWS runs a function with the same."""
    return Target(python=f"{sys.version_info.major}.{sys.version_info.minor}", platform=None)


# Amazon Linux 2023, on which Lambda's Python 3.13 stands, has glibc 2.34.
LAMBDA = {
    "arm64": Target(python="3.13", platform="aarch64-manylinux_2_34", name="lambda"),
    "x86_64": Target(python="3.13", platform="x86_64-manylinux_2_34", name="lambda-x86_64"),
}


def install(root: Path, *, to: Path, target: Target, uv: list[str], environ: Mapping[str, str]) -> None:
    """Install what uv.lock says runs in Lambda, and the group `agent`, into the folder `to`. Wheels only, by hash.

    By way of a pylock.toml, which names each wheel's address: no index is asked, and uv's cache is enough offline.
    Copied, not linked to that cache: what is in the zip must not change when something else does.
    """
    lock = to.parent / f"pylock.{to.name}.toml"
    export = ["export", "--frozen", "--no-default-groups", "--group", "agent", "--no-emit-project"]
    _run([*uv, *export, "--format", "pylock.toml", "--output-file", str(lock)], cwd=root, environ=environ)
    platform = ["--python-platform", target.platform] if target.platform else []
    into = ["--python", sys.executable, "--target", str(to), "--python-version", target.python, *platform]
    options = ["--only-binary", ":all:", "--no-deps", "--require-hashes", "--link-mode", "copy"]
    _run([*uv, "pip", "install", *into, *options, "--requirement", str(lock)], cwd=root, environ=environ)
    shutil.rmtree(to / "bin", ignore_errors=True)  # scripts that begin with the path of a Python of this machine
    (to / ".lock").unlink(missing_ok=True)


def _run(command: list[str], *, cwd: Path, environ: Mapping[str, str]) -> None:
    done = subprocess.run(
        [*command, "--quiet"], cwd=cwd, env=dict(environ), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BundleError(f"the wheels cannot be installed, uv says:\n{done.stderr.strip()}")


def services_named(sources: Iterable[Path]) -> set[str]:
    """The AWS services that these Python files ask boto3 for by a literal name."""
    return {name for path in sources for name in _CLIENT_CALL.findall(path.read_text("utf-8", errors="replace"))}


def trim_services(folder: Path, *, keep: set[str]) -> list[str]:
    """Remove the services that neither `keep` nor a library in `folder` names from its botocore; returns the rest."""
    data = folder / "botocore" / "data"
    if not data.is_dir():
        return []
    libraries = (path for path in folder.rglob("*.py") if path.relative_to(folder).parts[0] not in _AWS_SDK)
    wanted = keep | services_named(libraries)
    services = sorted(path.name for path in data.iterdir() if path.is_dir())
    for service in services:
        if service not in wanted:
            shutil.rmtree(data / service)
    kept = [service for service in services if service in wanted]
    _trim_endpoints(data, {prefix for service in kept for prefix in _described(data / service)})
    return kept


def _described(service: Path) -> set[str]:
    """By which names endpoints.json may know a service. Takes the prose out of its descriptions on the way.

    It is most of them; a process parses and keeps all of it to serve help() alone.
    """
    prefixes = {service.name}
    for packed in sorted(service.glob("*/service-2.json.gz")):
        description = _without_prose(json.loads(gzip.decompress(packed.read_bytes())))
        prefixes.add(description["metadata"]["endpointPrefix"])
        packed.with_suffix("").write_text(json.dumps(description, separators=(",", ":")), "utf-8")
        packed.unlink()
    return prefixes


def _without_prose(part: Any) -> Any:  # noqa: ANN401 - JSON
    """The same, each `documentation` empty: botocore asks for some, and where it is no text it is a member's name."""
    if isinstance(part, dict):
        return {
            name: "" if name == "documentation" and isinstance(inner, str) else _without_prose(inner)
            for name, inner in part.items()
        }
    return [_without_prose(inner) for inner in part] if isinstance(part, list) else part


def _trim_endpoints(data: Path, prefixes: set[str]) -> None:
    """Leave only these services in endpoints.json: a process's first client reads all of it, for 20 ms and 6 MB."""
    file = data / "endpoints.json"
    if not file.is_file():
        return
    endpoints = json.loads(file.read_text("utf-8"))
    for partition in endpoints["partitions"]:
        partition["services"] = {name: found for name, found in partition["services"].items() if name in prefixes}
    file.write_text(json.dumps(endpoints, separators=(",", ":")), "utf-8")


def compile_bytecode(folder: Path, *, under: Path, python: str) -> str:
    """Compile what is in `folder`, a part of the bundle `under`; returns what the compiler complained about, or ''.

    Lambda's disk is read-only: without bytecode every cold start compiles again, twice the time. Unchecked, since
    a zip keeps no times that it could be checked by. With one seed for hashes, sets are written in one order.
    """
    command = [python, "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash"]
    strip = ["-s", str(under.resolve()), "-p", TASK_ROOT]
    # Nothing else that steers Python from outside: PYTHONPYCACHEPREFIX would put the bytecode elsewhere.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environ["PYTHONHASHSEED"] = "0"
    done = subprocess.run(
        [*command, *strip, str(folder.resolve())], env=environ, capture_output=True, text=True, check=False
    )
    return (done.stdout + done.stderr).strip() if done.returncode else ""
