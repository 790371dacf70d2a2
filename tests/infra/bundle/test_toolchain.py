"""infra/bundle/toolchain.py: finds uv, Python, Node and the CDK CLI, and says how to install what is missing."""

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
    """The path where `make setup` installs uv. It does not exist yet."""
    path = tmp_path / "installed" / "uv"
    monkeypatch.setattr(toolchain, "INSTALLED_UV", path)
    return path


def test_without_uv_on_the_path_the_one_that_make_setup_installed_is_found(
    tmp_path: Path, uv_installed_by_make: Path
) -> None:
    uv_installed_by_make.parent.mkdir()
    _program(uv_installed_by_make.parent, "uv")
    assert toolchain.find_uv({"PATH": ""}) == [str(uv_installed_by_make)]
    assert toolchain.find_uv({"UV": str(_program(tmp_path, "my-uv"))}) == [str(tmp_path / "my-uv")]


def test_uv_is_taken_from_the_environment_variable_before_the_path(tmp_path: Path) -> None:
    from_variable, from_path = _program(tmp_path, "my-uv"), _program(tmp_path, "uv")
    environ = {"PATH": str(tmp_path)}
    assert toolchain.find_uv(environ | {"UV": str(from_variable)}) == [str(from_variable)]
    assert toolchain.find_uv(environ) == [str(from_path)]


def test_uv_may_be_a_module_of_this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "find_spec", lambda name: object())
    assert toolchain.find_uv({"PATH": ""}) == [sys.executable, "-m", "uv"]


def test_a_missing_uv_is_reported_with_the_fix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(toolchain, "find_spec", lambda name: None)
    with pytest.raises(ToolError, match="uv is missing"):
        toolchain.find_uv({"PATH": str(tmp_path)})
    with pytest.raises(ToolError, match="not executable"):
        toolchain.find_uv({"UV": str(tmp_path / "uv")})


def test_the_running_python_is_used_if_its_version_is_right() -> None:
    assert toolchain.find_python(f"{sys.version_info.major}.{sys.version_info.minor}", uv=["false"]) == sys.executable


def test_the_newest_patch_release_installed_by_pyenv_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    for version in ("3.98.9", "3.98.10", "3.98-dev"):
        folder = tmp_path / "versions" / version / "bin"
        folder.mkdir(parents=True)
        _program(folder, "python3.98")
    assert toolchain.find_python("3.98", uv=["false"]) == str(tmp_path / "versions/3.98.10/bin/python3.98")
    assert toolchain.find_python("3.97", uv=["false"]) is None


def test_no_python_is_found_if_uv_finds_none() -> None:
    assert toolchain.find_python("3.99", uv=["false"]) is None


def test_the_installed_cdk_cli_runs_on_the_installed_node() -> None:
    environ = toolchain.with_node(os.environ) | {"CDK_DISABLE_CLI_TELEMETRY": "1"}
    done = subprocess.run([*toolchain.find_cdk(), "--version"], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("2.")


def test_a_missing_package_is_reported_with_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "find_spec", lambda name: None)
    with pytest.raises(ToolError, match="run `uv sync`"):
        toolchain.find_cdk()
