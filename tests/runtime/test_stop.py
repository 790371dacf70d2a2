"""One way to stop: deadline, broken answer, early refusal, SIGTERM. Each cancels the app once and waits, bounded."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from lambda_src.runtime.asgi import Receive, Scope, Send
from lambda_src.runtime.stop import DEADLINE_MARGIN_S, Stoppable, seconds_to_run
from tests.runtime.apps import body, start
from tests.runtime.serving import serving


class Watched:
    """An app that streams without end and counts how often it is cancelled; `clean_up` runs when it is."""

    def __init__(self, clean_up: Callable[[Send], Awaitable[None]] | None = None, *, begins: bool = True) -> None:
        self.cancelled = 0
        self.cleaned = asyncio.Event()
        self._clean_up = clean_up
        self._begins = begins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if self._begins:
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


async def ends_well(send: Send) -> None:
    await asyncio.sleep(0)  # clean-up may await
    await send(body(b"kept"))


async def test_near_the_deadline_the_app_is_cancelled_once_and_the_client_gets_an_error() -> None:
    app = Watched(begins=False)
    async with serving(app, now_s=10.0) as (api, _):
        request = await (await api.deliver(deadline_ms=10_000)).whole()
        request.answer(202)
        await api.take("/next")
    assert app.cancelled == 1
    assert request.path.endswith("/error")
    assert request.headers["lambda-runtime-function-error-type"] == "Function.DeadlineError"


async def test_an_app_that_uses_its_clean_up_ends_its_answer_well() -> None:
    app = Watched(ends_well)
    async with serving(app, now_s=9.9) as (api, _):
        request = await (await api.deliver(deadline_ms=10_000)).whole()
        request.answer(202)
    assert (request.body.endswith(b"onekept"), request.trailers, app.cancelled) == (True, {}, 1)


async def test_a_stopped_answer_that_had_begun_ends_in_trailers() -> None:
    app = Watched()
    async with serving(app, now_s=9.9) as (api, _):
        request = await (await api.deliver(deadline_ms=10_000)).whole()
        request.answer(202)
    assert request.trailers["lambda-runtime-function-error-type"] == "Function.DeadlineError"


async def test_a_connection_that_breaks_under_the_answer_stops_the_app() -> None:
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
async def test_an_early_refusal_of_the_answer_stops_the_app(status: int, headers: list[tuple[str, str]]) -> None:
    app = Watched()
    async with serving(app) as (api, _):
        request = await api.deliver()
        await request.has(b"one")
        request.answer(status, b"{}", headers)
        await app.cleaned.wait()
        await api.take("/next")
        await request.over.wait()
    assert app.cancelled == 1
    assert (request.ended, request.fault) == (False, None), "what follows is read as more of the body"


async def test_the_end_of_the_sandbox_stops_the_app_and_lets_its_answer_end() -> None:
    app = Watched(ends_well)
    async with serving(app) as (api, worker):
        request = await api.deliver()
        await request.has(b"one")
        worker.end()
        (await request.whole()).answer(202)
        assert request.body.endswith(b"kept")
    assert app.cancelled == 1


async def test_send_raises_an_oserror_once_the_answer_is_broken() -> None:
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


async def test_an_app_that_ignores_cancellation_is_given_up_after_its_time() -> None:
    release = asyncio.Event()

    async def stubborn(send: Send) -> None:
        await release.wait()

    app = Watched(stubborn, begins=False)
    async with serving(app, now_s=10.0, clean_up_s=0.01) as (api, _):
        request = await (await api.deliver(deadline_ms=10_000)).whole()
        request.answer(202)
        await api.take("/next")
        release.set()
    assert request.headers["lambda-runtime-function-error-type"] == "Function.DeadlineError"


@pytest.mark.parametrize("begun", [True, False])
async def test_an_app_that_was_given_up_can_send_nothing_into_the_next_clients_answer(begun: bool) -> None:
    """The connection is kept alive: what the first app writes late would stand in the second answer's body."""
    release, refused = asyncio.Event(), asyncio.Event()

    async def late(send: Send) -> None:
        await release.wait()
        messages = [body(b"of the first client", more=True)]
        try:
            for message in messages if begun else [start(), *messages]:
                await send(message)
        except OSError:
            refused.set()

    async def second(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"two ", more=True))
        release.set()
        await refused.wait()
        await send(body(b"three"))

    first = Watched(late, begins=begun)
    apps = iter((first.__call__, second))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await next(apps)(scope, receive, send)

    async with serving(app, now_s=9.9, clean_up_s=0.01) as (api, _):
        (await (await api.deliver(deadline_ms=10_000)).whole()).answer(202)
        request = await (await api.deliver(deadline_ms=99_000)).whole()
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


async def test_stopping_what_has_ended_changes_nothing() -> None:
    async def work() -> None: ...

    stoppable = Stoppable(work())
    await asyncio.sleep(0)
    stoppable.stop(ValueError("late"))
    assert (stoppable.reason, await stoppable.outcome()) == (None, None)


@pytest.mark.parametrize(
    ("remaining_s", "expected"),
    [(60.0, 60.0 - DEADLINE_MARGIN_S), (1.0, 0.5), (0.0, 0.0), (-5.0, 0.0)],
)
def test_the_margin_is_a_constant_but_leaves_a_tiny_timeout_its_half(remaining_s: float, expected: float) -> None:
    assert seconds_to_run(remaining_s) == expected


async def test_nothing_tells_the_app_that_its_client_left() -> None:
    heard: list[str] = []
    asked = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        listening = asyncio.ensure_future(receive())
        await send(start())
        await send(body(b"one", more=True))
        asked.set()
        assert not listening.done()
        await send(body(b"two"))
        heard.append((await listening)["type"])

    async with serving(app) as (api, _):
        (await (await api.deliver()).whole()).answer(202)
        await api.take("/next")
    assert heard == ["http.disconnect"]  # only once the answer is complete
