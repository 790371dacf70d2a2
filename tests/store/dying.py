"""Clients of a process that is killed before its n-th request to the table or the bucket."""

from typing import Any

from tests.store.local import Local


class KilledError(Exception):
    """The process was killed."""


class DyingProcess:
    """A process that makes `requests` requests; every later one raises KilledError."""

    def __init__(self, requests: int) -> None:
        self._left = requests
        self.died = False

    def client(self, inner: Any) -> Any:
        """Wrap a client as one of this process."""
        return _Client(inner, self)

    def request(self) -> None:
        """Count a request, or raise."""
        if self._left == 0:
            self.died = True
            raise KilledError
        self._left -= 1


class _Client:
    def __init__(self, inner: Any, process: DyingProcess) -> None:
        self._inner, self._process = inner, process

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        def call(**params: Any) -> Any:
            self._process.request()
            return method(**params)

        return call if callable(method) else method


def dying_after(local: Local, requests: int) -> Local:
    """Return the same table and bucket for a process that dies after `requests` requests."""
    process = DyingProcess(requests)
    return Local(engine=process.client(local.engine), objects=process.client(local.objects), now=local.now)
