"""infra/bundle/toolchain.py: programs are found where people have them, and their absence is said in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.bundle import toolchain
from infra.errors import ToolError


def _program(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_text("#!/bin/sh\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def uv_installed_by_make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `make setup` would have put uv: nothing is there yet."""
    path = tmp_path / "installed" / "uv"
    monkeypatch.setattr(toolchain, "INSTALLED_UV", path)
    return path


def test_a_cdk_cli_of_ones_own_finds_the_uv_that_make_setup_installed(
    tmp_path: Path, uv_installed_by_make: Path
) -> None:
    uv_installed_by_make.parent.mkdir()
    _program(uv_installed_by_make.parent, "uv")
    assert toolchain.find_uv({"PATH": ""}) == [str(uv_installed_by_make)]
    assert toolchain.find_uv({"UV": str(_program(tmp_path, "my-uv"))}) == [str(tmp_path / "my-uv")]


def test_uv_is_what_the_environment_names_before_what_is_on_the_path(tmp_path: Path) -> None:
    named, found = _program(tmp_path, "my-uv"), _program(tmp_path, "uv")
    environ = {"PATH": str(tmp_path)}
    assert toolchain.find_uv(environ | {"UV": str(named)}) == [str(named)]
    assert toolchain.find_uv(environ) == [str(found)]


def test_uv_may_be_a_module_of_this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "find_spec", lambda name: object())
    assert toolchain.find_uv({"PATH": ""}) == [sys.executable, "-m", "uv"]


def test_a_missing_uv_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(toolchain, "find_spec", lambda name: None)
    with pytest.raises(ToolError, match="uv is missing"):
        toolchain.find_uv({"PATH": str(tmp_path)})
    with pytest.raises(ToolError, match="not executable"):
        toolchain.find_uv({"UV": str(tmp_path / "uv")})


def test_this_python_is_taken_where_it_is_the_right_one() -> None:
    assert toolchain.find_python(f"{sys.version_info.major}.{sys.version_info.minor}", uv=["false"]) == sys.executable


def test_a_python_of_pyenv_is_found_the_newest_of_its_minor_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    for version in ("3.98.9", "3.98.10", "3.98-dev"):
        folder = tmp_path / "versions" / version / "bin"
        folder.mkdir(parents=True)
        _program(folder, "python3.98")
    assert toolchain.find_python("3.98", uv=["false"]) == str(tmp_path / "versions/3.98.10/bin/python3.98")
    assert toolchain.find_python("3.97", uv=["false"]) is None


def test_no_python_is_found_where_uv_knows_none() -> None:
    assert toolchain.find_python("3.99", uv=["false"]) is None


def test_the_cdk_cli_of_our_wheels_runs_on_the_node_of_our_wheels() -> None:
    environ = toolchain.with_node(os.environ) | {"CDK_DISABLE_CLI_TELEMETRY": "1"}
    done = subprocess.run([*toolchain.find_cdk(), "--version"], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("2.")


def test_a_missing_package_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "find_spec", lambda name: None)
    with pytest.raises(ToolError, match="run `uv sync`"):
        toolchain.find_cdk()
