"""The ASGI HTTP cycle of one invocation: messages in, prelude and body bytes out. Knows no event and no socket.

https://asgi.readthedocs.io/en/latest/specs/www.html, spec_version 2.4.
"""

import asyncio
import enum

from lambda_src.runtime.asgi import App, Message, Scope
from lambda_src.runtime.errors import PreludeTooLargeError, UnexpectedMessageError
from lambda_src.runtime.protocol import PRELUDE_MAX_BYTES, Prelude
from lambda_src.runtime.reply import Reply, Stage

SPEC_VERSION = "2.4"  # from here on frameworks start no disconnect listener, and `send` raises OSError instead
EMPTY_BODY = b"\n"  # function URLs are reported to hang on a prelude without a single byte after it
HEARTBEAT = b": ka\n"  # a comment (https://html.spec.whatwg.org/multipage/server-sent-events.html); clients skip it
HEARTBEAT_S = 15.0  # a front may hold a small chunk until more follows, and proxies cut what is silent for 30 s


class State(enum.Enum):
    REQUEST = enum.auto()  # the app has sent nothing
    STARTED = enum.auto()  # it has sent the start, which waits here for the first byte of the body
    BODY = enum.auto()  # the head, the prelude and some of the body are out
    COMPLETE = enum.auto()  # the whole answer is out


class HttpCycle:
    """Runs `app` for one request and writes what it sends to `reply`, message by message."""

    def __init__(self, scope: Scope, body: bytes, reply: Reply, *, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._scope = scope
        self._body: bytes | None = body
        self._reply = reply
        self._state = State.REQUEST
        self._complete = asyncio.Event()
        self._prelude = b""
        self._no_body = scope["method"] == "HEAD"
        self._heartbeat_s = heartbeat_s
        self._heart: asyncio.TimerHandle | None = None  # runs while this is an open stream of events
        self._silent_since_s: float | None = None  # the loop's time; None in the middle of a line

    async def run(self, app: App) -> None:
        """Returns when the app does, whether its answer is complete or not. Raises what the app raises."""
        try:
            await app(self._scope, self._receive, self._send)
        finally:
            if self._heart is not None:
                self._heart.cancel()

    async def _receive(self) -> Message:
        """The body, once; then nothing until the answer is complete: Lambda never says that the client went away."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._complete.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        match message["type"], self._state:
            case "http.response.start", State.REQUEST:
                self._start(message)
            case "http.response.body", State.STARTED | State.BODY:
                body = b"" if self._no_body else bytes(message.get("body", b""))
                await self._write(body, last=not message.get("more_body", False))
            case kind, state:
                raise UnexpectedMessageError(f"The app sent {kind!r} in state {state.name}.")

    def _start(self, message: Message) -> None:
        status: int = message["status"]
        headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
        prelude = Prelude.from_asgi(status, headers)
        encoded = prelude.encode()
        if len(encoded) > PRELUDE_MAX_BYTES:
            raise PreludeTooLargeError(
                f"Status, headers and cookies take {len(encoded)} bytes; Lambda allows {PRELUDE_MAX_BYTES}."
            )
        self._prelude = encoded
        self._state = State.STARTED
        self._no_body = self._no_body or status in (204, 304)  # RFC 9110: these have no body
        if not prelude.headers.get("content-type", "").startswith("text/event-stream"):
            self._heartbeat_s = 0

    async def _write(self, body: bytes, *, last: bool) -> None:
        if self._state is State.STARTED:
            if not body and not last:
                return  # head, prelude and first byte leave in one write: wait for the byte
            self._state = State.BODY
            sending = self._reply.start(self._prelude, body or EMPTY_BODY, last=last)
        else:
            sending = self._reply.write(body, last=last)
        if last:
            self._state = State.COMPLETE
            self._complete.set()
        self._beat(body, last=last)
        await sending

    def _beat(self, body: bytes, *, last: bool) -> None:
        """Note that `body` was sent, and keep the timer of heartbeats running until the last byte.

        The timer is not set anew for each event, but when it fires before the stream was silent for long enough.
        """
        if not self._heartbeat_s:
            return
        if last:
            if self._heart is not None:
                self._heart.cancel()
        elif body:
            loop = asyncio.get_running_loop()
            self._silent_since_s = loop.time() if body.endswith(b"\n") else None
            if self._heart is None:
                self._heart = loop.call_later(self._heartbeat_s, self._send_heartbeat)

    def _send_heartbeat(self) -> None:
        """Send a heartbeat if nothing was sent for long enough, and set the timer again."""
        self._heart = None
        if self._reply.stage is Stage.DONE:  # the app was given up, and may never return
            return
        loop = asyncio.get_running_loop()
        waited_s = 0.0 if self._silent_since_s is None else loop.time() - self._silent_since_s
        if waited_s >= self._heartbeat_s:
            self._reply.write_if_idle(HEARTBEAT)
            self._beat(HEARTBEAT, last=False)
        else:
            self._heart = loop.call_later(self._heartbeat_s - waited_s, self._send_heartbeat)
