"""The context object of one invocation, as Lambda's own Python runtime makes it, without what mobile SDKs send.

https://docs.aws.amazon.com/lambda/latest/dg/python-context.html; `deadline_ms` and `trace_id` come in
addition to what that page lists.
"""

import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Self

from lambda_src.runtime.environment import Environment
from lambda_src.runtime.protocol import Invocation

# Set by the worker around each invocation, read by the log formatter: right for N streams on one event loop.
request_id_var: ContextVar[str] = ContextVar("request_id", default="")


@dataclass(frozen=True, kw_only=True)
class LambdaContext:
    """Who is invoked, by which request, and until when."""

    aws_request_id: str
    deadline_ms: int  # epoch, milliseconds: then Lambda kills the process
    invoked_function_arn: str
    function_name: str
    function_version: str
    memory_limit_in_mb: int
    log_group_name: str
    log_stream_name: str
    trace_id: str | None
    clock: Callable[[], float] = time.time  # epoch, seconds

    @classmethod
    def of(cls, invocation: Invocation, environment: Environment, *, clock: Callable[[], float] = time.time) -> Self:
        """The context of `invocation`."""
        return cls(
            aws_request_id=invocation.request_id,
            deadline_ms=invocation.deadline_ms,
            invoked_function_arn=invocation.function_arn or "",
            function_name=environment.function_name,
            function_version=environment.function_version,
            memory_limit_in_mb=environment.memory_mb,
            log_group_name=environment.log_group,
            log_stream_name=environment.log_stream,
            trace_id=invocation.trace_id,
            clock=clock,
        )

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the deadline, never negative."""
        return max(0, self.deadline_ms - int(self.clock() * 1000))
