"""Token metering of one turn: reserves tokens before each model call and settles them after. Knows no counter.

A call reserves its estimated input and its maximum output before it is sent. When it ends, it costs what the vendor
reports; a call that was cut off, or for which the vendor reports nothing, costs everything that it reserved.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

Reserve = Callable[[int], Awaitable[None]]
"""Reserves more tokens. QuotaError if not enough are left; then none are reserved."""


@dataclass(slots=True, eq=False)
class Call:
    """One request to a model: its estimated input, its maximum output, and how much of the output has arrived."""

    input_tokens: int
    output_tokens: int
    arrived: int = 0

    @property
    def bound(self) -> int:
        """The most that the call can cost, by estimate."""
        return self.input_tokens + self.output_tokens


class Meter:
    """Meters one turn. `day` is the UTC day to which all of it counts; `reserved` is the turn's initial reservation."""

    def __init__(self, reserve: Reserve, *, day: int, reserved: int) -> None:
        self._reserve = reserve
        self.day, self.reserved = day, reserved
        self._spent = 0
        self._open: list[Call] = []
        self._uncounted = 0

    @property
    def cost(self) -> int:
        """The turn's cost if it ended now."""
        return self._spent + sum(call.bound for call in self._open)

    @property
    def is_settled(self) -> bool:
        """Whether the vendor has reported the tokens of every call."""
        return not self._open and not self._uncounted

    async def begin(self, *, input_tokens: int, output_tokens: int) -> Call:
        """Reserve a call, which may then be sent. QuotaError if it must not be."""
        call = Call(input_tokens, output_tokens)
        self._open.append(call)
        try:
            await self._cover()
        except BaseException:
            self._open.remove(call)
            raise
        return call

    async def arrived(self, call: Call, tokens: int) -> None:
        """Count output tokens that have arrived; reserves more past the maximum. QuotaError if none are left."""
        call.arrived += tokens
        if call.arrived <= call.output_tokens:
            return  # the usual case: reserved when the call began
        while call.arrived > call.output_tokens:
            call.output_tokens *= 2
        await self._cover()

    def end(self, call: Call, used: int) -> None:
        """Settle a call. `used`: the tokens that the vendor reports, or 0 if it reports none."""
        self._open.remove(call)
        self._spent += used or call.bound
        self._uncounted += not used

    def drop(self, call: Call) -> None:
        """Settle a call that was refused before anything was generated, at no cost."""
        self._open.remove(call)

    async def _cover(self) -> None:
        missing = self.cost - self.reserved
        if missing <= 0:
            return
        self.reserved += missing  # before awaiting, so that a concurrent call reserves only its own tokens
        try:
            await self._reserve(missing)
        except BaseException:
            self.reserved -= missing
            raise
