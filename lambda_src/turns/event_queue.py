"""From one task to one reader, without a bound. An asyncio.Queue does the same, at three times the cost an item."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Handing(Generic[T]):
    """`put` anywhere; the one reader takes while there is something, and else awaits `more`."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._reader: asyncio.Future[None] | None = None  # waits for more
        self._loop = asyncio.get_running_loop()

    @property
    def is_empty(self) -> bool:
        return not self._items

    def put(self, item: T) -> None:
        """To the reader, who is woken if it waits."""
        self._items.append(item)
        if self._reader is not None:
            if not self._reader.done():  # nobody cancelled it
                self._reader.set_result(None)
            self._reader = None

    def take(self) -> T:
        return self._items.popleft()

    def more(self) -> asyncio.Future[None]:
        """Done when there is something to take."""
        more: asyncio.Future[None] = self._loop.create_future()
        if self._items:
            more.set_result(None)
        else:
            self._reader = more
        return more
