"""What the tests of the page do without a browser, and which browser `make browser` installs."""

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
def test_an_installed_browser_is_used_where_nothing_can_be_installed(bin_folder: Path, name: str) -> None:
    command(bin_folder, name, "")
    command(bin_folder, "apt-get", "exit 1")
    assert conftest.find_chromium({"PATH": str(bin_folder)}) == str(bin_folder / name)
    assert make_browser(bin_folder).stdout == f"browser: {bin_folder / name}\n"


def test_an_installed_headless_shell_is_all_that_is_needed(bin_folder: Path) -> None:
    command(bin_folder, "chromium-headless-shell", "")
    command(bin_folder, "apt-get", "echo installing")
    assert make_browser(bin_folder).stdout == f"browser: {bin_folder / 'chromium-headless-shell'}\n"


@pytest.mark.parametrize("installed", ["chromium", None])
def test_root_on_debian_gets_the_headless_shell(bin_folder: Path, installed: str | None) -> None:
    if installed is not None:
        command(bin_folder, installed, "")
    shell = bin_folder / "chromium-headless-shell"
    command(bin_folder, "apt-get", installs(shell))
    done = make_browser(bin_folder)
    assert (done.returncode, done.stdout) == (0, f"browser: {shell}\n"), done.stderr


def test_root_on_a_debian_without_a_headless_shell_gets_chromium(bin_folder: Path) -> None:
    chromium = bin_folder / "chromium"
    command(bin_folder, "apt-get", installs(chromium))
    done = make_browser(bin_folder)
    assert (done.returncode, done.stdout) == (0, f"browser: {chromium}\n"), done.stderr


def installs(path: Path) -> str:
    """The body of an apt-get that has this package only."""
    return f"""[ $2 = install ] || exit 0
for package; do :; done
[ $package = {path.name} ] || exit 100
echo '#!/bin/sh' > {path}; /bin/chmod 755 {path}"""


def test_elsewhere_it_says_so_and_fails(bin_folder: Path) -> None:
    done = make_browser(bin_folder)
    assert done.returncode == 1
    assert done.stderr.startswith("No Chromium or Chrome is installed. Install one")
