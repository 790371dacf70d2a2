"""The Makefile where nothing is installed yet."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYTHON = """#!/bin/sh
case "$1 $2 $3" in
  "-c "*) echo "$0" ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip install") printf '#!/bin/sh\\necho "uv ran: $*"\\n' > "$(dirname "$0")/uv" && chmod +x "$(dirname "$0")/uv" ;;
esac
"""


def test_make_lock_brings_uv_where_there_is_none(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "python3.13").write_text(PYTHON)
    (tools / "python3.13").chmod(0o755)
    for name in ("make", "sh", "mkdir", "cp", "chmod", "dirname", "rm", "printf", "uname"):
        if (found := shutil.which(name)) is not None:
            (tools / name).symlink_to(found)
    shutil.copy(ROOT / "Makefile", tmp_path)
    done = subprocess.run(
        ["make", "lock"], cwd=tmp_path, env={"PATH": str(tools), "HOME": os.devnull}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].strip() == "uv ran: lock"
