"""A process that is killed before its n-th request to table or bucket. Knows no store."""

from typing import Any

from tests.store.local import Local


class KilledError(Exception):
    """The process is gone."""


def dying_after(local: Local, requests: int) -> Local:
    """The same table and bucket for a process that makes so many requests and no more: then KilledError."""
    left = requests

    class Dying:
        """A client of that process."""

        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            method = getattr(self._inner, name)

            def call(**params: Any) -> Any:
                nonlocal left
                if left == 0:
                    raise KilledError
                left -= 1
                return method(**params)

            return call if callable(method) else method

    return Local(engine=Dying(local.engine), objects=Dying(local.objects), now=local.now)  # type: ignore[arg-type]  # stands in
