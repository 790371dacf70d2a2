"""Interleaves the requests of several processes by a schedule, one request at a time, to enumerate all races."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class HeldExecutor(Executor):
    """Holds each call until `release` makes it."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> "Future[R]":
        """Return a future that completes after `release`."""
        future: Future[R] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                with suppress(Exception):  # sent, and nobody waits for the answer
                    fn(*args, **kwargs)
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as fault:  # noqa: BLE001 - an executor passes every exception to the caller
                future.set_exception(fault)

        self.waiting.append(call)
        return future

    def release(self) -> None:
        """Make the oldest call."""
        self.waiting.pop(0)()


async def interleave(schedule: list[int], *processes: tuple[HeldExecutor, Callable[[], Awaitable[Any]]]) -> list[int]:
    """Run the processes; each entry of `schedule` selects the next request, as an index among the waiting processes
    (the last one if it is too large).

    Returns the number of waiting processes at each step, so that a caller can enumerate all schedules.
    """
    tasks = [asyncio.ensure_future(run()) for _, run in processes]
    choices: list[int] = []
    while True:
        for _ in range(8):  # until every task is done or waits for its request
            await asyncio.sleep(0)
        ready = [held for held, _ in processes if held.waiting]
        if not ready:
            break
        step = len(choices)
        choices.append(len(ready))
        ready[min(schedule[step], len(ready) - 1) if step < len(schedule) else 0].release()
    for task in tasks:
        assert task.done(), "a process waits for something other than its requests"
        task.result()
    return choices


def next_schedule(schedule: list[int], choices: list[int]) -> list[int] | None:
    """Return the next schedule in depth-first order, or None after the last."""
    taken = [schedule[step] if step < len(schedule) else 0 for step in range(len(choices))]
    while taken:
        if taken[-1] + 1 < choices[len(taken) - 1]:
            return [*taken[:-1], taken[-1] + 1]
        taken.pop()
    return None


def schedules(run: Callable[[list[int]], list[int]], *, limit: int) -> Iterator[list[int]]:
    """Run and yield every schedule once; fail above `limit`, so that tests stay small."""
    schedule: list[int] | None = []
    count = 0
    while schedule is not None:
        count += 1
        assert count <= limit, "too many interleavings"
        choices = run(schedule)
        yield schedule
        schedule = next_schedule(schedule, choices)
