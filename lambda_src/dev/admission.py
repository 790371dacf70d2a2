"""Host and origin check of `make dev`: accepts its own page and the allowed origins. Pure, except for a warning.

Any site that is open in a developer's browser can send requests to this machine, with DNS rebinding even under the
site's own name. So the Host header must be ours, and an Origin header must be ours or allowed (`make dev ORIGIN=...`).
"""

from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from lambda_src.dev.emulator.url.cors import covers
from lambda_src.dev.emulator.url.events import Request

NAMES = ("127.0.0.1", "localhost")
SHOWN_CHARS = 100  # of the caller's origin in the warning


class Admission:
    """Call it with each request: returns why it is refused, or None. Calls `warn` once for each refused origin."""

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
        printable = "".join(char if char.isascii() and char.isprintable() else "?" for char in origin[:SHOWN_CHARS])
        text = f"make dev refused a request from {printable}. To allow its pages: make dev ORIGIN={printable}"
        if printable not in self._warned and len(self._warned) < SHOWN_CHARS:
            self._warned.add(printable)
            self._warn(text)
        return text
