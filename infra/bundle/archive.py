"""A folder as a zip that has the same bytes whenever its files have: no times, no owners. Knows no Lambda."""

import zipfile
from pathlib import Path

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say
FILE_MODE = 0o100644
EXECUTABLE_MODE = 0o100755
UNIX = 3  # the system whose modes the entry's attributes hold


def write_zip(folder: Path, *, to: Path) -> int:
    """Write the files under `folder` to the zip `to`, by name; returns their number.

    Read for everyone, since Lambda runs as another user; executable for everyone where the owner may execute.
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
