"""The guard over every test's output: it sees what processes write, and the suite's requests do carry the markers."""

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


def test_a_test_whose_output_tells_a_marker_fails(tmp_path: Path) -> None:
    root = Path(__file__).parents[1]
    leaking = tmp_path / "test_leak.py"
    leaking.write_text(LEAK, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-c", str(root / "pyproject.toml")]
    ran = subprocess.run([*command, str(leaking)], cwd=root, capture_output=True, text=True, check=False, timeout=300)
    assert "3 failed, 1 passed" in ran.stdout, ran.stdout
    for place in ("body", "token", "header"):
        assert f"told what was sent: {place}" in ran.stdout


def test_there_are_ten_and_none_hides_in_another() -> None:
    assert len(MARKERS) == 10
    assert leaked_markers([("Captured stdout call", " ".join(MARKERS.values()))]) == list(MARKERS)
    assert leaked_markers([("Captured log call", " ".join(MARKERS.values()))]) == []


async def test_every_request_of_the_suite_carries_them() -> None:
    app = app_with(server_with(MemoryStore()))
    seen: list[Request] = []

    @app.get("/seen")
    async def keep(request: Request) -> None:
        seen.append(request)

    await Chat(app).post(b"", "/seen", "GET")
    assert HEADERS.items() <= dict(seen[0].headers).items()
    assert QUERY.items() <= dict(seen[0].query_params).items()
    assert MARKERS["token"] in Issuer().claims().values()
