"""Builds the zip that Lambda runs, without Docker: locked wheels for its platform, then our own code.

Knows which files belong in the zip and whether they changed. Knows no construct: CDK gets the finished file.

    build/lambda/       what Lambda unpacks to /var/task
    build/lambda.zip    the same files, zipped; equal inputs give equal bytes
    build/lambda.json   digests of the inputs and of the zip, so that an unchanged zip is not built again

The x86-64 build is named lambda-x86_64.
"""

import argparse
import fcntl
import hashlib
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from infra.bundle import archive, aws_services, toolchain, verify, wheels
from infra.bundle.wheels import LAMBDA, Target
from infra.errors import BundleError, reports_errors

CODE = "lambda_src"
# dev/ holds the local user, who needs no token; cli/ is a command line; two modules of sdk/ re-export parts of dev/.
NEVER_SHIPPED = ("dev", "cli", "sdk/testing.py", "sdk/store_contract.py")
EXECUTABLE = "bootstrap"
PAGE = "web/index.html"
ENTRY_POINTS = (EXECUTABLE, "handler.py")
RECIPE = tuple(
    Path(str(module.__file__)) for module in (sys.modules[__name__], archive, aws_services, verify, wheels)
)  # the build code is an input, too
# Lambda's limits are 50 MB and 250 MB. Ours are lower, because a cold start reads every byte.
MAX_ZIPPED_BYTES = 40_000_000
MAX_UNZIPPED_BYTES = 110_000_000

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Sizes:
    """The size of the zip. Lambda's limit applies to `unzipped_bytes`."""

    files: int
    unzipped_bytes: int
    zipped_bytes: int

    def __str__(self) -> str:
        return f"{_mb(self.zipped_bytes)} zipped, {_mb(self.unzipped_bytes)} unzipped, {self.files} files"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A finished build. `reused` is True if nothing had changed since the last one."""

    folder: Path
    zip: Path
    sizes: Sizes
    reused: bool


def build(
    root: Path, *, environ: Mapping[str, str], target: Target, out: Path | None = None, say: Say = print
) -> Bundle:
    """Build the zip of the project in `root` unless nothing changed. `out` is the folder, in build/ by default.

    Raises InfraError with a sentence that says what is missing or wrong. An interrupted build is never reused, and two
    commands that build the same folder at a time wait for each other.
    """
    if out is None:
        toolchain.check_writable(root)
    folder = (out or root / "build" / target.name).absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _build(root, folder, environ=environ, target=target, say=say)


def _build(root: Path, folder: Path, *, environ: Mapping[str, str], target: Target, say: Say) -> Bundle:
    zip_file, stamp_file = folder.with_name(f"{folder.name}.zip"), folder.with_name(f"{folder.name}.json")
    uv = toolchain.find_uv(environ)
    python = toolchain.find_python(target.python, uv=uv)
    code = code_files(root / CODE)
    sources = [path for path in code if path.suffix == ".py"]
    services = aws_services.services_named(sources)
    operations = aws_services.operations_named(sources, services=services)
    inputs = {
        "wheels": _digest([*RECIPE, root / "uv.lock"], str(target), python is None, sorted(services | operations)),
        "code": _digest(code, [path.relative_to(root).as_posix() for path in code]),
    }
    stamp = _read_stamp(stamp_file)
    if stamp.get("inputs") == inputs and zip_file.is_file() and stamp.get("zip") == _digest([zip_file]):
        say(f"{_relative(zip_file)}: unchanged, {Sizes(**stamp['sizes'])}")
        return Bundle(folder, zip_file, Sizes(**stamp["sizes"]), reused=True)

    began = time.monotonic()
    stamp_file.unlink(missing_ok=True)
    if python is None:
        say(
            f"warning: Python {target.python} is not installed, so the zip has no bytecode and every cold start takes "
            f"twice as long. Run `{shlex.join(uv)} python install {target.python}`, then build again."
        )
    if not folder.is_dir() or stamp.get("inputs", {}).get("wheels") != inputs["wheels"]:
        say(f"{_relative(folder)}: installing the locked wheels for {target}")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        wheels.install(root, to=folder, target=target, uv=uv, environ=environ)
        say(f"  {verify.verify(folder)} files match the hashes in their wheels")
        kept = aws_services.trim_services(folder, keep=services, operations=operations)
        say(f"  AWS services kept in botocore: {', '.join(kept) or 'none'}")
        if python and (complaint := wheels.compile_bytecode(folder, under=folder, python=python)):
            say(f"  warning: some library files have no bytecode:\n{complaint}")
    _replace_code(root, folder, code=code, python=python)
    sizes = _measured(folder, zip_file)
    done = {"inputs": inputs, "zip": _digest([zip_file]), "sizes": asdict(sizes)}
    stamp_file.write_text(json.dumps(done, indent=2) + "\n", encoding="utf-8")
    say(f"{_relative(zip_file)}: built in {time.monotonic() - began:.1f} s, {sizes}")
    return Bundle(folder, zip_file, sizes, reused=False)


def code_files(package: Path) -> list[Path]:
    """The files of our package that go into the zip, sorted; BundleError if Lambda could not start without one."""
    for name in ENTRY_POINTS:
        if not (package / name).is_file():
            raise BundleError(f"{_relative(package / name)} is missing: Lambda starts there.")
    if not (package / PAGE).is_file():
        raise BundleError(f"{_relative(package / PAGE)} is missing: `make page` builds it.")
    if b"\r" in (package / EXECUTABLE).read_bytes():
        raise BundleError(
            f"{_relative(package / EXECUTABLE)} has Windows line endings, which shells reject: save it with LF."
        )
    return sorted(path for path in package.rglob("*") if path.is_file() and _is_shipped(path.relative_to(package)))


def _is_shipped(path: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.parts)
    return not (hidden or "__pycache__" in path.parts or any(path.is_relative_to(name) for name in NEVER_SHIPPED))


def _replace_code(root: Path, folder: Path, *, code: Iterable[Path], python: str | None) -> None:
    """Replace the code that an earlier build left in `folder` with ours."""
    shutil.rmtree(folder / CODE, ignore_errors=True)
    for path in code:
        copy = folder / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    (folder / CODE / EXECUTABLE).chmod(0o755)  # Lambda executes this file; git or an editor may have dropped the bit
    if python and (complaint := wheels.compile_bytecode(folder / CODE, under=folder, python=python)):
        raise BundleError(f"our own code does not compile:\n{complaint}")


def _measured(folder: Path, zip_file: Path) -> Sizes:
    """Write the zip and measure it; if it is larger than our limits, remove it and raise BundleError."""
    zip_file.unlink(missing_ok=True)
    unzipped_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    files = archive.write_zip(folder, to=zip_file)
    sizes = Sizes(files=files, unzipped_bytes=unzipped_bytes, zipped_bytes=zip_file.stat().st_size)
    if unzipped_bytes > MAX_UNZIPPED_BYTES or sizes.zipped_bytes > MAX_ZIPPED_BYTES:
        zip_file.unlink()
        most = f"{_mb(MAX_ZIPPED_BYTES)} zipped, {_mb(MAX_UNZIPPED_BYTES)} unzipped"
        raise BundleError(
            f"{sizes}: over the limit of {most}. To find large files: `du -sh {_relative(folder)}/* | sort -h`."
        )
    return sizes


def _digest(files: Iterable[Path], *values: object) -> str:
    digest = hashlib.sha256(json.dumps(values).encode())
    for path in files:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _read_stamp(path: Path) -> dict[str, Any]:
    try:
        stamp = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _relative(path: Path) -> str:
    """The path relative to the current folder, if it is inside."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


@reports_errors
def main(arguments: list[str]) -> int:
    """Build for Lambda and print the result. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m infra.bundle.build", description="Build the zip that Lambda runs.")
    parser.add_argument("--architecture", choices=list(LAMBDA), default="arm64", help="the processors (arm64)")
    architecture = parser.parse_args(arguments).architecture
    build(Path.cwd(), environ=os.environ, target=LAMBDA[architecture])
    print("next: make deploy")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
