"""Imports on the cold path: a store loads its own engine and no other."""

import subprocess
import sys

import pytest

HEAVY_PACKAGES = (
    "boto3",
    "botocore",
    "sqlalchemy",
    "asyncpg",
    "alembic",
    "agents",
    "openai",
    "fastapi",
    "typer",
    "rich",
)


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("lambda_src.store.memory.store", set()),
        ("lambda_src.store.dynamodb", {"botocore"}),
        ("lambda_src.store.postgres", {"sqlalchemy"}),
    ],
)
def test_a_store_loads_no_heavy_package_but_its_own(module: str, allowed: set[str]) -> None:
    program = f"import sys, {module}; print(*(name for name in {HEAVY_PACKAGES!r} if name in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert set(loaded.split()) <= allowed
