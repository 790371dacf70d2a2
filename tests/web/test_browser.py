"""Running the browser tests without a browser: a skip with a notice, a failure in CI, and `make browser`."""

import subprocess
from pathlib import Path

import pytest

from tests.web import conftest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bin_folder(tmp_path: Path) -> Path:
    """A PATH folder that has only `id`, which reports root."""
    command(tmp_path, "id", "echo 0")
    return tmp_path


def command(folder: Path, name: str, body: str) -> None:
    """Create a fake program."""
    (folder / name).write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    (folder / name).chmod(0o755)


def make_browser(path: Path) -> subprocess.CompletedProcess[str]:
    """Run the script behind `make browser`."""
    return subprocess.run([ROOT / ".ci" / "browser"], env={"PATH": str(path)}, capture_output=True, text=True)


def test_a_missing_browser_skips_the_tests_and_names_the_command_that_installs_one(tmp_path: Path) -> None:
    with pytest.raises(pytest.skip.Exception, match=r"NO BROWSER.*`make browser` installs one"):
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


def test_with_a_headless_shell_make_browser_installs_nothing(bin_folder: Path) -> None:
    command(bin_folder, "chromium-headless-shell", "")
    command(bin_folder, "apt-get", "echo installing")
    assert make_browser(bin_folder).stdout == f"browser: {bin_folder / 'chromium-headless-shell'}\n"


@pytest.mark.parametrize("installed", ["chromium", None])
def test_root_on_debian_gets_the_headless_shell(bin_folder: Path, installed: str | None) -> None:
    if installed is not None:
        command(bin_folder, installed, "")
    shell = bin_folder / "chromium-headless-shell"
    command(bin_folder, "apt-get", apt_get_with(shell))
    done = make_browser(bin_folder)
    assert (done.returncode, done.stdout) == (0, f"browser: {shell}\n"), done.stderr


def test_root_on_a_debian_without_a_headless_shell_gets_chromium(bin_folder: Path) -> None:
    chromium = bin_folder / "chromium"
    command(bin_folder, "apt-get", apt_get_with(chromium))
    done = make_browser(bin_folder)
    assert (done.returncode, done.stdout) == (0, f"browser: {chromium}\n"), done.stderr


def apt_get_with(path: Path) -> str:
    """The script of a fake apt-get that can install only this package."""
    return f"""[ $2 = install ] || exit 0
for package; do :; done
[ $package = {path.name} ] || exit 100
echo '#!/bin/sh' > {path}; /bin/chmod 755 {path}"""


def test_elsewhere_make_browser_fails_with_a_message(bin_folder: Path) -> None:
    done = make_browser(bin_folder)
    assert done.returncode == 1
    assert done.stderr.startswith("No Chromium or Chrome is installed. Install one")
