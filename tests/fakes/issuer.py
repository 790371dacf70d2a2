"""Fake OIDC issuer: signs real tokens, publishes its keys, rotates them, goes down. No HTTP."""

import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from tests.content_markers import MARKERS

ISSUER = "https://issuer.test/"
AUDIENCE = "chat"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)  # shared, because generating one takes 0.1 s


class Issuer:
    """A fake issuer: IssuerKeys calls `fetch`, browsers send `token`. Signs with ES256; also publishes an RSA key."""

    def __init__(self, url: str = ISSUER) -> None:
        self.url = url
        self.down = False
        self.fetched: list[str] = []
        self.rotate("key-1")

    def rotate(self, key_id: str) -> None:
        """Sign with a new key from now on, and publish only it (and the RSA key)."""
        self.key_id, self.key = key_id, ec.generate_private_key(ec.SECP256R1())

    def claims(self, **claims: Any) -> dict[str, Any]:
        """Return valid claims for one hour, overridden by `claims` (None removes one)."""
        valid = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "ann",
            "exp": int(time.time()) + 3600,
            "email": MARKERS["token"],
        }
        return {name: value for name, value in (valid | claims).items() if value is not None}

    def token(self, *, head: dict[str, Any] | None = None, **claims: Any) -> str:
        """Sign a valid token for AUDIENCE, overridden by `claims`."""
        return jwt.encode(
            self.claims(**claims), self.key, algorithm="ES256", headers={"kid": self.key_id} | (head or {})
        )

    def documents(self) -> dict[str, Any]:
        """Return the published documents by path."""
        public: dict[str, Any] = ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        rsa_public: dict[str, Any] = RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True)
        keys = [
            public | {"kid": self.key_id, "use": "sig", "alg": "ES256"},
            rsa_public | {"kid": "rsa-1", "use": "sig"},
        ]
        return {
            ".well-known/openid-configuration": {"issuer": self.url, "jwks_uri": self.url + "keys"},
            "keys": {"keys": keys},
        }

    def fetch(self, url: str) -> bytes:
        """Return the discovery document or the keys; raise OSError while the issuer is down."""
        self.fetched.append(url)
        if self.down:
            raise OSError("connection refused")
        return json.dumps(self.documents()[url.removeprefix(self.url)]).encode()
