"""runtime/cycle.py: a silent stream of events gets a comment, nothing else does, and it ends with its answer."""

import asyncio

import pytest

from lambda_src.runtime.asgi import Receive, Scope, Send
from lambda_src.runtime.cycle import HttpCycle
from lambda_src.runtime.reply import Reply, Stage
from tests.runtime.apps import body, start
from tests.runtime.recorded import recorded


async def test_a_silent_stream_of_events_gets_a_comment_as_a_heartbeat() -> None:
    written: list[bytes] = []
    beats = asyncio.Event()

    class Heard(Reply):
        def write_if_idle(self, data: bytes) -> None:
            written.append(data)
            if len(written) == 2:
                beats.set()

    answer, _ = recorded()
    answer.__class__ = Heard

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200, (b"content-type", b"text/event-stream")))
        await send(body(b"data: 1\n\n", more=True))
        await beats.wait()
        await send(body())

    await HttpCycle({"method": "GET"}, b"", answer, heartbeat_s=0.001).run(app)
    assert written == [b": ka\n", b": ka\n"]


async def test_the_heart_of_an_answer_that_was_given_up_stops_beating() -> None:
    """Its app may never return, and would else be woken every 15 s for as long as the process lives."""
    answer, writes = recorded()
    begun, released = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200, (b"content-type", b"text/event-stream")))
        await send(body(b"data: 1\n\n", more=True))
        begun.set()
        await released.wait()

    cycle = HttpCycle({"method": "GET"}, b"", answer, heartbeat_s=3600)
    running = asyncio.create_task(cycle.run(app))
    await begun.wait()
    answer.stage, heart = Stage.DONE, cycle._heart
    cycle._send_heartbeat()  # as the loop would in an hour
    assert (cycle._heart, len(writes)) == (heart, 1), "it is set again"
    released.set()
    await running


@pytest.mark.parametrize(
    ("content_type", "data"), [(b"application/json", b"1\n"), (b"text/event-stream", b"data: in the middle of a line")]
)
async def test_there_is_no_heartbeat_elsewhere_nor_inside_a_line(content_type: bytes, data: bytes) -> None:
    answer, writes = recorded()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200, (b"content-type", content_type)))
        await send(body(data, more=True))
        await asyncio.sleep(0.01)
        await send(body())

    await HttpCycle({"method": "GET"}, b"", answer, heartbeat_s=0.001).run(app)
    await asyncio.sleep(0)  # the end leaves in the loop's next turn
    assert len(writes) == 2
