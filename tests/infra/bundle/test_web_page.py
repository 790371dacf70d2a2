"""infra/bundle/web_page.py: errors in building the web page name the cause and the fix."""

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from infra.bundle import build, web_page
from infra.bundle.wheels import LAMBDA
from infra.errors import BundleError, PreflightError

LOCK = {
    "lockfileVersion": 3,
    "packages": {
        "": {"dependencies": {"left-pad": "1.3.0"}},
        "node_modules/left-pad": {
            "version": "1.3.0",
            "resolved": "https://registry.npmjs.org/left-pad/-/left-pad-1.3.0.tgz",
        },
    },
}


class Refuses(BaseHTTPRequestHandler):
    """A proxy that refuses every CONNECT request."""

    def do_CONNECT(self) -> None:
        self.send_error(403)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def proxy() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        serving.join()


def test_a_proxy_that_refuses_npm_is_reported_with_what_to_set(
    proxy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = tmp_path / "web"
    web.mkdir()
    (web / "package.json").write_text(json.dumps(LOCK["packages"][""]), encoding="utf-8")  # type: ignore[index]
    (web / "package-lock.json").write_text(json.dumps(LOCK), encoding="utf-8")
    for name in [name for name in os.environ if name.lower().startswith("npm_config_") or "proxy" in name.lower()]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(BundleError) as caught:
        web_page.build(tmp_path)
    first, *npm_output = str(caught.value).splitlines()
    assert first == f"the page's libraries could not be installed. {web_page.PROXY}:"
    assert any("403" in line for line in npm_output), "npm's own error must follow"


def test_a_read_only_clone_is_refused_before_anything_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: not (path == tmp_path and mode == os.W_OK))
    for build_command in (
        lambda: web_page.build(tmp_path),
        lambda: build.build(tmp_path, environ={}, target=LAMBDA["arm64"]),
    ):
        with pytest.raises(PreflightError, match="is read-only, and builds go into it"):
            build_command()
