"""lambda_src/runtime/stop.py: a deadline, a broken connection, a refusal or SIGTERM cancels the app once."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from lambda_src.runtime.asgi import Receive, Scope, Send
from lambda_src.runtime.stop import DEADLINE_MARGIN_S, Stoppable, seconds_to_run
from tests.runtime.apps import body, start
from tests.runtime.serving import serving


class Watched:
    """An app that streams forever and counts how often it is cancelled. `clean_up` then runs."""

    def __init__(self, clean_up: Callable[[Send], Awaitable[None]] | None = None, *, starts: bool = True) -> None:
        self.cancelled = 0
        self.cleaned = asyncio.Event()
        self._clean_up = clean_up
        self._starts = starts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if self._starts:
                await send(start())
                await send(body(b"one", more=True))
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            if self._clean_up is None:
                raise
            await self._clean_up(send)
        finally:
            self.cleaned.set()


async def finish(send: Send) -> None:
    await asyncio.sleep(0)  # clean-up may await
    await send(body(b"kept"))


async def test_near_the_deadline_the_app_is_cancelled_once_and_the_client_gets_an_error() -> None:
    app = Watched(starts=False)
    async with serving(app, now_s=10.0) as (api, _):
        request = await (await api.deliver(deadline_ms=10_000)).complete()
        request.answer(202)
        await api.take("/next")
    assert app.cancelled == 1
    assert request.path.endswith("/error")
    assert request.headers["lambda-runtime-function-error-type"] == "Function.DeadlineError"


async def test_an_app_may_complete_its_response_during_clean_up() -> None:
    app = Watched(finish)
    async with serving(app, now_s=9.9) as (api, _):
        request = await (await api.deliver(deadline_ms=10_000)).complete()
        request.answer(202)
    assert (request.body.endswith(b"onekept"), request.trailers, app.cancelled) == (True, {}, 1)


async def test_a_stopped_response_that_had_started_ends_with_error_trailers() -> None:
    app = Watched()
    async with serving(app, now_s=9.9) as (api, _):
        request = await (await api.deliver(deadline_ms=10_000)).complete()
        request.answer(202)
    assert request.trailers["lambda-runtime-function-error-type"] == "Function.DeadlineError"


async def test_a_connection_that_breaks_during_the_response_stops_the_app() -> None:
    app = Watched()
    async with serving(app) as (api, _):
        request = await api.deliver()
        await request.has(b"one")
        request.drop()
        await app.cleaned.wait()
        await api.take("/next")
    assert app.cancelled == 1


@pytest.mark.parametrize("headers", [[("Connection", "close")], []], ids=["closed", "kept alive"])
@pytest.mark.parametrize("status", [400, 403, 410, 413])
async def test_an_early_refusal_of_the_response_stops_the_app(status: int, headers: list[tuple[str, str]]) -> None:
    app = Watched()
    async with serving(app) as (api, _):
        request = await api.deliver()
        await request.has(b"one")
        request.answer(status, b"{}", headers)
        await app.cleaned.wait()
        await api.take("/next")
        await request.over.wait()
    assert app.cancelled == 1
    assert (request.ended, request.fault) == (False, None), (
        "anything sent after the refusal must still be valid body chunks"
    )


async def test_the_end_of_the_sandbox_stops_the_app_and_lets_it_complete_its_response() -> None:
    app = Watched(finish)
    async with serving(app) as (api, worker):
        request = await api.deliver()
        await request.has(b"one")
        worker.end()
        (await request.complete()).answer(202)
        assert request.body.endswith(b"kept")
    assert app.cancelled == 1


async def test_send_raises_an_oserror_once_the_connection_is_broken() -> None:
    raised: list[BaseException] = []

    async def try_to_send(send: Send) -> None:
        try:
            await send(body(b"more", more=True))
        except OSError as error:
            raised.append(error)
            raise

    app = Watched(try_to_send)
    async with serving(app) as (api, _):
        request = await api.deliver()
        await request.has(b"one")
        request.drop()
        await api.take("/next")
    assert len(raised) == 1


async def test_an_app_that_ignores_cancellation_is_abandoned_after_the_clean_up_time() -> None:
    release = asyncio.Event()

    async def stubborn(send: Send) -> None:
        await release.wait()

    app = Watched(stubborn, starts=False)
    async with serving(app, now_s=10.0, clean_up_s=0.01) as (api, _):
        request = await (await api.deliver(deadline_ms=10_000)).complete()
        request.answer(202)
        await api.take("/next")
        release.set()
    assert request.headers["lambda-runtime-function-error-type"] == "Function.DeadlineError"


@pytest.mark.parametrize("started", [True, False])
async def test_an_abandoned_app_cannot_write_into_the_next_response(started: bool) -> None:
    """The connection is kept alive: a late write of the first app would end up in the second response's body."""
    release, refused = asyncio.Event(), asyncio.Event()

    async def send_late(send: Send) -> None:
        await release.wait()
        messages = [body(b"of the first client", more=True)]
        try:
            for message in messages if started else [start(), *messages]:
                await send(message)
        except OSError:
            refused.set()

    async def second(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"two ", more=True))
        release.set()
        await refused.wait()
        await send(body(b"three"))

    first = Watched(send_late, starts=started)
    apps = iter((first.__call__, second))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await next(apps)(scope, receive, send)

    async with serving(app, now_s=9.9, clean_up_s=0.01) as (api, _):
        (await (await api.deliver(deadline_ms=10_000)).complete()).answer(202)
        request = await (await api.deliver(deadline_ms=99_000)).complete()
        request.answer(202)
        assert api.connections == 1
    assert request.body.endswith(b"two three")


async def test_a_second_reason_to_stop_changes_nothing() -> None:
    cancelled = 0

    async def work() -> None:
        nonlocal cancelled
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled += 1
            await asyncio.sleep(0)
            raise

    stoppable = Stoppable(work())
    await asyncio.sleep(0)
    first = ValueError("first")
    stoppable.stop(first)
    stoppable.stop(ValueError("second"))
    assert await stoppable.outcome() is first
    assert cancelled == 1


async def test_stopping_a_finished_task_changes_nothing() -> None:
    async def work() -> None: ...

    stoppable = Stoppable(work())
    await asyncio.sleep(0)
    stoppable.stop(ValueError("late"))
    assert (stoppable.reason, await stoppable.outcome()) == (None, None)


@pytest.mark.parametrize(
    ("remaining_s", "expected"),
    [(60.0, 60.0 - DEADLINE_MARGIN_S), (1.0, 0.5), (0.0, 0.0), (-5.0, 0.0)],
)
def test_the_margin_is_constant_but_at_most_half_of_a_short_timeout(remaining_s: float, expected: float) -> None:
    assert seconds_to_run(remaining_s) == expected


async def test_the_app_does_not_learn_that_its_client_disconnected() -> None:
    received: list[str] = []
    first_chunk_sent = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        listening = asyncio.ensure_future(receive())
        await send(start())
        await send(body(b"one", more=True))
        first_chunk_sent.set()
        assert not listening.done()
        await send(body(b"two"))
        received.append((await listening)["type"])

    async with serving(app) as (api, _):
        (await (await api.deliver()).complete()).answer(202)
        await api.take("/next")
    assert received == ["http.disconnect"]  # only once the answer is complete
