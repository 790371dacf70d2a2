"""A process on a leash: it is told to end when its starter is killed, and has the time it needs."""

import subprocess
import sys
from pathlib import Path

from lambda_src.dev.local_aws import LEASH

SAVES = """
import os, signal, sys
def save(*_):
    os.write(1, b"saved\\n")
    os._exit(0)
signal.signal(signal.SIGTERM, save)
print("ready", sys.argv, flush=True)
while True:
    signal.pause()
"""
STARTS = """
import subprocess, sys
command = [sys.executable, "-P", sys.argv[1], sys.argv[2], "a"]
child = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
child.wait()
"""


def test_it_ends_well_when_its_starter_is_killed(tmp_path: Path) -> None:
    (tmp_path / "saves.py").write_text(SAVES)
    with subprocess.Popen(
        [sys.executable, "-c", STARTS, str(LEASH), str(tmp_path / "saves.py")], stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline().startswith("ready ["), "the script runs"
        starter.kill()
        assert starter.stdout.read() == "saved\n", "and this pipe ends with it"
