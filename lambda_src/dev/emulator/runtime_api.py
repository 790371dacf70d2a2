"""The Runtime API as a runtime process sees it: one server per sandbox, on loopback. Knows no process and no client.

What a request may do is asked of states.py; what an answer contains goes to its Delivery.
"""

import asyncio
import re
import uuid
from collections.abc import Callable, Coroutine
from typing import Any

from lambda_src.dev.emulator.delivery import Delivery
from lambda_src.dev.emulator.exchange import Exchange
from lambda_src.dev.emulator.states import ManagedStates, RefusedError, States, invalid_request_id
from lambda_src.runtime import protocol
from lambda_src.runtime.http1 import Head, HttpError
from lambda_src.runtime.protocol import ErrorReport, ProtocolError

_ANSWER_PATH = re.compile("/2018-06-01/runtime/invocation/([^/]+)/(response|error)")
OK = {"status": "OK"}
REGISTER_PATH = "/2020-01-01/extension/register"
EXTENSION_NEXT_PATH = "/2020-01-01/extension/event/next"
EXTENSION_ID = "Lambda-Extension-Identifier"


class RuntimeApi:
    """Serves one runtime process; `deliver` puts an invocation before it.

    `on_next` hears of each `next`, with the id of the invocation that it releases; `on_taken` of each delivery that
    goes out, just before; `on_fault` of errors while the function loads or is restored.
    """

    def __init__(
        self,
        states: States,
        *,
        on_next: Callable[[str | None], None],
        on_taken: Callable[[Delivery], None],
        on_fault: Callable[[ErrorReport], None],
    ) -> None:
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
        self._has_started = False  # whether the runtime has asked for work: then no extension may register any more
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    async def start(self) -> str:
        """Listen on a free port; the address for AWS_LAMBDA_RUNTIME_API."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"{host}:{port}"

    def deliver(self, delivery: Delivery) -> None:
        """Hand `delivery` to the next `next`."""
        self._deliveries[delivery.invocation.request_id] = delivery
        self._waiting.put_nowait(delivery)

    def forget(self, request_id: str) -> None:
        """The deadline has passed: what still comes for this request is late."""
        self.states.late(request_id)
        self._deliveries.pop(request_id, None)

    async def stop(self) -> None:
        """Close every connection, in the middle of whatever it carries."""
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()
        await asyncio.sleep(0)  # aborted transports close their sockets in the loop's next turn

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        exchange = Exchange(reader, writer)
        try:
            while (request := await exchange.head()) is not None:
                await self._answer(request, exchange)
        except (OSError, HttpError):
            pass  # the process went away, or says what no runtime says: its next connection is a new start
        except asyncio.CancelledError:
            pass  # stop() waits for this task; nobody else cancels it
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _answer(self, request: Head, exchange: Exchange) -> None:
        try:
            await self._route(request, exchange)
        except RefusedError as refusal:
            await exchange.refuse(refusal.status, {"errorMessage": refusal.message, "errorType": refusal.kind})

    async def _route(self, request: Head, exchange: Exchange) -> None:
        method, path, _ = request.start
        if found := _ANSWER_PATH.fullmatch(path):
            await self._invocation_answer(found[1], found[2], request, exchange)
            return
        routes: dict[tuple[str, str], Callable[[Head, Exchange], Coroutine[Any, Any, None]]] = {
            ("GET", protocol.NEXT_PATH): self._next,
            ("POST", protocol.INIT_ERROR_PATH): self._init_error,
            ("GET", protocol.RESTORE_NEXT_PATH): self._restore_next,
            ("POST", protocol.RESTORE_ERROR_PATH): self._init_error,
            ("POST", REGISTER_PATH): self._register,
            ("GET", EXTENSION_NEXT_PATH): self._extension_next,
        }
        if (route := routes.get((method, path))) is None:
            raise RefusedError(404, "NotFound", f"{method} {path}")
        await route(request, exchange)

    async def _next(self, request: Head, exchange: Exchange) -> None:
        await exchange.body()
        released = self._current
        if self.states.next():
            assert released is not None
            await exchange.invocation(self._deliveries[released].invocation)
            return
        self._current = None
        self._has_started = True
        self._on_next(released)
        delivery = await exchange.unless_closed(self._waiting.get())
        self._current = delivery.invocation.request_id
        self.states.deliver(self._current)
        self._on_taken(delivery)
        await exchange.invocation(delivery.invocation, empty=isinstance(self.states, ManagedStates))

    async def _invocation_answer(self, request_id: str, what: str, request: Head, exchange: Exchange) -> None:
        if what == "error":
            self.states.error(request_id)
            report = ErrorReport.decode(kind_of(request), await exchange.body() or b"")
            await self._delivery(request_id).fail(report)
            await exchange.answer(202, OK)
            return
        mode = request.headers.get(protocol.RESPONSE_MODE.lower())
        if mode not in (None, protocol.STREAMING):
            self.states.fault()
            raise RefusedError(400, "InvalidFunctionResponseMode", "Invalid function response mode")
        self.states.respond(request_id)
        delivery = self._delivery(request_id)
        try:
            if mode is None:
                await self._buffered(delivery, request, exchange)
            else:
                await self._streamed(delivery, request, exchange)
        except (HttpError, OSError) as cut:
            self.states.broke(request_id)
            await delivery.cut(ErrorReport("Runtime.TruncatedResponse", "Runtime.TruncatedResponse", str(cut)))
            raise
        except ProtocolError as fault:
            self.states.end(request_id)
            await delivery.fail(ErrorReport("Runtime.InvalidResponse", "Runtime.InvalidResponse", str(fault)))
            raise RefusedError(400, "InvalidResponse", str(fault)) from fault
        self.states.end(request_id)
        await exchange.answer(202, OK)

    async def _streamed(self, delivery: Delivery, request: Head, exchange: Exchange) -> None:
        content_type = request.headers.get("content-type")
        if content_type != protocol.HTTP_INTEGRATION:
            await delivery.begin(content_type)
        async for data in exchange.chunks():
            await delivery.stream(data)
        declared = [name.strip().lower() for name in request.headers.get("trailer", "").split(",")]
        trailers = {name: value for name, value in exchange.trailers.items() if name in declared}
        await delivery.end(ErrorReport.from_trailers(trailers))

    async def _buffered(self, delivery: Delivery, request: Head, exchange: Exchange) -> None:
        size = int(request.headers.get("content-length", "0"))
        body = b"" if size > protocol.BUFFERED_MAX_BYTES else await exchange.body(protocol.BUFFERED_MAX_BYTES)
        if body is None or size > protocol.BUFFERED_MAX_BYTES:
            self.states.end(delivery.invocation.request_id)
            kind = "Function.ResponseSizeTooLarge"
            text = f"Response payload size exceeded maximum allowed payload size ({protocol.BUFFERED_MAX_BYTES} bytes)."
            await delivery.fail(ErrorReport(kind, kind, text))
            raise RefusedError(413, "RequestEntityTooLarge", text)
        await delivery.buffered(body)

    async def _init_error(self, request: Head, exchange: Exchange) -> None:
        report = ErrorReport.decode(kind_of(request), await exchange.body() or b"")
        self._on_fault(report)
        await exchange.answer(202, OK)

    async def _restore_next(self, request: Head, exchange: Exchange) -> None:
        await exchange.body()
        self.snapshot.set()
        await self.restore.wait()
        await exchange.answer(200, {})

    async def _register(self, request: Head, exchange: Exchange) -> None:
        await exchange.body()
        if self._has_started:
            raise RefusedError(403, "Extension.RegistrationClosed", "Extensions register while the function starts")
        identifier = str(uuid.uuid4())
        self.extensions.add(identifier)
        await exchange.answer(200, {"functionName": "emulated"}, headers=[(EXTENSION_ID, identifier)])

    async def _extension_next(self, request: Head, exchange: Exchange) -> None:
        if request.headers.get(EXTENSION_ID.lower()) not in self.extensions:
            raise RefusedError(403, "Extension.UnknownExtensionIdentifier", "Unknown extension")
        await exchange.body()
        await exchange.unless_closed(
            asyncio.Event().wait()
        )  # an extension without events waits here until the sandbox ends

    def _delivery(self, request_id: str) -> Delivery:
        if (delivery := self._deliveries.get(request_id)) is None:
            raise invalid_request_id()
        return delivery


def kind_of(request: Head) -> str:
    """The error type that the service makes of the header: anything of another shape becomes Function.Unknown."""
    kind = request.headers.get(protocol.ERROR_TYPE.lower(), "")
    return kind if re.fullmatch(r"(Runtime|Function)\.[A-Z][a-zA-Z]+", kind) else "Function.Unknown"
