"""Runs a script that must not outlive its parent process: `python -P leash.py SCRIPT`.

Its standard input is a pipe whose other end only the parent holds. When the parent ends, even by `kill -9`, this
process sends itself SIGTERM, so that it can shut down cleanly. Imports nothing of ours.
"""

import os
import runpy
import signal
import sys
import threading


def watch(pipe: int) -> None:
    """Wait until the other end is closed; nothing is ever sent."""
    while os.read(pipe, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=watch, args=(sys.stdin.fileno(),), daemon=True).start()
    del sys.argv[0]  # so that the script finds itself there
    runpy.run_path(sys.argv[0], run_name="__main__")
