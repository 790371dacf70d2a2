"""The context object of one invocation, as Lambda's own Python runtime makes it, without what mobile SDKs send.

https://docs.aws.amazon.com/lambda/latest/dg/python-context.html; `deadline_ms` and `trace_id` come in
addition to what that page lists.
"""

import time
from collections.abc import Callable
from contextvars import ContextVar

from lambda_src.runtime.environment import Environment
from lambda_src.runtime.protocol import Invocation

# Set by the worker around each invocation, read by the log formatter: right for N streams on one event loop.
request_id_var: ContextVar[str] = ContextVar("request_id", default="")


class LambdaContext:
    """Which function is invoked, by which request, and until when. `clock` is epoch seconds."""

    def __init__(
        self, invocation: Invocation, environment: Environment, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.aws_request_id = invocation.request_id
        self.deadline_ms = invocation.deadline_ms  # epoch: then Lambda kills the process
        self.invoked_function_arn = invocation.function_arn or ""
        self.function_name = environment.function_name
        self.function_version = environment.function_version
        self.memory_limit_in_mb = environment.memory_mb
        self.log_group_name = environment.log_group
        self.log_stream_name = environment.log_stream
        self.trace_id = invocation.trace_id
        self._clock = clock

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the deadline, never negative."""
        return max(0, self.deadline_ms - int(self._clock() * 1000))
