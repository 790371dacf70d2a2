"""Which requests `make dev` takes: its own page's, and those of the origins that are let in. Pure but for one warning.

Any site that a developer has open can send requests to this machine, and by DNS rebinding under a name of its own. So
the Host must be ours, and an Origin, where the browser sends one, must be ours or let in (`make dev ORIGIN=...`).
"""

from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from lambda_src.dev.emulator.cors import covers
from lambda_src.dev.emulator.events import Request

NAMES = ("127.0.0.1", "localhost")
SHOWN_CHARS = 100  # of what a caller made up, in the warning


class Admission:
    """Called with each request; returns why it is refused, None if it is not. `warn` hears of each origin once."""

    def __init__(self, port: int, origins: Sequence[str], *, warn: Callable[[str], None]) -> None:
        own = [f"{name}:{port}" for name in NAMES]
        self._hosts = {*own, *(urlsplit(origin).netloc for origin in origins)}
        self._origins = (*(f"http://{host}" for host in own), *origins)
        self._warn = warn
        self._warned: set[str] = set()

    def __call__(self, request: Request) -> str | None:
        if (host := request.header("host") or "") not in self._hosts:
            return self._refused(f"http://{host}")
        origin = request.header("origin")
        if origin is not None and not any(covers(allowed, origin) for allowed in self._origins):
            return self._refused(origin)
        return None

    def _refused(self, origin: str) -> str:
        shown = "".join(char if char.isascii() and char.isprintable() else "?" for char in origin[:SHOWN_CHARS])
        text = f"make dev refused a request from {shown}. To let its pages in: make dev ORIGIN={shown}"
        if shown not in self._warned and len(self._warned) < SHOWN_CHARS:
            self._warned.add(shown)
            self._warn(text)
        return text
