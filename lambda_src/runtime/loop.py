"""The life of the process and of each invocation: next -> answer -> next. Knows no wire, no ASGI and no environment.

Nothing of a request lives in this object: with Managed Instances `concurrency` of these loops share one event loop.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable

from lambda_src.runtime import protocol
from lambda_src.runtime.client import SERVER_FAULT, RuntimeClient
from lambda_src.runtime.context import LambdaContext, request_id_var, tenant_id_var
from lambda_src.runtime.environment import Environment
from lambda_src.runtime.errors import DeadlineError, EventError, RuntimeApiError, ShutdownError, report_of
from lambda_src.runtime.handler import StreamingHandler
from lambda_src.runtime.protocol import Invocation
from lambda_src.runtime.reply import Reply, Stage
from lambda_src.runtime.stop import CLEAN_UP_S, Stoppable, seconds_to_run

logger = logging.getLogger(__name__)


class Loop:
    """Serves invocations with `handler`. `clock` is epoch seconds; `set_trace` takes each invocation's trace id."""

    def __init__(
        self,
        handler: StreamingHandler,
        environment: Environment,
        *,
        clock: Callable[[], float] = time.time,
        set_trace: Callable[[str | None], None] = lambda trace_id: None,
        clean_up_s: float = CLEAN_UP_S,
    ) -> None:
        self._handler = handler
        self._environment = environment
        self._clock = clock
        self._set_trace = set_trace
        self._clean_up_s = clean_up_s
        self._running: set[Stoppable] = set()
        self._closing = False

    async def serve(self, client: RuntimeClient) -> None:
        """Take and answer invocations, one after another, until `shutdown` or until the Runtime API is gone."""
        while not self._closing:
            invocation = await client.next()
            token, tenant = request_id_var.set(invocation.request_id), tenant_id_var.set(invocation.tenant_id)
            self._set_trace(invocation.trace_id)
            try:
                await self.invoke(client, invocation)
            finally:
                request_id_var.reset(token)
                tenant_id_var.reset(tenant)

    async def invoke(self, client: RuntimeClient, invocation: Invocation) -> None:
        """Answer one invocation: with what the handler writes, or with the error it ends in.

        Nothing the handler does gets past this: only a Runtime API that says 5xx (exit!) raises.
        """
        reply = await client.reply(invocation)
        task = asyncio.get_running_loop().create_task(self._handle(invocation, reply))
        running = Stoppable(task, clean_up_s=self._clean_up_s)
        reply.on_broken = running.stop
        self._running.add(running)
        remaining_s = invocation.deadline_ms / 1000 - self._clock()
        deadline = asyncio.get_running_loop().call_later(
            seconds_to_run(remaining_s), running.stop, DeadlineError("The time-out of the function is near.")
        )
        try:
            error = await running.outcome()
        finally:
            deadline.cancel()
            self._running.discard(running)
        try:
            async with asyncio.timeout(max(invocation.deadline_ms / 1000 - self._clock(), self._clean_up_s)):
                await self._finish(reply, error)
        except RuntimeApiError as refusal:
            logger.error("runtime.answer_refused", extra={"status": refusal.status, "detail": str(refusal)})
            if refusal.status >= SERVER_FAULT:
                raise
        except (OSError, TimeoutError) as cut:
            logger.error("runtime.answer_broken", extra={"detail": repr(cut)})
            client.close()

    async def shutdown(self, drain: "asyncio.TaskGroup | None" = None) -> None:
        """Stop what runs, wait (bounded) for its clean-up, and end the handler's lifespan."""
        self._closing = True
        running = list(self._running)
        for one in running:
            one.stop(ShutdownError("The sandbox ends."))
        for one in running:
            await one.outcome()
        await self._handler.shutdown()

    async def _handle(self, invocation: Invocation, reply: Reply) -> None:
        if len(invocation.event) > protocol.EVENT_MAX_BYTES:
            raise EventError(f"The event has {len(invocation.event)} bytes; Lambda allows {protocol.EVENT_MAX_BYTES}.")
        try:
            event = json.loads(invocation.event)
        except ValueError as fault:
            raise EventError(f"The event is not JSON: {fault}") from fault
        context = LambdaContext.of(invocation, self._environment, clock=self._clock)
        await self._handler.stream(event, context, reply)

    async def _finish(self, reply: Reply, error: BaseException | None) -> None:
        """Say how it ended, and wait until the Runtime API has taken it."""
        if error is not None:
            logger.error("runtime.invocation_failed", exc_info=error)
            if reply.stage is not Stage.DONE:
                await reply.fail(report_of(error))
        if reply.broken is not None:
            raise reply.broken
        await reply.finish()
