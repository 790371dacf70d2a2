"""The Makefile in a fresh clone where nothing is installed yet: finding Python, installing uv, refusing read-only."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = """#!/bin/sh
case "$1 $2 $3" in
  "-c "*) echo "$0" ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip install") printf '#!/bin/sh\\necho "uv ran: $*"\\n' > "$(dirname "$0")/uv" && chmod +x "$(dirname "$0")/uv" ;;
esac
"""
WITHOUT_PIP = """#!/bin/sh
case "$1 $2" in
  "-c "*) echo "$0" ;;
  *) echo "No module named ${2}" >&2; exit 1 ;;
esac
"""
PYTHON_OF_VERSION = """#!/bin/sh
exec {python} -c 'import sys; sys.version_info = {version}; exec(sys.argv[1])' "$2"
"""
TOOLS = ("make", "sh", "mkdir", "cp", "chmod", "dirname", "rm", "printf", "uname")
NOBODY = 65534


class Clone:
    """A clone with a Makefile, whose PATH has only TOOLS and the fake Python that a test adds."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.tools = folder / "clone", folder / "tools"
        (self.folder / "requirements").mkdir(parents=True)
        self.tools.mkdir()
        for name in TOOLS:
            if (program := shutil.which(name)) is not None:
                (self.tools / name).symlink_to(program)
        shutil.copy(ROOT / "Makefile", self.folder)
        for name in ("pyproject.toml", "uv.lock", "requirements/ministack.txt"):
            (self.folder / name).touch()

    def add_python(self, script: str, name: str = "python3.13") -> None:
        (self.tools / name).write_text(script)
        (self.tools / name).chmod(0o755)

    def make(self, *arguments: str, user: int | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", *arguments],
            cwd=self.folder,
            env={"PATH": str(self.tools), "HOME": os.devnull},
            capture_output=True,
            text=True,
            check=False,
            user=user,
        )


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def test_make_lock_installs_uv_if_it_is_missing(clone: Clone) -> None:
    clone.add_python(PYTHON)
    done = clone.make("lock")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].strip() == "uv ran: lock"


@pytest.mark.parametrize("version", [(3, 10, 20), (3, 14, 0), (3, 15, 0)])
def test_a_python_that_is_too_old_or_too_new_is_refused_in_one_sentence(version: tuple[int, ...], clone: Clone) -> None:
    clone.add_python(PYTHON_OF_VERSION.format(python=sys.executable, version=version), "python3")
    done = clone.make("setup")
    assert done.returncode != 0
    assert done.stderr.startswith("No Python 3.11 to 3.13 found. Install one (https://www.python.org/downloads/)")
    assert not (clone.folder / ".local").exists()
    explicit = clone.make("setup", "PYTHON=python3")
    assert explicit.stderr.startswith("PYTHON=python3 is not Python 3.11 to 3.13. Install one")


def test_without_pip_the_message_says_how_to_get_uv(clone: Clone) -> None:
    clone.add_python(WITHOUT_PIP)
    done = clone.make("setup")
    assert done.returncode != 0
    assert "No module named pip" in done.stderr
    assert "uv could not be installed: see the lines above; https://docs.astral.sh/uv/ has other ways." in done.stderr


@pytest.fixture
def read_only() -> Iterator[Clone]:
    """A read-only clone in a folder that everyone can read. Root could still write to it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        clone = Clone(Path(folder))
        clone.folder.chmod(0o555)
        try:
            yield clone
        finally:
            clone.folder.chmod(stat.S_IRWXU)


def test_a_read_only_clone_is_refused_in_one_sentence(read_only: Clone) -> None:
    read_only.add_python(PYTHON)
    done = read_only.make("setup", user=NOBODY if os.geteuid() == 0 else None)
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == f"{read_only.folder} is read-only: use a copy that you may write to."
