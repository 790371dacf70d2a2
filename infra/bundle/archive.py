"""Writes reproducible zip files: equal files give equal bytes, without times or owners. Knows no Lambda."""

import zipfile
from pathlib import Path

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold
FILE_MODE = 0o100644
EXECUTABLE_MODE = 0o100755
UNIX = 3  # the entry's attributes are Unix file modes


def write_zip(folder: Path, *, to: Path) -> int:
    """Write the files under `folder` to the zip `to`, sorted by name, and return how many there are.

    Every user may read them, because Lambda runs as a user of its choice. Files that their owner may execute are
    executable for every user.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), date_time=EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = UNIX
            executable = path.stat().st_mode & 0o100
            entry.external_attr = (EXECUTABLE_MODE if executable else FILE_MODE) << 16
            archive.writestr(entry, path.read_bytes())
    return len(files)
