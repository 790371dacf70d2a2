"""Runs a script that must not outlive whoever started it, however that ends: `python -P leash.py SCRIPT`.

Its standard input is a pipe whose other end only the starter holds. When that end is gone, by `kill -9` too, this
process gets the SIGTERM that it would have been sent, and has the time it needs. Imports nothing of ours.
"""

import os
import runpy
import signal
import sys
import threading


def watch(pipe: int) -> None:
    """Until the other end is gone; nothing is ever sent."""
    while os.read(pipe, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=watch, args=(sys.stdin.fileno(),), daemon=True).start()
    del sys.argv[0]  # the module sees itself
    runpy.run_path(sys.argv[0], run_name="__main__")
