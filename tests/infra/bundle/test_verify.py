"""infra/bundle/verify.py: installed files are checked against the RECORD of their wheels."""

from pathlib import Path

import pytest

from infra.bundle.verify import verify
from infra.errors import BundleError

HASH_OF_NOTHING = "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
RECORD = f"""one/__init__.py,{HASH_OF_NOTHING},0
"one/a,b.py",{HASH_OF_NOTHING},0
bin/one,{HASH_OF_NOTHING},0
../../../bin/one,{HASH_OF_NOTHING},0
one-1.dist-info/RECORD,,
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One correctly installed wheel, without its scripts."""
    for name in ("one/__init__.py", "one/a,b.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "one-1.dist-info").mkdir()
    (tmp_path / "one-1.dist-info" / "RECORD").write_text(RECORD, encoding="utf-8")
    return tmp_path


def test_intact_files_are_counted(folder: Path) -> None:
    assert verify(folder) == 2


def test_a_changed_file_is_named(folder: Path) -> None:
    (folder / "one" / "a,b.py").write_text("x", encoding="utf-8")
    with pytest.raises(BundleError, match=r"^one/a,b\.py: not what the wheels hold"):
        verify(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "one" / "__init__.py").unlink()
    with pytest.raises(BundleError, match=r"one/__init__\.py"):
        verify(folder)


def test_a_file_that_is_in_no_wheel_is_named(folder: Path) -> None:
    (folder / "sitecustomize.py").touch()
    with pytest.raises(BundleError, match=r"sitecustomize\.py"):
        verify(folder)


def test_a_long_list_of_files_is_cut_short(folder: Path) -> None:
    for number in range(9):
        (folder / f"{number}.py").touch()
    with pytest.raises(BundleError, match="and more: not what"):
        verify(folder)
