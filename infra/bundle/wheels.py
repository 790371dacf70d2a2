"""Installs the locked wheels for one platform, trims botocore and compiles bytecode. Knows no code of ours.

botocore describes every AWS service, which is half of the zip. We keep the services that code in the zip names in a
call such as `client("sqs")` or `resource("sqs")`, without their documentation: to use a service, name it in a call.
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

TASK_ROOT = "/var/task"  # where Lambda unpacks the zip: tracebacks show paths that exist there

_CLIENT_CALL = re.compile(r"(?:client|resource)\(\s*(?:service_name\s*=\s*)?[\"']([a-z0-9-]+)[\"']")
_AWS_SDK = {"boto3", "botocore", "s3transfer"}  # they name services in examples, not to call them


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


def services_named(sources: Iterable[Path]) -> set[str]:
    """The AWS services for which these Python files create a client or resource by a literal name."""
    return {name for path in sources for name in _CLIENT_CALL.findall(path.read_text("utf-8", errors="replace"))}


def trim_services(folder: Path, *, keep: set[str]) -> list[str]:
    """Remove every service from botocore in `folder` that neither `keep` nor a library names; return the others."""
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
    """Strip the documentation from a service's descriptions; return the names it may have in endpoints.json.

    The documentation is most of a description. A process would parse and keep it just to serve help().
    """
    prefixes = {service.name}
    for packed in sorted(service.glob("*/service-2.json.gz")):
        description = _without_prose(json.loads(gzip.decompress(packed.read_bytes())))
        prefixes.add(description["metadata"]["endpointPrefix"])
        packed.with_suffix("").write_text(json.dumps(description, separators=(",", ":")), "utf-8")
        packed.unlink()
    return prefixes


def _without_prose(part: Any) -> Any:  # noqa: ANN401 - JSON
    """The same JSON with each `documentation` empty. botocore needs the key; a value that is no text is a member."""
    if isinstance(part, dict):
        return {
            name: "" if name == "documentation" and isinstance(inner, str) else _without_prose(inner)
            for name, inner in part.items()
        }
    return [_without_prose(inner) for inner in part] if isinstance(part, list) else part


def _trim_endpoints(data: Path, prefixes: set[str]) -> None:
    """Keep only these services in endpoints.json: a process's first client parses all of it, 20 ms and 6 MB."""
    file = data / "endpoints.json"
    if not file.is_file():
        return
    endpoints = json.loads(file.read_text("utf-8"))
    for partition in endpoints["partitions"]:
        partition["services"] = {name: entry for name, entry in partition["services"].items() if name in prefixes}
    file.write_text(json.dumps(endpoints, separators=(",", ":")), "utf-8")


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
