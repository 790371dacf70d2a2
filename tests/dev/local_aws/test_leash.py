"""lambda_src/dev/local_aws/leash.py: a child process gets SIGTERM when its parent is killed, and has time to save."""

import subprocess
import sys
from pathlib import Path

from lambda_src.dev.local_aws import LEASH

CHILD = """
import os, signal, sys
def save(*_):
    os.write(1, b"saved\\n")
    os._exit(0)
signal.signal(signal.SIGTERM, save)
print("ready", sys.argv, flush=True)
while True:
    signal.pause()
"""
PARENT = """
import subprocess, sys
command = [sys.executable, "-P", sys.argv[1], sys.argv[2], "a"]
child = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
child.wait()
"""


def test_the_child_saves_and_exits_when_its_parent_is_killed(tmp_path: Path) -> None:
    (tmp_path / "saves.py").write_text(CHILD)
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(LEASH), str(tmp_path / "saves.py")], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline().startswith("ready ["), "the child must be running"
        parent.kill()
        assert parent.stdout.read() == "saved\n", "the pipe must end with the child"
