"""The Runtime API as a runtime process sees it: one server per sandbox, on loopback. Knows no process and no client.

states.py decides what a request may do; the Delivery takes what a response contains.
"""

import asyncio
import uuid
from collections.abc import Callable, Coroutine
from typing import Any

import h11

from lambda_src.dev.emulator import protocol
from lambda_src.dev.emulator.delivery import Delivery
from lambda_src.dev.emulator.exchange import ApiRequest, Exchange, Server, unless
from lambda_src.dev.emulator.protocol import ErrorReport, ProtocolError
from lambda_src.dev.emulator.sandboxes.states import (
    ManagedStates,
    RefusedError,
    States,
    invalid_request_id,
    invoke_timeout,
    truncated_request,
)

OK = {"status": "OK"}


class RuntimeApi(Server):
    """Serves one runtime process; `deliver` hands it an invocation.

    Calls `on_next` for each `next`, with the id of the invocation that it releases; `on_taken` for each delivery that
    goes out, just before; `on_fault` for errors while the function loads or is restored.
    """

    def __init__(
        self,
        states: States,
        *,
        on_next: Callable[[str | None], None],
        on_taken: Callable[[Delivery], None],
        on_fault: Callable[[ErrorReport], None],
    ) -> None:
        super().__init__()
        self.states = states
        self.extensions: set[str] = set()
        self.restore = asyncio.Event()  # set when the snapshot may be restored
        self.snapshot = asyncio.Event()  # set when the runtime is ready for the snapshot
        self._on_next = on_next
        self._on_taken = on_taken
        self._on_fault = on_fault
        self._waiting: asyncio.Queue[Delivery] = asyncio.Queue()
        self._deliveries: dict[str, Delivery] = {}
        self._current: str | None = None  # classic: the invocation that went out last
        self._has_started = False  # whether the runtime has called `next`: from then on no extension may register

    async def start(self) -> str:
        """Listen on a free port; the address for AWS_LAMBDA_RUNTIME_API."""
        return await self._listen(host="127.0.0.1", port=0)

    def deliver(self, delivery: Delivery) -> None:
        """Hand `delivery` to the next `next`."""
        self._deliveries[delivery.invocation.request_id] = delivery
        self._waiting.put_nowait(delivery)

    def time_out(self, delivery: Delivery) -> None:
        """The deadline has passed: refuse the response, even if it has begun."""
        self.states.late(delivery.invocation.request_id)
        self._interrupt(delivery, invoke_timeout())

    def abandon(self, delivery: Delivery) -> None:
        """The caller has left: refuse the response, even if it has begun."""
        self.states.end(delivery.invocation.request_id)
        self._interrupt(delivery, truncated_request())

    def _interrupt(self, delivery: Delivery, refusal: RefusedError) -> None:
        delivery.refusal = refusal
        delivery.interrupted.set()
        self._deliveries.pop(delivery.invocation.request_id, None)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        exchange = Exchange(reader, writer)
        while (request := await exchange.request()) is not None:
            await self._respond(request, exchange)

    async def _respond(self, request: ApiRequest, exchange: Exchange) -> None:
        try:
            await self._route(request, exchange)
        except RefusedError as refusal:
            await exchange.refuse(refusal.status, {"errorMessage": refusal.message, "errorType": refusal.kind})

    async def _route(self, request: ApiRequest, exchange: Exchange) -> None:
        if request.method == "POST" and (match := protocol.RESPONSE_PATH.fullmatch(request.path)):
            await self._result(match[1], match[2], request, exchange)
            return
        routes: dict[tuple[str, str], Callable[[ApiRequest, Exchange], Coroutine[Any, Any, None]]] = {
            ("GET", protocol.NEXT_PATH): self._next,
            ("POST", protocol.INIT_ERROR_PATH): self._init_error,
            ("GET", protocol.RESTORE_NEXT_PATH): self._restore_next,
            ("POST", protocol.RESTORE_ERROR_PATH): self._init_error,
            ("POST", protocol.REGISTER_PATH): self._register,
            ("GET", protocol.EXTENSION_NEXT_PATH): self._extension_next,
        }
        if (route := routes.get((request.method, request.path))) is None:
            raise RefusedError(404, "NotFound", f"{request.method} {request.path}")
        await route(request, exchange)

    async def _next(self, request: ApiRequest, exchange: Exchange) -> None:
        await exchange.body()
        managed = isinstance(self.states, ManagedStates)
        released = self._current
        if self.states.next():
            assert released is not None
            await exchange.send_invocation(self._deliveries[released].invocation, empty=managed)
            return
        self._current = None
        self._has_started = True
        self._on_next(released)
        delivery = await exchange.unless_closed(self._waiting.get())
        while delivery.finished.is_set():  # its caller left before the process took it
            delivery = await exchange.unless_closed(self._waiting.get())
        self._current = delivery.invocation.request_id
        self.states.deliver(self._current)
        self._on_taken(delivery)
        await exchange.send_invocation(delivery.invocation, empty=managed)

    async def _result(self, request_id: str, what: str, request: ApiRequest, exchange: Exchange) -> None:
        """The function's response, or the error that it ended in."""
        mode = request.headers.get(protocol.RESPONSE_MODE)
        echoed = request.headers.get(protocol.INVOCATION_ID)
        sent = self._deliveries[request_id].invocation.invocation_id if request_id in self._deliveries else ""
        if echoed and sent and echoed != sent:  # runtimes older than the header echo none
            raise invoke_timeout()
        if what == "error":
            self.states.error(request_id)
            await self._delivery(request_id).fail(ErrorReport.read(request.headers, await exchange.body() or b""))
            await exchange.respond(202, OK)
            return
        if mode not in (None, protocol.STREAMING):
            self.states.fault()
            raise RefusedError(400, "InvalidFunctionResponseMode", "Invalid function response mode")
        self.states.respond(request_id)
        delivery = self._delivery(request_id)
        take = self._buffered if mode is None else self._streamed
        try:
            await self._unless_interrupted(delivery, take(delivery, request, exchange))
        except (OSError, h11.RemoteProtocolError) as cut:
            self.states.broke(request_id)
            await delivery.cut(ErrorReport("Runtime.TruncatedResponse", "Runtime.TruncatedResponse", str(cut)))
            raise
        except ProtocolError as fault:
            self.states.end(request_id)
            await delivery.fail(ErrorReport("Runtime.InvalidResponse", "Runtime.InvalidResponse", str(fault)))
            raise RefusedError(400, "InvalidResponse", str(fault)) from fault
        self.states.end(request_id)
        await exchange.respond(202, OK)

    async def _unless_interrupted(self, delivery: Delivery, work: Coroutine[Any, Any, None]) -> None:
        if not isinstance(self.states, ManagedStates):  # a classic process is killed instead
            await work
            return
        try:
            await unless(delivery.interrupted.wait(), work, InterruptedError())
        except InterruptedError:
            assert delivery.refusal is not None
            raise delivery.refusal from None

    async def _streamed(self, delivery: Delivery, request: ApiRequest, exchange: Exchange) -> None:
        content_type = request.headers.get("content-type")
        if content_type != protocol.HTTP_INTEGRATION:
            await delivery.begin(content_type)
        async for data in exchange.chunks():
            await delivery.stream(data)
        declared = [name.strip().lower() for name in request.headers.get("trailer", "").split(",")]
        trailers = {name: value for name, value in exchange.trailers.items() if name in declared}
        await delivery.end(ErrorReport.from_trailers(trailers))

    async def _buffered(self, delivery: Delivery, request: ApiRequest, exchange: Exchange) -> None:
        """Passed on as it is, since the function URL is one that streams."""
        size = int(request.headers.get("content-length", "0"))
        body = None if size > protocol.BUFFERED_MAX_BYTES else await exchange.body(protocol.BUFFERED_MAX_BYTES)
        if body is None:
            self.states.end(delivery.invocation.request_id)
            kind = "Function.ResponseSizeTooLarge"
            text = f"Response payload size exceeded maximum allowed payload size ({protocol.BUFFERED_MAX_BYTES} bytes)."
            await delivery.fail(ErrorReport(kind, kind, text))
            raise RefusedError(413, "RequestEntityTooLarge", text)
        await delivery.begin(request.headers.get("content-type"))
        await delivery.stream(body)
        await delivery.end(None)

    async def _init_error(self, request: ApiRequest, exchange: Exchange) -> None:
        self._on_fault(ErrorReport.read(request.headers, await exchange.body() or b""))
        await exchange.respond(202, OK)

    async def _restore_next(self, request: ApiRequest, exchange: Exchange) -> None:
        await exchange.body()
        self.snapshot.set()
        await self.restore.wait()
        await exchange.respond(200, {})

    async def _register(self, request: ApiRequest, exchange: Exchange) -> None:
        await exchange.body()
        if self._has_started:
            raise RefusedError(403, "Extension.RegistrationClosed", "Extension registration closed already")
        identifier = str(uuid.uuid4())
        self.extensions.add(identifier)
        headers = [(protocol.EXTENSION_ID_SENT, identifier)]
        await exchange.respond(200, {"functionName": "emulated"}, headers=headers)

    async def _extension_next(self, request: ApiRequest, exchange: Exchange) -> None:
        if request.headers.get(protocol.EXTENSION_ID) not in self.extensions:
            raise RefusedError(403, "Extension.UnknownExtensionIdentifier", "Unknown extension")
        await exchange.body()
        await exchange.unless_closed(asyncio.Event().wait())  # without events it waits until the sandbox ends

    def _delivery(self, request_id: str) -> Delivery:
        if (delivery := self._deliveries.get(request_id)) is None:
            raise invalid_request_id()
        return delivery
