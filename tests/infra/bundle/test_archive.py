"""infra/bundle/archive.py: reproducible zips, whose bytes depend only on names, contents and the executable bit."""

import os
import zipfile
from pathlib import Path

from infra.bundle.archive import write_zip


def _folder(path: Path, *, mtime: int) -> Path:
    (path / "a").mkdir(parents=True)
    for name in ("run", "a/data"):
        (path / name).write_text(name, encoding="utf-8")
        os.utime(path / name, (mtime, mtime))
    (path / "run").chmod(0o700)
    (path / "a" / "data").chmod(0o600)
    return path


def test_timestamps_and_the_umask_do_not_change_the_zip(tmp_path: Path) -> None:
    old, new = _folder(tmp_path / "old", mtime=1_000_000_000), _folder(tmp_path / "new", mtime=1_700_000_000)
    (new / "a" / "data").chmod(0o640)
    assert write_zip(old, to=tmp_path / "old.zip") == write_zip(new, to=tmp_path / "new.zip") == 2
    assert (tmp_path / "old.zip").read_bytes() == (tmp_path / "new.zip").read_bytes()


def test_every_file_is_readable_and_files_that_their_owner_may_run_are_executable(tmp_path: Path) -> None:
    write_zip(_folder(tmp_path / "folder", mtime=0), to=tmp_path / "folder.zip")
    modes = {
        entry.filename: oct(entry.external_attr >> 16) for entry in zipfile.ZipFile(tmp_path / "folder.zip").filelist
    }
    assert modes == {"a/data": "0o100644", "run": "0o100755"}
