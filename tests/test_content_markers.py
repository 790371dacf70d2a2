"""The content marker check of tests/conftest.py: output of child processes counts, and all requests carry markers."""

import subprocess
import sys
from pathlib import Path

from fastapi import Request

from lambda_src.store.memory.store import MemoryStore
from tests.apps.chat import Chat, app_with, server_with
from tests.content_markers import HEADERS, MARKERS, QUERY, leaked_markers
from tests.fakes.issuer import Issuer

LEAK = """
import os, subprocess, sys
from tests.content_markers import MARKERS

def test_print():
    print(MARKERS["body"])

def test_a_process():
    subprocess.run([sys.executable, "-c", f"print({MARKERS['token']!r})"], check=True)

def test_stderr():
    os.write(2, MARKERS["header"].encode())

def test_nothing():
    print("a marker")
"""


def test_a_test_that_writes_a_marker_fails(tmp_path: Path) -> None:
    root = Path(__file__).parents[1]
    leaking = tmp_path / "test_leak.py"
    leaking.write_text(LEAK, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-c", str(root / "pyproject.toml")]
    run = subprocess.run([*command, str(leaking)], cwd=root, capture_output=True, text=True, check=False, timeout=300)
    assert "3 failed, 1 passed" in run.stdout, run.stdout
    for place in ("body", "token", "header"):
        assert f"wrote content to its output: {place}" in run.stdout


def test_there_are_ten_markers_and_none_contains_another() -> None:
    assert len(MARKERS) == 10
    assert leaked_markers([("Captured stdout call", " ".join(MARKERS.values()))]) == list(MARKERS)
    assert leaked_markers([("Captured log call", " ".join(MARKERS.values()))]) == []


async def test_every_request_carries_the_markers() -> None:
    app = app_with(server_with(MemoryStore()))
    seen: list[Request] = []

    @app.get("/seen")
    async def keep(request: Request) -> None:
        seen.append(request)

    await Chat(app).post(b"", "/seen", "GET")
    assert HEADERS.items() <= dict(seen[0].headers).items()
    assert QUERY.items() <= dict(seen[0].query_params).items()
    assert MARKERS["token"] in Issuer().claims().values()
