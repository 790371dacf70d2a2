"""`chat keys`: creates the key pair with which your backend signs its users' tokens. Works offline.

The private key is written to a file that only you can read, the public key to standard output, for the settings.
"""

import base64
import hashlib
import json
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from lambda_src.cli.console import one_sentence, report

app = typer.Typer(name="keys", help="Keys of your own backend: docs/how-to/backend-tokens.md.", no_args_is_help=True)

PRIVATE_MODE = 0o600


class Algorithm(StrEnum):
    """The signature algorithm. JWT libraries of every language know ES256."""

    es256 = "ES256"
    eddsa = "EdDSA"


@app.callback()
def keys() -> None:
    """Keys of your own backend: docs/how-to/backend-tokens.md."""


@app.command()
def new(
    private_key: Annotated[Path, typer.Argument(help="The file to write the private key to; it must not exist.")],
    algorithm: Annotated[Algorithm, typer.Option(case_sensitive=False)] = Algorithm.es256,
) -> None:
    """Create a key pair: the private key in a file, the public key (for CHAT_AUTH_PUBLIC_KEYS) on standard output."""
    pem, public = pair(algorithm)
    with one_sentence():
        file = os.open(private_key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_MODE)
    with os.fdopen(file, "wb") as stream:
        stream.write(pem)
    typer.echo(json.dumps([public]))
    report(f"Your backend signs with {private_key}, under the key id {public['kid']}.")


def pair(algorithm: Algorithm) -> tuple[bytes, dict[str, Any]]:
    """A new private key as PEM (PKCS 8), and its public half as a JWK whose `kid` is its thumbprint (RFC 7638)."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519  # noqa: PLC0415 - no other command needs it
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - as above
        Encoding,
        NoEncryption,
        PrivateFormat,
    )
    from jwt.algorithms import ECAlgorithm, OKPAlgorithm  # noqa: PLC0415 - as above

    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    public: dict[str, Any]
    match algorithm:
        case Algorithm.es256:
            key = ec.generate_private_key(ec.SECP256R1())
            public = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        case Algorithm.eddsa:
            key = ed25519.Ed25519PrivateKey.generate()
            public = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    required = {name: public[name] for name in sorted(("crv", "kty", "x", "y")) if name in public}
    digest = hashlib.sha256(json.dumps(required, separators=(",", ":")).encode()).digest()
    kid = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem, {**required, "kid": kid, "alg": algorithm.value, "use": "sig"}
