"""`chat keys`: the pair of keys with which a backend of yours signs its users' tokens. Asks nobody, stores nowhere.

The private half goes into a file that only you can read, the public half to standard output: it is a setting.
"""

import base64
import hashlib
import json
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

app = typer.Typer(name="keys", help="Keys of your own backend: see docs/auth.md.", no_args_is_help=True)
err = Console(stderr=True)

PRIVATE_MODE = 0o600


class Algorithm(StrEnum):
    """What signs: every language's JWT library knows ES256."""

    es256 = "ES256"
    eddsa = "EdDSA"


@app.callback()
def keys() -> None:
    """Keys of your own backend: see docs/auth.md."""


@app.command()
def new(
    private_key: Annotated[Path, typer.Argument(help="The file to write the private key to; it must not exist.")],
    algorithm: Annotated[Algorithm, typer.Option(case_sensitive=False)] = Algorithm.es256,
) -> None:
    """Make a pair: the private key into a file, the public one (for CHAT_AUTH_PUBLIC_KEYS) to standard output."""
    pem, public = pair(algorithm)
    try:
        file = os.open(private_key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_MODE)
    except OSError as fault:
        err.print(f"{private_key} cannot be written: {fault.strerror}.", style="red", markup=False)
        raise typer.Exit(1) from None
    with os.fdopen(file, "wb") as stream:
        stream.write(pem)
    typer.echo(json.dumps([public]))
    err.print(f"Your backend signs with {private_key}, under the key id {public['kid']}.", markup=False)


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
