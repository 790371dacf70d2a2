"""Runs a certified OpenID provider over HTTPS: oidc-provider from npm, in Node, with a certificate of a local CA."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from infra.bundle import toolchain
from tests.fakes.certificate import Certificate
from tests.web.examples import ROOT, installed

RESOURCE = "https://chat.example.com/"
AUDIENCE = "chat"


class Provider:
    """A running provider at `issuer`."""

    def __init__(self, process: subprocess.Popen[str], issuer: str) -> None:
        self._process, self.issuer = process, issuer

    def rotate(self) -> None:
        """Sign with a new key from now on. The old key stays published. Works once."""
        assert self._process.stdin is not None
        self._process.stdin.write("rotate\n")
        self._process.stdin.flush()
        self.wait_for("rotated")

    def wait_for(self, word: str) -> None:
        """Wait until the provider prints `word`. Its warnings about test settings are skipped."""
        assert self._process.stdout is not None
        assert word in (line.strip() for line in self._process.stdout), "the provider exited"


@contextmanager
def provider(issuer: str, certificate: Certificate, *, page: str, lifetime_s: int) -> Iterator[Provider]:
    """Run a provider for users of the page at `page`, whose access tokens last `lifetime_s` seconds."""
    folder = installed(ROOT / "tests" / "web" / "oidc_provider")
    options = {
        "issuer": issuer,
        "certificate": certificate.chain.read_text(),
        "key": certificate.key.read_text(),
        "page": page,
        "audience": AUDIENCE,
        "lifetimeS": lifetime_s,
    }
    command = [*toolchain.find_node(), "provider.mjs", json.dumps(options)]
    with subprocess.Popen(
        command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            running = Provider(process, issuer)
            running.wait_for("listening")
            yield running
        finally:
            process.terminate()
