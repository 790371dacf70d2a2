"""A certified OpenID provider on https: oidc-provider from npm, in Node, with a certificate of a local authority."""

import base64
import datetime
import hashlib
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from infra import toolchain
from tests.web.examples import ROOT, installed

RESOURCE = "https://chat.example.com/"
AUDIENCE = "chat"
DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Certificate:
    """Of localhost, signed by an authority that nobody else knows."""

    authority: Path  # its certificate, which clients trust
    chain: str
    key: str
    spki: str  # the fingerprint by which Chromium can be told to trust it

    @classmethod
    def made(cls, folder: Path) -> "Certificate":
        """A new authority, and what it signed."""
        authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        issuer, subject = (
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("A local authority", "localhost")
        )
        authority = (
            _begun(issuer, issuer, authority_key, authority_key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(authority_key, hashes.SHA256())
        )
        leaf = (
            _begun(subject, issuer, key, authority_key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(authority_key, hashes.SHA256())
        )
        trusted = folder / "authority.pem"
        trusted.write_bytes(authority.public_bytes(Encoding.PEM))
        spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return cls(
            authority=trusted,
            chain=leaf.public_bytes(Encoding.PEM).decode(),
            key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
            spki=base64.b64encode(hashlib.sha256(spki).digest()).decode(),
        )


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number(), now - DAY, now + DAY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


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
        "certificate": certificate.chain,
        "key": certificate.key,
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
