"""Processes on one table whose requests take turns as a schedule says, one request at a time. Knows no store."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Held(Executor):
    """Keeps each call until `release` makes it."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> "Future[R]":
        """A future that is done after `release`."""
        future: Future[R] = Future()

        def call() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as fault:  # noqa: BLE001 - an executor hands every fault to whoever waits
                future.set_exception(fault)

        self.waiting.append(call)
        return future

    def release(self) -> None:
        """Make the oldest call."""
        self.waiting.pop(0)()


async def interleave(schedule: list[int], *processes: tuple[Held, Callable[[], Awaitable[Any]]]) -> list[int]:
    """Run the processes; `schedule` says whose request is next, as an index among those that have one; the
    last of these where it is too large.

    Returns how many had one at each step, so that a caller can enumerate every schedule.
    """
    tasks = [asyncio.ensure_future(run()) for _, run in processes]
    choices: list[int] = []
    while True:
        for _ in range(8):  # until every task waits for its request, or is done
            await asyncio.sleep(0)
        ready = [held for held, _ in processes if held.waiting]
        if not ready:
            break
        step = len(choices)
        choices.append(len(ready))
        ready[min(schedule[step], len(ready) - 1) if step < len(schedule) else 0].release()
    for task in tasks:
        assert task.done(), "a process waits for something else than its requests"
        task.result()
    return choices


def next_schedule(schedule: list[int], choices: list[int]) -> list[int] | None:
    """The schedule after this one in depth-first order; None after the last."""
    taken = [schedule[step] if step < len(schedule) else 0 for step in range(len(choices))]
    while taken:
        if taken[-1] + 1 < choices[len(taken) - 1]:
            return [*taken[:-1], taken[-1] + 1]
        taken.pop()
    return None


def schedules(run: Callable[[list[int]], list[int]], *, most: int) -> Iterator[list[int]]:
    """Every schedule, each run once; AssertionError over `most`, so that a test stays small."""
    schedule: list[int] | None = []
    count = 0
    while schedule is not None:
        count += 1
        assert count <= most, "too many interleavings"
        choices = run(schedule)
        yield schedule
        schedule = next_schedule(schedule, choices)
