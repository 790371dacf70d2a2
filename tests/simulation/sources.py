"""Virtual time, ids and random numbers for the process of a simulation.

The code under test and its libraries read the clock in a hundred places, many of them as default arguments
(`clock=time.time_ns`) or by `datetime.now()`, so no composition could hand all of them in. `install` therefore replaces
the sources of the standard library, before anything else is imported, in a process that does nothing but simulate. It
changes no library and no module of ours. Imports only the standard library.
"""

import asyncio
import datetime
import os
import random
import secrets
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal

START_NS = 1_800_000_000 * 10**9  # January 15th 2027, 08:00 UTC
SECOND = 10**9


@dataclass(eq=False)
class Machine:
    """A process of the deployment: what runs in its context sees its clock, and only runs while it does."""

    name: str
    skew_ns: int = 0
    state: Literal["running", "frozen", "dead"] = "running"
    steps_left: int | None = None  # callbacks of the event loop until it is killed; None: it is not
    died_ns: int | None = None
    held: list[asyncio.Handle] = field(default_factory=list)  # due while it was frozen
    waiting: list[asyncio.Future[None]] = field(default_factory=list)  # for its thaw or its death

    def wake_up(self) -> None:
        """Its state has changed."""
        for future in self.waiting:
            if not future.done():
                future.set_result(None)
        self.waiting.clear()


MACHINE: ContextVar[Machine | None] = ContextVar("machine", default=None)


class Sources:
    """The time of the simulated world, and its random numbers."""

    def __init__(self) -> None:
        self.now_ns = START_NS
        self.ids = random.Random(0)

    def begin(self, seed: int) -> None:
        """Start again from `seed`."""
        self.now_ns = START_NS
        self.ids = random.Random(f"{seed}/ids")
        random.seed(f"{seed}/random")

    def time_ns(self) -> int:
        """The wall clock of the machine that asks."""
        machine = MACHINE.get()
        return self.now_ns + (0 if machine is None else machine.skew_ns)

    def monotonic_ns(self) -> int:
        """A clock that no machine sets."""
        return self.now_ns - START_NS

    def token_bytes(self, nbytes: int | None = None) -> bytes:
        """Random bytes, from the seed."""
        return self.ids.randbytes(32 if nbytes is None else nbytes)


SOURCES = Sources()
_RealDatetime = datetime.datetime


class _AnyDatetime(type):
    """Accepts every datetime: pydantic and the C library make real ones."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _RealDatetime)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, _RealDatetime)


class VirtualDatetime(_RealDatetime, metaclass=_AnyDatetime):
    """datetime, whose `now` is virtual."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        """Like datetime.now."""
        return _RealDatetime.fromtimestamp(SOURCES.time_ns() / SECOND, tz)

    @classmethod
    def utcnow(cls) -> Any:
        """Like datetime.utcnow."""
        return cls.now(datetime.UTC).replace(tzinfo=None)


def install() -> None:
    """Replace clocks and random sources. Call it before any other import."""
    os.environ["TZ"] = "UTC"
    time.tzset()
    namespace: Any = time
    namespace.time_ns = SOURCES.time_ns
    namespace.time = lambda: SOURCES.time_ns() / SECOND
    namespace.monotonic_ns = namespace.perf_counter_ns = SOURCES.monotonic_ns
    namespace.monotonic = namespace.perf_counter = lambda: SOURCES.monotonic_ns() / SECOND
    namespace.sleep = _refuse_to_block
    namespace = os
    namespace.urandom = SOURCES.token_bytes
    namespace = secrets
    namespace.token_bytes = SOURCES.token_bytes
    namespace = datetime
    namespace.datetime = VirtualDatetime


def _refuse_to_block(seconds: float) -> None:
    raise AssertionError(f"something blocks the event loop for {seconds} s")
