"""The life of the process and of each invocation: next -> answer -> next. Knows no wire, no ASGI and no environment.

Nothing of a request lives in this object: with Managed Instances N clients share it on one event loop.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, MutableMapping, Sequence

from lambda_src.runtime.client import SERVER_FAULT, RuntimeClient
from lambda_src.runtime.context import LambdaContext, request_id_var
from lambda_src.runtime.environment import TRACE_ID, Environment
from lambda_src.runtime.errors import (
    CALLER_LEFT,
    DeadlineError,
    EventError,
    IncompleteResponseError,
    ReplyBrokenError,
    RuntimeApiError,
    ShutdownError,
    causes_of,
    log_fields,
    report_of,
)
from lambda_src.runtime.handler import StreamingHandler
from lambda_src.runtime.protocol import Invocation
from lambda_src.runtime.reply import Reply, Stage
from lambda_src.runtime.stop import CLEAN_UP_S, Stoppable, seconds_to_run

SHUTDOWN_S = 0.1  # of the 150 ms or so between SIGTERM and SIGKILL: the rest is for lifespan.shutdown

logger = logging.getLogger(__name__)


class Worker:
    """Serves invocations with `handler`. `clock` is epoch seconds.

    `trace_env` gets the running invocation's trace id; without it no trace id is set, as with many invocations at once.
    """

    def __init__(
        self,
        handler: StreamingHandler,
        environment: Environment,
        *,
        clock: Callable[[], float] = time.time,
        trace_env: MutableMapping[str, str] | None = None,
        clean_up_s: float = CLEAN_UP_S,
    ) -> None:
        self._handler = handler
        self._environment = environment
        self._clock = clock
        self._trace_env = {} if trace_env is None else trace_env
        self._clean_up_s = clean_up_s
        self._running: set[Stoppable] = set()
        self._waiting: set[asyncio.Task[None]] = set()  # those that are in `next`
        self._end = asyncio.Event()

    def end(self) -> None:
        """Make `run` return: stop what runs, give it a moment, and end the handler's lifespan. For SIGTERM."""
        self._end.set()

    async def run(self, clients: Sequence[RuntimeClient]) -> None:
        """Serve with all `clients` side by side, until `end`. OSError or RuntimeApiError: the Runtime API is gone."""
        start = asyncio.get_running_loop().create_task
        serving = {start(self._serve(client)) for client in clients}
        ending = start(self._end.wait())
        try:
            done, _ = await asyncio.wait({*serving, ending}, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {ending}:
                await task  # raises: it returns only after `end`
            for running in self._running:
                running.stop(ShutdownError("The sandbox ends."))
            for waiting in self._waiting:
                waiting.cancel()
            await asyncio.wait(serving, timeout=SHUTDOWN_S)
            await self._handler.shutdown()
        finally:
            for task in (*serving, ending):
                task.cancel()
            await asyncio.gather(*serving, ending, return_exceptions=True)

    async def _serve(self, client: RuntimeClient) -> None:
        """Take and answer invocations, one after another."""
        me = asyncio.current_task()
        assert me is not None
        while not self._end.is_set():
            self._waiting.add(me)
            invocation = await client.next()
            self._waiting.discard(me)
            request_id = request_id_var.set(invocation.request_id)
            self._trace_env.pop(TRACE_ID, None)
            if invocation.trace_id is not None:
                self._trace_env[TRACE_ID] = invocation.trace_id
            try:
                await self.invoke(client, invocation)
            finally:
                request_id_var.reset(request_id)

    async def invoke(self, client: RuntimeClient, invocation: Invocation) -> None:
        """Answer one invocation: with what the handler writes, or with the error it ends in.

        Nothing that the handler raises escapes: only a 5xx of the Runtime API, which means exit, is raised.
        """
        reply = await client.reply(invocation)
        running = Stoppable(self._handle(invocation, reply), clean_up_s=self._clean_up_s)
        reply.on_broken = running.stop
        error = await self._watch(running, invocation)
        try:
            async with asyncio.timeout(max(self._remaining_s(invocation), self._clean_up_s)):
                await self._finish(reply, error, invocation.request_id)
        except RuntimeApiError as refusal:
            if refusal.kind == CALLER_LEFT:
                logger.info("runtime.caller_left", extra={"status": refusal.status})
            else:
                self._log("runtime.answer_refused", refusal, status=refusal.status)
            if reply.broken is not None:
                reply.abandon()  # refused before its end: on this connection all that follows would be more of its body
            if refusal.status >= SERVER_FAULT:
                raise
        except (OSError, TimeoutError) as cut:
            reply.abandon()
            self._log("runtime.answer_broken", cut)

    async def _watch(self, running: Stoppable, invocation: Invocation) -> BaseException | None:
        """How it ended, stopped by its deadline or by the end of the process if need be."""
        self._running.add(running)
        deadline = asyncio.get_running_loop().call_later(
            seconds_to_run(self._remaining_s(invocation)), running.stop, DeadlineError("The function's time is up.")
        )
        try:
            return await running.outcome()
        finally:
            deadline.cancel()
            self._running.discard(running)

    async def _handle(self, invocation: Invocation, reply: Reply) -> None:
        """Let the handler answer. EventError when there is nothing to hand it."""
        try:
            event = json.loads(invocation.event)
        except ValueError as fault:
            raise EventError(f"The event is not JSON: {fault}") from fault
        await self._handler.stream(event, LambdaContext(invocation, self._environment, clock=self._clock), reply)

    async def _finish(self, reply: Reply, error: BaseException | None, request_id: str) -> None:
        """Send the end of the answer or the error, and wait until the Runtime API has accepted it."""
        if error is None and reply.stage is not Stage.DONE:
            error = IncompleteResponseError("The app returned before its answer was complete.")
        if error is not None:
            if not _is_consequence(error, reply.broken):
                self._log("runtime.invocation_failed", error)
            if reply.stage is not Stage.DONE:
                await reply.fail(report_of(error, request_id=request_id))
        if reply.broken is not None:
            raise reply.broken
        await reply.finish()

    def _log(self, message: str, error: BaseException, **fields: object) -> None:
        """Log an error and its stack; the text of an app's exceptions only with CHAT_RUNTIME_SHOW_ERRORS."""
        logger.error(message, extra=log_fields(error, with_text=self._environment.show_errors) | fields)

    def _remaining_s(self, invocation: Invocation) -> float:
        return invocation.deadline_ms / 1000 - self._clock()


def _is_consequence(error: BaseException, broken: BaseException | None) -> bool:
    """Whether the app failed only because its answer broke, which is logged separately."""
    return broken is not None and any(
        cause is broken or isinstance(cause, ReplyBrokenError) for cause in causes_of(error)
    )
