"""A certified OpenID provider on https: oidc-provider from npm, in Node, with a certificate of a local authority."""

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
    """The provider that runs at `issuer`."""

    def __init__(self, process: subprocess.Popen[str], issuer: str) -> None:
        self._process, self.issuer = process, issuer

    def rotate(self) -> None:
        """Sign with a new key from now on; the old one stays published. Works once."""
        assert self._process.stdin is not None
        self._process.stdin.write("rotate\n")
        self._process.stdin.flush()
        self.says("rotated")

    def says(self, word: str) -> None:
        """Return when it has printed `word`; its warnings about test settings are passed over."""
        assert self._process.stdout is not None
        assert word in (line.strip() for line in self._process.stdout), "the provider ended"


@contextmanager
def provider(issuer: str, certificate: Certificate, *, page: str, lifetime_s: int) -> Iterator[Provider]:
    """A provider whose users come from the page at this URL; its access tokens last `lifetime_s`."""
    folder = installed(ROOT / "tests" / "web" / "oidc_provider")
    given = {
        "issuer": issuer,
        "certificate": certificate.chain.read_text(),
        "key": certificate.key.read_text(),
        "page": page,
        "audience": AUDIENCE,
        "lifetimeS": lifetime_s,
    }
    command = [*toolchain.find_node(), "provider.mjs", json.dumps(given)]
    with subprocess.Popen(
        command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            running = Provider(process, issuer)
            running.says("listening")
            yield running
        finally:
            process.terminate()
