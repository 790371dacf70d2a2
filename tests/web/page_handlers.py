"""The handler that the emulator runs in browser tests: the chat of tests/web/echo.py."""

import os

from lambda_src.composition.app import build_handler
from lambda_src.settings import Settings
from tests.web.echo import parts

settings = Settings.from_env(os.environ)
handler = build_handler(settings, parts(settings))
