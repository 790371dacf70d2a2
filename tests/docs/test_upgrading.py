"""docs/upgrading.md: its commands merge a new release even if `make add` changed uv.lock and pyproject.toml.

Runs real git and uv in a small project with its own wheels, so that no package index is needed.
"""

import os
import re
import subprocess
import zipfile
from pathlib import Path

import pytest

from infra.bundle.toolchain import find_uv
from infra.errors import ToolError

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "upgrading.md").read_text(encoding="utf-8")
PROJECT = """[project]
name = "chat"
version = "{release}"
requires-python = ">=3.11,<3.14"
dependencies = ["ours=={release}"]

[dependency-groups]
# Yours: what your agent imports. `make add NAME=...`; it goes into the zip.
agent = []
infra = [
  "tool=={release}",
]

[tool.uv]
package = false
no-index = true
find-links = ["{wheels}"]
"""


def _wheel(folder: Path, name: str, version: str) -> None:
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        info = f"{name}-{version}.dist-info"
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


class Clone:
    """A user's repository, in which shell commands run."""

    def __init__(self, folder: Path, uv: list[str]) -> None:
        self.folder, self.uv = folder, uv

    def run(self, command: str) -> str:
        identity = {f"GIT_{role}_{field}": "a@b.c" for role in ("AUTHOR", "COMMITTER") for field in ("NAME", "EMAIL")}
        done = subprocess.run(
            ["sh", "-ec", command],
            cwd=self.folder,
            env=os.environ | identity | {"GIT_CONFIG_GLOBAL": os.devnull, "UV": self.uv[0]},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """A clone of release 1 with an additional package. Release 2, tagged v2, changes every version."""
    try:
        uv = find_uv(os.environ)
    except ToolError as error:
        pytest.skip(str(error))
    if len(uv) != 1:
        pytest.skip("uv is installed as a module, and this test needs a program")
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for version in ("1", "2"):
        _wheel(wheels, "ours", version)
        _wheel(wheels, "tool", version)
    _wheel(wheels, "stripe", "9")
    folder = tmp_path / "clone"
    folder.mkdir()
    clone = Clone(folder, uv)
    clone.run("git init -q -b main")
    for release in ("1", "2"):
        (folder / "pyproject.toml").write_text(PROJECT.format(release=release, wheels=wheels), encoding="utf-8")
        clone.run(f'"$UV" lock -q && git add -A && git commit -qm "release {release}" && git tag v{release}')
    clone.run("git reset -q --hard v1")
    clone.run('"$UV" add -q --no-sync --group agent stripe && git commit -qam "My agent takes money"')
    return clone


def _documented_commands() -> list[str]:
    [block] = re.findall(r" {4}```console\n( {4}\$ git fetch.*?) {4}```", PAGE, re.DOTALL)
    commands = [line.strip().removeprefix("$ ").partition("  #")[0].strip() for line in block.splitlines()]
    return [command for command in commands if command != "git fetch --tags"]  # the tags exist already


def test_the_documented_commands_keep_added_packages_and_take_the_versions_of_the_release(clone: Clone) -> None:
    for command in _documented_commands():
        clone.run(command.replace("v0.2.0", "v2").replace("make lock", '"$UV" lock -q'))
    assert clone.run("git status --porcelain") == ""
    assert len(clone.run("git log -1 --format=%P").split()) == 2, "the last commit must be a merge"
    lock = (clone.folder / "uv.lock").read_text(encoding="utf-8")
    versions = dict(re.findall(r'\[\[package\]\]\nname = "(\w+)"\nversion = "([\d.]+)"', lock))
    assert versions == {"chat": "2", "ours": "2", "tool": "2", "stripe": "9"}
    clone.run('"$UV" lock -q --check')


def test_a_plain_merge_conflicts_in_uv_lock(clone: Clone) -> None:
    clone.run("! git merge v2")
    assert "uv.lock" in clone.run("git diff --name-only --diff-filter=U")


def test_make_lock_locks_with_uv() -> None:
    [recipe] = re.findall(r"^lock: .*\n\t(.*)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert '"$$uv" lock $(FLAGS)' in recipe


def test_an_unchanging_line_separates_your_packages_from_ours() -> None:
    """Git merges two changes without a conflict if an unchanged line is between them."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r"^\[dependency-groups\]\n# Yours: .*\nagent = \[[^\]]*\]\ninfra = \[\n", project, re.MULTILINE)
