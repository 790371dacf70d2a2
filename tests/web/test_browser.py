"""Where there is no browser: what is said, when it is an error, and what `make browser` does about it."""

import subprocess
from pathlib import Path

import pytest

from tests.web import conftest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bin_folder(tmp_path: Path) -> Path:
    """A PATH with `id` alone, which says that we are root."""
    command(tmp_path, "id", "echo 0")
    return tmp_path


def command(folder: Path, name: str, body: str) -> None:
    """A program of the test's own."""
    (folder / name).write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    (folder / name).chmod(0o755)


def make_browser(path: Path) -> subprocess.CompletedProcess[str]:
    """What `make browser` runs."""
    return subprocess.run([ROOT / ".ci" / "browser"], env={"PATH": str(path)}, capture_output=True, text=True)


def test_a_missing_browser_skips_the_tests_and_says_what_brings_one(tmp_path: Path) -> None:
    with pytest.raises(pytest.skip.Exception, match=r"NO BROWSER.*`make browser` brings one"):
        conftest.find_chromium({"PATH": str(tmp_path)})


def test_in_ci_a_missing_browser_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match="make browser"):
        conftest.find_chromium({"PATH": str(tmp_path), "CI": "true"})


@pytest.mark.parametrize("name", conftest.BROWSERS)
def test_the_browser_that_is_there_is_taken_and_nothing_is_installed(bin_folder: Path, name: str) -> None:
    command(bin_folder, name, "")
    command(bin_folder, "apt-get", "exit 1")
    assert conftest.find_chromium({"PATH": str(bin_folder)}) == str(bin_folder / name)
    assert make_browser(bin_folder).stdout == f"browser: {bin_folder / name}\n"


def test_root_on_debian_gets_one(bin_folder: Path) -> None:
    chromium = bin_folder / "chromium"
    made = f"[ $2 = install ] || exit 0; echo '#!/bin/sh' > {chromium}; /bin/chmod 755 {chromium}"
    command(bin_folder, "apt-get", made)
    done = make_browser(bin_folder)
    assert (done.returncode, done.stdout) == (0, f"browser: {chromium}\n"), done.stderr


def test_elsewhere_it_says_so_and_fails(bin_folder: Path) -> None:
    done = make_browser(bin_folder)
    assert done.returncode == 1
    assert done.stderr.startswith("No Chromium or Chrome is here. Install one")
