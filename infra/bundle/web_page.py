"""Builds the web page: npm installs web/package-lock.json, then web/build.mjs bundles web/src into lambda_src/web/.

Node and npm come with our wheels, so neither needs to be installed. The first build downloads the libraries.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from infra.bundle import toolchain
from infra.errors import BundleError, reports_errors

PAGE = Path("lambda_src/web/index.html")  # exists after a finished build
PROXY = "Behind a proxy, set HTTPS_PROXY, or `registry` in ~/.npmrc to a registry that you may use"


def build(root: Path) -> None:
    """Build the page of the project in `root`; BundleError with npm's or esbuild's output if that fails."""
    web = root / "web"
    toolchain.check_writable(root)
    installed, lock = web / "node_modules" / ".package-lock.json", web / "package-lock.json"
    if not installed.is_file() or installed.stat().st_mtime < lock.stat().st_mtime:
        shutil.rmtree(web / "node_modules", ignore_errors=True)
        install = [*toolchain.find_npm(), "ci", "--loglevel=error", "--no-audit", "--no-fund"]
        _run(install, web, f"the page's libraries could not be installed. {PROXY}")
        installed.touch()  # npm sets the time that the archive holds
    _run([*toolchain.find_node(), "build.mjs"], web, "the page could not be built")


def _run(command: list[str], folder: Path, complaint: str) -> None:
    done = subprocess.run(
        command, cwd=folder, env=toolchain.with_node(os.environ), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BundleError(f"{complaint}:\n{done.stdout}{done.stderr}")


@reports_errors
def main() -> int:
    """Build the page of the current folder. Returns the exit code."""
    build(Path.cwd())
    return 0


if __name__ == "__main__":
    sys.exit(main())
