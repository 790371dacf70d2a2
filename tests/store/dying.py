"""A process that is killed before its n-th request to table or bucket. Knows no store."""

from typing import Any

from tests.store.local import Local


class KilledError(Exception):
    """The process is gone."""


class Dying:
    """A process that makes so many requests and no more: then KilledError."""

    def __init__(self, requests: int) -> None:
        self._left = requests
        self.died = False

    def client(self, inner: Any) -> Any:
        """A client of that process."""
        return _Client(inner, self)

    def request(self) -> None:
        """One more."""
        if self._left == 0:
            self.died = True
            raise KilledError
        self._left -= 1


class _Client:
    def __init__(self, inner: Any, process: Dying) -> None:
        self._inner, self._process = inner, process

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        def call(**params: Any) -> Any:
            self._process.request()
            return method(**params)

        return call if callable(method) else method


def dying_after(local: Local, requests: int) -> Local:
    """The same table and bucket for a process that dies."""
    process = Dying(requests)
    return Local(engine=process.client(local.engine), objects=process.client(local.objects), now=local.now)
