"""Lifespan: once per process, its state copied to each request, its failures real."""

from typing import Any

import pytest

from lambda_src.runtime.adapter import StreamingMangum
from lambda_src.runtime.asgi import Receive, Scope, Send
from lambda_src.runtime.errors import LifespanError
from lambda_src.runtime.lifespan import Lifespan
from tests.runtime.apps import body, sends, start
from tests.runtime.serving import serving


class App:
    """Takes part in lifespan; `failure` says how it does not start."""

    def __init__(self, failure: str = "") -> None:
        self.log: list[Any] = []
        self.failure = failure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            self.log.append(scope["state"])
            await sends(start(), body(b"x"))(scope, receive, send)
            return
        self.log.append((await receive())["type"])
        if self.failure == "says so":
            await send({"type": "lifespan.startup.failed", "message": "no database"})
            return
        if self.failure == "says so and raises":
            await send({"type": "lifespan.startup.failed", "message": "Traceback ..."})
            raise ConnectionError("no database")
        scope["state"]["pool"] = "pool"
        await send({"type": "lifespan.startup.complete"})
        self.log.append((await receive())["type"])
        await send({"type": "lifespan.shutdown.complete"})


async def does_not_know_it(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("only http here")


async def test_it_runs_once_however_many_requests_come() -> None:
    app = App()
    handler = StreamingMangum(app, lifespan="on")
    await handler.startup()
    async with serving(handler) as (api, _):
        for _ in range(2):
            (await api.deliver()).answer(202)
        await api.take("/next")
    assert app.log == ["lifespan.startup", {"pool": "pool"}, {"pool": "pool"}, "lifespan.shutdown"]
    assert app.log[1] is not app.log[2]


async def test_an_app_that_raises_at_startup_is_an_error_of_its_own_type_when_on() -> None:
    with pytest.raises(AssertionError, match="only http here"):
        await Lifespan(does_not_know_it, "on").startup()


async def test_an_app_that_does_not_know_lifespan_is_served_when_auto() -> None:
    lifespan = Lifespan(does_not_know_it, "auto")
    await lifespan.startup()
    await lifespan.shutdown()


async def test_off_does_not_call_the_app() -> None:
    app = App()
    await Lifespan(app, "off").startup()
    assert app.log == []


@pytest.mark.parametrize("mode", ["auto", "on"])
async def test_a_startup_that_fails_is_an_error_with_the_apps_words(mode: Any) -> None:
    with pytest.raises(LifespanError, match="no database"):
        await Lifespan(App("says so"), mode).startup()


@pytest.mark.parametrize("mode", ["auto", "on"])
async def test_a_startup_that_fails_and_raises_is_the_error_it_raised(mode: Any) -> None:
    with pytest.raises(ConnectionError, match="no database"):
        await Lifespan(App("says so and raises"), mode).startup()
