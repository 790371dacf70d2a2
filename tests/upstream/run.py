"""Runs chatkit-python's own test suite on our three stores: `python -m tests.upstream.run CHECKOUT`.

The suite is not copied here. The checkout is only read; upstream_shim puts our store in place of its SQLiteStore.
"""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from tests.store.postgres import migrated, postgres

STORES = ("memory", "dynamodb", "postgres")
_HERE = Path(__file__).resolve()
_ROOT = _HERE.parents[2]


def main(tree: str) -> int:
    """Return 0 if the whole suite passes on every store."""
    checkout = Path(tree).resolve()
    if not (checkout / "tests" / "test_store.py").is_file():
        sys.stderr.write(f"{checkout} is not a checkout of chatkit-python: it has no tests/test_store.py.\n")
        return 2
    with postgres() as url:
        asyncio.run(_migrate(url))
        return max(_run(checkout, store, url) for store in STORES)


def _run(checkout: Path, store: str, url: str) -> int:
    sys.stderr.write(f"chatkit-python's tests on the {store} store:\n")
    paths = (checkout, checkout / "tests", _HERE.parent / "shim", _ROOT)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(str(path) for path in paths),
        "PYTHONDONTWRITEBYTECODE": "1",
        "CHAT_UPSTREAM_STORE": store,
        "CHAT_DATABASE_URL": url,
        "OPENAI_AGENTS_DISABLE_TRACING": "1",
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "upstream_shim",
        "-p",
        "no:cacheprovider",
        "-W",
        "ignore",
        "tests",
    ]
    return subprocess.run(command, cwd=checkout, env=environment, check=False).returncode


async def _migrate(url: str) -> None:
    async with migrated(url):
        pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]) if len(sys.argv) == 2 else "usage: python -m tests.upstream.run CHECKOUT")
