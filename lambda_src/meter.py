"""What one turn reserves and spends of the model's tokens, call by call. Knows no counter, no model and no clock.

A call is reserved before it is sent: its estimated input and the most it may answer. When it ends it costs what the
vendor counted; a call that was cut, or that nobody counted, costs all that was reserved for it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

Reserve = Callable[[int], Awaitable[None]]
"""Reserve so many tokens more. QuotaError: there are not that many left, and none are reserved."""


@dataclass(slots=True, eq=False)
class Call:
    """One request to a model: its estimated input, the most it may answer, and how much of that has arrived."""

    input_tokens: int
    output_tokens: int
    arrived: int = 0

    @property
    def bound(self) -> int:
        """The most that it can cost, as far as anybody can tell."""
        return self.input_tokens + self.output_tokens


class Meter:
    """Of one turn. `day` is the day of UTC that all of it counts for; `reserved` is what the turn began with."""

    def __init__(self, reserve: Reserve, *, day: int, reserved: int) -> None:
        self._reserve = reserve
        self.day, self.reserved = day, reserved
        self._spent = 0
        self._open: list[Call] = []

    @property
    def cost(self) -> int:
        """What the turn costs if it ends now."""
        return self._spent + sum(call.bound for call in self._open)

    async def begin(self, *, input_tokens: int, output_tokens: int) -> Call:
        """A call that may be sent now. QuotaError: it must not be."""
        call = Call(input_tokens, output_tokens)
        self._open.append(call)
        try:
            await self._cover()
        except BaseException:
            self._open.remove(call)
            raise
        return call

    async def arrived(self, call: Call, tokens: int) -> None:
        """So many tokens of the answer came in; past the most, more is reserved. QuotaError: none are left."""
        call.arrived += tokens
        if call.arrived <= call.output_tokens:
            return  # as for nearly every word: it was covered when the call began
        while call.arrived > call.output_tokens:
            call.output_tokens *= 2
        await self._cover()

    def end(self, call: Call, used: int) -> None:
        """The call is over; the vendor counted `used` tokens, or 0 if nobody counted."""
        self._open.remove(call)
        self._spent += used or call.bound

    def drop(self, call: Call) -> None:
        """The call was refused before anything was generated: it costs nothing."""
        self._open.remove(call)

    async def _cover(self) -> None:
        missing = self.cost - self.reserved
        if missing <= 0:
            return
        self.reserved += missing  # before the request: a call that begins meanwhile reserves its own
        try:
            await self._reserve(missing)
        except BaseException:
            self.reserved -= missing
            raise
