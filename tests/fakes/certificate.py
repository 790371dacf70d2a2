"""TLS certificate for localhost and a certificate authority that signed it, for test servers that use https."""

import base64
import datetime
import hashlib
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Certificate:
    """PEM files: a one-day certificate for localhost and 127.0.0.1, its key, and the new authority that signed it."""

    authority: Path  # what clients must trust, for instance as SSL_CERT_FILE
    chain: Path
    key: Path
    spki: str  # the fingerprint for Chromium's flag to trust it

    @classmethod
    def create(cls, folder: Path) -> "Certificate":
        """Create an authority and a certificate in `folder`."""
        authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        issuer, subject = (
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("A local authority", "localhost")
        )
        names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        authority = (
            _certificate_builder(issuer, issuer, authority_key, authority_key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(authority_key, hashes.SHA256())
        )
        leaf = (
            _certificate_builder(subject, issuer, key, authority_key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(authority_key, hashes.SHA256())
        )
        contents = {
            "authority": authority.public_bytes(Encoding.PEM),
            "chain": leaf.public_bytes(Encoding.PEM),
            "key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        }
        files = {name: folder / f"{name}.pem" for name in contents}
        for name, content in contents.items():
            files[name].write_bytes(content)
        spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return cls(**files, spki=base64.b64encode(hashlib.sha256(spki).digest()).decode())


def _certificate_builder(
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
