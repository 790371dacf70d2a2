"""lambda_src/runtime/lifespan.py: ASGI lifespan runs once per process, and its state reaches every request."""

from typing import Any

import pytest

from lambda_src.runtime.adapter import StreamingMangum
from lambda_src.runtime.asgi import Receive, Scope, Send
from lambda_src.runtime.errors import LifespanError
from lambda_src.runtime.lifespan import Lifespan
from tests.runtime.apps import body, sends, start
from tests.runtime.serving import serving


class App:
    """An app that supports lifespan. `failure` is how its startup fails."""

    def __init__(self, failure: str = "") -> None:
        self.log: list[Any] = []
        self.failure = failure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            self.log.append(scope["state"])
            await sends(start(), body(b"x"))(scope, receive, send)
            return
        self.log.append((await receive())["type"])
        if self.failure == "reports it":
            await send({"type": "lifespan.startup.failed", "message": "no database"})
            return
        if self.failure == "reports it and raises":
            await send({"type": "lifespan.startup.failed", "message": "Traceback ..."})
            raise ConnectionError("no database")
        scope["state"]["pool"] = "pool"
        await send({"type": "lifespan.startup.complete"})
        self.log.append((await receive())["type"])
        await send({"type": "lifespan.shutdown.complete"})


async def without_lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("only http here")


async def test_lifespan_runs_once_for_any_number_of_requests() -> None:
    app = App()
    handler = StreamingMangum(app, lifespan="on")
    await handler.startup()
    async with serving(handler) as (api, _):
        for _ in range(2):
            (await api.deliver()).answer(202)
        await api.take("/next")
    assert app.log == ["lifespan.startup", {"pool": "pool"}, {"pool": "pool"}, "lifespan.shutdown"]
    assert app.log[1] is not app.log[2]


async def test_with_lifespan_on_an_app_that_raises_at_startup_raises_its_own_error() -> None:
    with pytest.raises(AssertionError, match="only http here"):
        await Lifespan(without_lifespan, "on").startup()


async def test_with_lifespan_auto_an_app_without_lifespan_is_served() -> None:
    lifespan = Lifespan(without_lifespan, "auto")
    await lifespan.startup()
    await lifespan.shutdown()


async def test_with_lifespan_off_the_app_is_not_called() -> None:
    app = App()
    await Lifespan(app, "off").startup()
    assert app.log == []


@pytest.mark.parametrize("mode", ["auto", "on"])
async def test_a_failed_startup_is_an_error_with_the_apps_message(mode: Any) -> None:
    with pytest.raises(LifespanError, match="no database"):
        await Lifespan(App("reports it"), mode).startup()


@pytest.mark.parametrize("mode", ["auto", "on"])
async def test_a_failed_startup_that_also_raises_is_the_raised_error(mode: Any) -> None:
    with pytest.raises(ConnectionError, match="no database"):
        await Lifespan(App("reports it and raises"), mode).startup()
