"""The one task and the one queue of a turn: events are pulled here, whoever reads them. Knows no HTTP, no store.

Why a task of its own: a run is torn down well only when the generator is pumped in its own task and that task is
cancelled; errors thrown into the generator from the reader's side lose the partial answer. Why a queue without a bound:
with a bound a reader that stalls would stop the run, and the answer would be lost with it (it is at most some MB).
"""

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from typing import Self

from chatkit.store import NotFoundError

from lambda_src.errors import ConflictError

CLEAN_UP_S = 5.0  # how long a cancelled run may take to keep its partial answer and close the model's connection
OPENERS = frozenset(
    {"stream_options", "error"}
)  # ChatKit sends one of them when all checks and the first write are done
BROKEN = b'data: {"type":"error","code":"custom","message":"The answer broke off. What you see was kept as far as ' \
    b'possible; please try again.","allow_retry":true}\n\n'  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Ended:
    error: Exception | None = None


class Pump:
    """One turn in flight. `async with await Pump.opened(events) as pump: async for chunk in pump: ...`"""

    def __init__(self, events: AsyncIterable[bytes]) -> None:
        self._queue: asyncio.Queue[bytes | _Ended] = asyncio.Queue()
        self._held: list[bytes | _Ended] = []
        self._task = asyncio.create_task(self._pull(events), name="turn")

    @classmethod
    async def opened(cls, events: AsyncIterable[bytes]) -> Self:
        """A turn whose request has passed every check: from here on the answer is 200 and a stream.

        `events` are ChatKit's, encoded (`data: {...}\\n\\n`). What they raise before that point is raised here;
        NotFoundError when they end without a word, as retry does for an item that is not there.
        """
        pump = cls(events)
        try:
            await pump._hold()
        except BaseException:  # a refused request leaves no task behind, whoever refused it
            await pump.stop()
            raise
        return pump

    async def _pull(self, events: AsyncIterable[bytes]) -> None:
        error: Exception | None = None
        try:
            async for event in events:
                self._queue.put_nowait(event)
        except Exception as raised:  # noqa: BLE001 - handed to the reader, who raises it
            error = raised
        finally:
            self._queue.put_nowait(_Ended(error))

    async def _hold(self) -> None:
        while True:
            item = await self._queue.get()
            if isinstance(item, _Ended):
                if item.error is not None:
                    raise refusal(item.error)
                raise NotFoundError("nothing to answer")
            self._held.append(item)
            if _type_of(item) in OPENERS:
                return

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Every event, the held ones first. Leaving the loop early, or being cancelled in it, stops the turn."""
        try:
            for held in self._held:
                assert isinstance(held, bytes)
                yield held
            while True:
                item = await self._queue.get()
                if isinstance(item, _Ended):
                    break
                yield item
            if item.error is not None:
                yield BROKEN
                raise item.error  # the runtime's business: it counts as an error of the function
        finally:
            await self.stop()

    async def stop(self) -> None:
        """Cancel the turn, once, and wait for its clean-up, CLEAN_UP_S at most. Quiet when it is over."""
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=CLEAN_UP_S)


def refusal(error: Exception) -> Exception:
    """What a refused request is told: ChatKit says ValueError for "not in this state", which is a ConflictError."""
    if isinstance(error, ValueError):
        return ConflictError("That is not possible in the thread's present state: it has moved on. Reload the thread.")
    return error


def _type_of(event: bytes) -> str:
    return str(json.loads(event.removeprefix(b"data: "))["type"])
