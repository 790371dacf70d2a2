"""Handler for test_imports.py: the deployed function with a test agent, plus GET /imports, which lists its imports."""

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from lambda_src.startup import lazy_packages

lazy_packages.install()  # as in lambda_src/handler.py

from lambda_src.composition import access, app  # noqa: E402 - see above
from lambda_src.runs.widget_actions import Actions  # noqa: E402
from lambda_src.runtime.adapter import StreamingMangum  # noqa: E402
from lambda_src.runtime.context import LambdaContext  # noqa: E402
from lambda_src.runtime.handler import StreamingHandler  # noqa: E402
from lambda_src.runtime.protocol import Prelude  # noqa: E402
from lambda_src.runtime.reply import Reply  # noqa: E402
from lambda_src.settings import Settings  # noqa: E402

if TYPE_CHECKING:
    from agents import Agent

OURS = "lambda_src"
TESTS = "tests"
SITE = ("sitecustomize", "usercustomize")  # Debian ships one
HEAVY = {"agents", "boto3", "botocore", "chatkit", "fastapi", "mcp", "openai", "pydantic", "starlette"}


def imported() -> list[str]:
    """Our modules, the subpackages of heavy packages, and other packages by name; without the standard library."""
    names = set()
    for module in list(sys.modules):
        package, *parts = module.split(".")
        if package in sys.stdlib_module_names or package.startswith("_") or package in (TESTS, *SITE):
            continue
        if package == OURS:
            names.add(module)
        elif package not in HEAVY or not parts:
            names.add(package)
        elif not parts[0].startswith("_") and hasattr(sys.modules[f"{package}.{parts[0]}"], "__path__"):
            names.add(f"{package}.{parts[0]}")
    return sorted(names)


class ImportListingHandler(StreamingHandler):
    """The handler, which also serves the list of imports."""

    def __init__(self, handler: StreamingMangum) -> None:
        self._handler = handler

    async def startup(self) -> None:
        await self._handler.startup()

    async def stream(self, event: Any, context: LambdaContext, reply: Reply) -> None:
        if event["rawPath"] == "/imports":
            prelude = Prelude(200, {"content-type": "application/json"}, [])
            await reply.start(prelude.encode(), json.dumps(imported()).encode(), last=True)
        else:
            await self._handler.stream(event, context, reply)


def build_agent() -> "Agent[Any]":
    from agents import Agent

    return Agent(name="Test")


def lambda_handler() -> StreamingMangum:
    """Like composition.lambda_handler, but with the test agent."""
    settings = Settings.from_env(os.environ)
    return app.build_handler(
        settings,
        app.Parts(
            authenticate=access.authenticator(settings, None),
            build_run_config=app.runner(settings),
            build_agent=build_agent,
            build_actions=Actions,
            transcribe=app.transcriber(settings),
        ),
    )


handler = ImportListingHandler(lambda_handler())
