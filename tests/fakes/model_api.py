"""Wire-level fake of OpenAI's Responses API: real bytes on real sockets, so that the real client library runs.

Only streamed answers are scripted and counted; other requests (titles) are refused.
The first path segment selects the behavior: `AsyncOpenAI(base_url=f"{api.url}/stall")`. The fake counts requests and
open connections, so a test can see a connection close.
"""

import asyncio
import itertools
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from openai.types import responses as r
from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails

from lambda_src.models.demo_model import events_of, message_of
from tests.content_markers import MARKERS

ANSWER = "one two three four five six seven eight nine ten"
USAGE = r.ResponseUsage(
    input_tokens=11,
    input_tokens_details=InputTokensDetails(cached_tokens=0, cache_write_tokens=0),
    output_tokens=2,
    output_tokens_details=OutputTokensDetails(reasoning_tokens=0),
    total_tokens=13,
)


class ModelApi:
    """The fake's `url`, and the requests so far."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[dict[str, object]] = []
        self.failures_left = 0
        self._streaming: set[asyncio.Task[None]] = set()
        self._closed = asyncio.Condition()
        self.talking = asyncio.Event()  # set once an endless answer has sent some words

    @property
    def streaming(self) -> int:
        """The number of answers in progress."""
        return len(self._streaming)

    async def until_closed(self) -> None:
        """Wait until no answer is in progress."""
        async with self._closed:
            await self._closed.wait_for(lambda: not self._streaming)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, then close the connection."""
        task = asyncio.current_task()
        assert task is not None
        self._streaming.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
            )
            request = json.loads(await reader.readexactly(length))
            behavior = head.split(b" ")[1].split(b"/")[1].decode() if request.get("stream") else "no-title"
            if request.get("stream"):
                self.requests.append(request)
            gone = asyncio.create_task(reader.read())
            answering = asyncio.create_task(self._answer(behavior, writer))
            await asyncio.wait({gone, answering}, return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
            answering.cancel()
            await asyncio.wait({gone, answering})
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()
            async with self._closed:
                self._streaming.discard(task)
                self._closed.notify_all()

    async def _answer(self, behavior: str, writer: asyncio.StreamWriter) -> None:
        if self.failures_left or behavior in STATUSES:
            self.failures_left = max(0, self.failures_left - 1)
            status = STATUSES.get(behavior, b"500 Internal Server Error\r\nretry-after-ms: 1")
            body = b'{"error": {"message": "no"}}'
            writer.write(b"HTTP/1.1 %s\r\ncontent-type: application/json\r\nconnection: close\r\n" % status)
            writer.write(b"content-length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
            return
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        events = [f"event: {event.type}\ndata: {event.model_dump_json()}\n\n".encode() for event in numbered(ANSWER)]
        half = len(events) // 2
        match behavior:
            case "well":
                writer.write(b"".join(events))
            case "counted":
                done = numbered(ANSWER)[-1]
                assert isinstance(done, r.ResponseCompletedEvent)
                done.response.usage = USAGE
                writer.write(b"".join(events[:-1]) + f"data: {done.model_dump_json()}\n\n".encode())
            case "stall":
                writer.write(b"".join(events[:half]))
                await writer.drain()
                await asyncio.Event().wait()
            case "opening":
                writer.write(b"".join(events[:3]))
                await writer.drain()
                self.talking.set()
                await asyncio.Event().wait()
            case "silent":
                await asyncio.Event().wait()
            case "reset":
                writer.write(b"".join(events[:half]))
                await writer.drain()
                await asyncio.sleep(0.2)  # the fake's pace, not a race: the client must have read the first half
                writer.transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
                writer.transport.abort()
            case "half-line":
                writer.write(b"".join(events[:half]) + events[half][:-20])
            case "failed-event":
                failed = r.ResponseErrorEvent(
                    code="server_error", message=MARKERS["exception"], param=None, sequence_number=99, type="error"
                )
                writer.write(b"".join(events[:half]) + f"event: error\ndata: {failed.model_dump_json()}\n\n".encode())
            case "trickle":
                for event in events:
                    for byte in event:
                        writer.write(bytes([byte]))
                        await writer.drain()
                        await asyncio.sleep(0)
            case "endless":
                for number in itertools.count():
                    writer.write(events[min(number, 6)])
                    await writer.drain()
                    await asyncio.sleep(0.02)  # the pace of a model
                    if number == SOME_WORDS:
                        self.talking.set()
            case other:
                raise AssertionError(f"no such behavior: {other}")
        await writer.drain()


SOME_WORDS = 20
STATUSES = {
    "busy": b"429 Too Many Requests\r\nretry-after-ms: 1",
    "broken": b"500 Internal Server Error\r\nretry-after-ms: 1",
    "no-key": b"401 Unauthorized",
    "no-title": b"400 Bad Request",  # requests that are not streamed
}


def numbered(text: str) -> list[r.ResponseStreamEvent]:
    """Return the events that the real API sends for an answer, numbered."""
    events = events_of(message_of(text))
    for number, event in enumerate(events):
        event.sequence_number = number
    return events


DONE = b"data: [DONE]\n\n"  # how a stream of Chat Completions ends


def chunk(delta: dict[str, Any], *, finish: str | None = None) -> bytes:
    """Return one chunk of a streamed chat completion. Every answer has the same id, as with some servers."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def sse(*events: dict[str, Any]) -> bytes:
    """Encode events as a Responses API stream without checking them."""
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


@asynccontextmanager
async def scripted_api(
    *answers: bytes, status: str = "200 OK", content_type: str = "text/event-stream"
) -> AsyncIterator[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    """Serve these bodies, one per request, for either API; yield the URL and the list of (head, body) requested."""
    requests: list[tuple[str, dict[str, Any]]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(int(line.split(":")[1]) for line in head.lower().split("\r\n") if "content-length" in line)
        body = json.loads(await reader.readexactly(length))
        requests.append((head, body))
        answer = answers[len(requests) - 1]
        writer.write(f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\nconnection: close\r\n\r\n".encode())
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", requests


@asynccontextmanager
async def model_api() -> AsyncIterator[ModelApi]:
    """Run the fake on a free loopback port."""
    api = ModelApi()
    server = await asyncio.start_server(api.serve, "127.0.0.1", 0)
    api.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield api
        server.close()
        server.close_clients() if hasattr(server, "close_clients") else None
