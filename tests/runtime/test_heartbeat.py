"""lambda_src/runtime/cycle.py: heartbeats are comments sent on a silent event stream, and stop with its response."""

import asyncio

import pytest

from lambda_src.runtime.asgi import Receive, Scope, Send
from lambda_src.runtime.cycle import HttpCycle
from lambda_src.runtime.reply import Reply, Stage
from tests.runtime.apps import body, start
from tests.runtime.recorded import recorded


async def test_a_silent_event_stream_gets_comments_as_heartbeats() -> None:
    written: list[bytes] = []
    two_heartbeats = asyncio.Event()

    class RecordingReply(Reply):
        def write_if_idle(self, data: bytes) -> None:
            written.append(data)
            if len(written) == 2:
                two_heartbeats.set()

    reply, _ = recorded()
    reply.__class__ = RecordingReply

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200, (b"content-type", b"text/event-stream")))
        await send(body(b"data: 1\n\n", more=True))
        await two_heartbeats.wait()
        await send(body())

    await HttpCycle({"method": "GET"}, b"", reply, heartbeat_s=0.001).run(app)
    assert written == [b": ka\n", b": ka\n"]


async def test_an_abandoned_response_gets_no_more_heartbeats() -> None:
    """Its app may never return, and a timer would then fire every 15 s for the life of the process."""
    reply, writes = recorded()
    started, released = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200, (b"content-type", b"text/event-stream")))
        await send(body(b"data: 1\n\n", more=True))
        started.set()
        await released.wait()

    cycle = HttpCycle({"method": "GET"}, b"", reply, heartbeat_s=3600)
    running = asyncio.create_task(cycle.run(app))
    await started.wait()
    reply.stage, heart = Stage.DONE, cycle._heart
    cycle._send_heartbeat()  # as the event loop would in an hour
    assert (cycle._heart, len(writes)) == (heart, 1), "the timer must not be set again"
    released.set()
    await running


@pytest.mark.parametrize(
    ("content_type", "data"), [(b"application/json", b"1\n"), (b"text/event-stream", b"data: in the middle of a line")]
)
async def test_there_is_no_heartbeat_in_other_content_or_inside_a_line(content_type: bytes, data: bytes) -> None:
    reply, writes = recorded()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200, (b"content-type", content_type)))
        await send(body(data, more=True))
        await asyncio.sleep(0.01)
        await send(body())

    await HttpCycle({"method": "GET"}, b"", reply, heartbeat_s=0.001).run(app)
    await asyncio.sleep(0)  # the end is written in the next iteration of the event loop
    assert len(writes) == 2
