"""How long an operation of a store may take. Knows no store."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from lambda_src.errors import UnavailableError

OPERATION_BUDGET_S = 4.5  # a user waits at most 5 s longer for a fault; four time-outs of two seconds would take 8

P = ParamSpec("P")
R = TypeVar("R")


def within_budget(operation: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """`operation`, but UnavailableError after OPERATION_BUDGET_S. A write under way may then still land."""

    @wraps(operation)
    async def bounded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            async with asyncio.timeout(OPERATION_BUDGET_S):
                return await operation(*args, **kwargs)
        except TimeoutError as fault:
            raise UnavailableError(f"The store did not answer within {OPERATION_BUDGET_S} seconds.") from fault

    return bounded
