"""lambda_src/runtime/cycle.py: heartbeats are comments sent on a silent event stream, and stop with its response."""

import asyncio
from typing import Any

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


async def test_the_silence_counts_from_the_last_event(monkeypatch: pytest.MonkeyPatch) -> None:
    reply, writes = recorded()
    loop = asyncio.get_running_loop()
    now_s = loop.time()
    monkeypatch.setattr(loop, "time", lambda: now_s)
    heartbeats: list[int] = []

    async def passed(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds
        for _ in range(3):
            await asyncio.sleep(0)
        heartbeats.append(sum(b": ka" in data for data in writes))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200, (b"content-type", b"text/event-stream")))
        await send(body(b"data: 1\n\n", more=True))
        await passed(10)
        await send(body(b"data: 2\n\n", more=True))
        await passed(10)
        await passed(5)
        await passed(10)
        await passed(5)
        await send(body())

    await HttpCycle({"method": "GET"}, b"", reply, heartbeat_s=15).run(app)
    assert heartbeats == [0, 0, 1, 1, 2]


async def test_a_busy_stream_sets_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    reply, _ = recorded()
    loop = asyncio.get_running_loop()
    set_timers: list[float] = []
    call_later = loop.call_later

    def counted(delay: float, *args: Any, **options: Any) -> asyncio.TimerHandle:
        set_timers.append(delay)
        return call_later(delay, *args, **options)

    monkeypatch.setattr(loop, "call_later", counted)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200, (b"content-type", b"text/event-stream")))
        for _ in range(50):
            await send(body(b"data: 1\n\n", more=True))
        await send(body())

    await HttpCycle({"method": "GET"}, b"", reply, heartbeat_s=15).run(app)
    assert set_timers == [15]


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
    assert cycle._heart is not None
    cycle._heart.cancel()
    reply.stage = Stage.DONE
    cycle._send_heartbeat()  # as the event loop would in an hour
    assert len(writes) == 1
    heart: asyncio.TimerHandle | None = cycle._heart  # widened again: a call has set it
    assert heart is None, "the timer must not be set again"
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
