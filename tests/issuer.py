"""A fake issuer that works: it signs real tokens, publishes its keys, rotates them, goes down. Knows no HTTP."""

import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

ISSUER = "https://issuer.test/"
AUDIENCE = "chat"


class Issuer:
    """`fetch` is what IssuerKeys asks; `token` is what a browser would bring."""

    def __init__(self, url: str = ISSUER) -> None:
        self.url = url
        self.down = False
        self.fetched: list[str] = []
        self.rotate("key-1")

    def rotate(self, key_id: str) -> None:
        """From now on a new key signs, and only it is published."""
        self.key_id, self._key = key_id, ec.generate_private_key(ec.SECP256R1())

    def token(self, *, head: dict[str, Any] | None = None, **claims: Any) -> str:
        """A sound token for AUDIENCE, valid for an hour, with `claims` over it (None takes one away)."""
        sound = {"iss": self.url, "aud": AUDIENCE, "sub": "ann", "exp": int(time.time()) + 3600}
        payload = {name: value for name, value in (sound | claims).items() if value is not None}
        return jwt.encode(payload, self._key, algorithm="ES256", headers={"kid": self.key_id} | (head or {}))

    def fetch(self, url: str) -> bytes:
        """The discovery document or the keys; OSError while the issuer is down."""
        self.fetched.append(url)
        if self.down:
            raise OSError("connection refused")
        if url == self.url.rstrip("/") + "/.well-known/openid-configuration":
            return json.dumps({"issuer": self.url, "jwks_uri": self.url + "keys"}).encode()
        assert url == self.url + "keys"
        public = ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return json.dumps({"keys": [public | {"kid": self.key_id, "use": "sig", "alg": "ES256"}]}).encode()
