"""Builds the page: npm brings what web/package-lock.json says, web/build.mjs makes lambda_src/web/ of it and web/src.

The Node and the npm are those of our wheels: nobody needs Node installed. Needs the network once, for the libraries.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from infra.bundle import toolchain
from infra.errors import BundleError, InfraError

PAGE = Path("lambda_src/web/index.html")  # what a finished build has


def build(root: Path) -> None:
    """Build the page of the project in `root`; BundleError with npm's or esbuild's own words when that fails."""
    web = root / "web"
    installed, lock = web / "node_modules" / ".package-lock.json", web / "package-lock.json"
    if not installed.is_file() or installed.stat().st_mtime < lock.stat().st_mtime:
        shutil.rmtree(web / "node_modules", ignore_errors=True)
        _run([*toolchain.find_npm(), "ci", "--silent"], web, "the page's libraries could not be installed")
        installed.touch()  # npm keeps the times of its archive
    _run([*toolchain.find_node(), "build.mjs"], web, "the page could not be built")


def _run(command: list[str], folder: Path, complaint: str) -> None:
    done = subprocess.run(
        command, cwd=folder, env=toolchain.with_node(os.environ), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BundleError(f"{complaint}:\n{done.stdout}{done.stderr}")


def main() -> int:
    """Build it here; the exit code."""
    try:
        build(Path.cwd())
    except InfraError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
