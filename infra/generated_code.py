"""The code that a cold start generates, compiled at build time: see lambda_src/cold_start/generated.py.

To know it, what goes to Lambda is loaded once, by a Python like the one that will run it. Libraries for another
processor cannot be loaded here; the same ones for this machine generate the same code, so they are installed beside.
"""

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from infra import wheels
from infra.errors import BundleError
from infra.wheels import Target

RECORDER = Path("dev") / "generated_code.py"
WRITTEN = Path("cold_start") / "generated.bin"
SEEDS = ("1", "2")  # of hashes: what differs between two is not kept, so that the same inputs give the same bytes
TIMEOUT_S = 300
# All that the run learns of AWS: neither the files nor the role of whoever builds are looked at.
NOBODY = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "nobody",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


def write(code: Path, *, folder: Path, target: Target, python: str, uv: list[str], environ: Mapping[str, str]) -> str:
    """Put the file into `folder`, the unzipped bundle of our package `code`; returns what went wrong, or ''."""
    try:
        libraries = _libraries(code.parent, folder=folder, target=target, uv=uv, environ=environ)
    except BundleError as error:
        return str(error)
    path = os.pathsep.join(dict.fromkeys([str(libraries), str(folder)]))
    written = folder / code.name / WRITTEN
    quiet = ["-B"] if libraries == folder else []  # bytecode with times is not for the zip; beside, it saves seconds
    command = [python, "-P", *quiet, str(code / RECORDER), str(written)]
    for seed in SEEDS:
        env = {"PATH": environ.get("PATH", os.defpath), "PYTHONPATH": path, "PYTHONHASHSEED": seed, **NOBODY}
        if complaint := _complaint(command, cwd=folder, env=env):
            written.unlink(missing_ok=True)
            return complaint
    return ""


def _complaint(command: list[str], *, cwd: Path, env: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(
            command, cwd=cwd, env=dict(env), capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return f"it was not done after {TIMEOUT_S} s"
    return "" if done.returncode == 0 else done.stderr.strip() or f"exit status {done.returncode}"


def beside(folder: Path) -> Path:
    """Where the libraries for this machine are, when `folder` has another's."""
    return folder.with_name(f"{folder.name}-beside")


def _libraries(root: Path, *, folder: Path, target: Target, uv: list[str], environ: Mapping[str, str]) -> Path:
    if _runs_here(target):
        return folder
    libraries = beside(folder)
    if not libraries.is_dir():
        try:
            libraries.mkdir(parents=True)
            wheels.install(root, to=libraries, target=replace(target, platform=None), uv=uv, environ=environ)
        except BaseException:
            shutil.rmtree(libraries, ignore_errors=True)  # half of it would be taken for all of it the next time
            raise
    return libraries


def _runs_here(target: Target) -> bool:
    here = f"{platform.machine()}-manylinux" if platform.system() == "Linux" else None
    return target.platform is None or (here is not None and target.platform.startswith(here))
