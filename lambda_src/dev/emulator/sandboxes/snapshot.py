"""Breaks the TCP connections of a process, as restoring a SnapStart snapshot does. Linux only; elsewhere they survive.

Asks the kernel for the process's own sockets and shuts them down, so that its clients see what they would see on AWS.
"""

import contextlib
import ctypes
import os
import socket
import sys
from pathlib import Path

PIDFD_GETFD = 438  # <asm-generic/unistd.h>, the same on x86-64 and arm64; Python has no wrapper for it


def break_connections(pid: int, *, but: str) -> None:
    """Shut down every TCP connection of process `pid`, except those to the address `but` (host:port)."""
    if sys.platform != "linux":
        return
    process = os.pidfd_open(pid)
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # it closed meanwhile, or is not a connected socket
                if str(entry.readlink()).startswith("socket:"):
                    _break(process, int(entry.name), but)
    finally:
        os.close(process)


def _break(process: int, number: int, but: str) -> None:
    copy = ctypes.CDLL(None).syscall(PIDFD_GETFD, process, number, 0)
    if copy < 0:
        return  # the kernel does not allow it: the connection survives
    with socket.socket(fileno=copy) as connection:
        if connection.family in (socket.AF_INET, socket.AF_INET6) and connection.type == socket.SOCK_STREAM:
            host, port = connection.getpeername()[:2]
            if f"{host}:{port}" != but:
                connection.shutdown(socket.SHUT_RDWR)
