"""Tokens that prove nobody, one by name: each is what somebody tried against somebody's server. Knows no HTTP.

Sources: RFC 8725 sections 2 and 3.11, RFC 9068, the PyJWT and Auth0 advisories on algorithm confusion, and what our own
checks promise.
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.fakes.issuer import AUDIENCE, RSA_KEY, Issuer

OTHER_EC = ec.generate_private_key(ec.SECP256R1())
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_ED = ed25519.Ed25519PrivateKey.generate()
DEEP = 2500  # levels of JSON that still fit into the longest token we look at

Attack = Callable[[Issuer], str]


def b64(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw(head: object, claims: object, signature: bytes = b"") -> str:
    """A token as its writer wants it, sound or not."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (head, claims)]
    return ".".join([*map(b64, parts), b64(signature)])


def hs256(issuer: Issuer, secret: bytes, **head: object) -> str:
    """Signed with HMAC by hand: PyJWT refuses to take a public key for a secret."""
    unsigned = raw({"alg": "HS256", "kid": "rsa-1", **head}, issuer.claims()).rpartition(".")[0]
    return f"{unsigned}.{b64(hmac.digest(secret, unsigned.encode(), hashlib.sha256))}"


def signed(issuer: Issuer, key: Any, algorithm: str, **head: object) -> str:
    """Sound claims, signed by `key`."""
    return jwt.encode(issuer.claims(), key, algorithm=algorithm, headers={"kid": issuer.key_id, **head})


def pem(key: Any) -> bytes:
    """A public key as text: the classic secret of algorithm confusion."""
    data: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return data


def der(key: Any) -> bytes:
    """The same in binary."""
    data: bytes = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return data


def own_jwk() -> dict[str, Any]:
    """The attacker's own public key, to be put into a head."""
    return {"kty": "EC", "crv": "P-256", "x": b64(b"x" * 32), "y": b64(b"y" * 32), "kid": "key-1"}


def tampered(issuer: Issuer) -> str:
    """Somebody else's claims under a sound signature."""
    head, _, signature = issuer.token().split(".")
    return ".".join([head, b64(json.dumps(issuer.claims(sub="bob")).encode()), signature])


def swapped(issuer: Issuer) -> str:
    """A sound signature of another token."""
    return ".".join([*issuer.token().split(".")[:2], issuer.token(sub="bob").split(".")[2]])


def der_signature(issuer: Issuer) -> str:
    """An ECDSA signature of the right key in the wrong encoding."""
    from cryptography.hazmat.primitives import hashes

    unsigned = issuer.token().rpartition(".")[0]
    return f"{unsigned}.{b64(issuer.key.sign(unsigned.encode(), ec.ECDSA(hashes.SHA256())))}"


def sound(**claims: Any) -> Attack:
    """The issuer's own signature over claims that do not hold."""
    return lambda issuer: issuer.token(**claims)


def headed(**head: Any) -> Attack:
    """The issuer's own signature over a head that asks for too much."""
    return lambda issuer: issuer.token(head=head)


def now() -> int:
    """This second."""
    return int(time.time())


SIGNATURES: dict[str, Attack] = {
    "alg none": lambda i: raw({"alg": "none", "typ": "JWT", "kid": "key-1"}, i.claims()),
    "alg None": lambda i: raw({"alg": "None", "kid": "key-1"}, i.claims()),
    "alg nOnE with a signature": lambda i: raw({"alg": "nOnE", "kid": "key-1"}, i.claims(), b"x" * 64),
    "alg empty": lambda i: raw({"alg": "", "kid": "key-1"}, i.claims()),
    "alg missing": lambda i: raw({"kid": "key-1"}, i.claims()),
    "alg a list": lambda i: raw({"alg": ["ES256"], "kid": "key-1"}, i.claims(), b"x" * 64),
    "alg null": lambda i: raw({"alg": None, "kid": "key-1"}, i.claims()),
    "no signature": lambda i: i.token().rpartition(".")[0] + ".",
    "signature of zeros (psychic)": lambda i: raw({"alg": "ES256", "kid": "key-1"}, i.claims(), bytes(64)),
    "signature cut": lambda i: i.token()[:-8],
    "signature in DER": der_signature,
    "signature of another token": swapped,
    "claims changed": tampered,
    "HS256 with the RSA key as PEM": lambda i: hs256(i, pem(RSA_KEY)),
    "HS256 with the RSA key as DER": lambda i: hs256(i, der(RSA_KEY)),
    "HS256 with the EC key as PEM": lambda i: hs256(i, pem(i.key), kid="key-1"),
    "HS256 with nothing": lambda i: hs256(i, b""),
    "HS256 with a word": lambda i: hs256(i, b"secret"),
    "another EC key under the known id": lambda i: signed(i, OTHER_EC, "ES256"),
    "another EC key under an unknown id": lambda i: signed(i, OTHER_EC, "ES256", kid="key-9"),
    "another RSA key under the known id": lambda i: signed(i, OTHER_RSA, "RS256", kid="rsa-1"),
    "RS256 under the EC key's id": lambda i: signed(i, OTHER_RSA, "RS256"),
    "ES256 under the RSA key's id": lambda i: signed(i, i.key, "ES256", kid="rsa-1"),
    "EdDSA under the EC key's id": lambda i: signed(i, OTHER_ED, "EdDSA"),
    "PS256 by the RSA key": lambda i: signed(i, RSA_KEY, "PS256", kid="rsa-1"),
    "RS512 by the RSA key": lambda i: signed(i, RSA_KEY, "RS512", kid="rsa-1"),
}

HEADS: dict[str, Attack] = {
    "no kid": lambda i: jwt.encode(i.claims(), OTHER_EC, algorithm="ES256"),
    "kid a path": lambda i: signed(i, OTHER_EC, "ES256", kid="../../../../dev/null"),
    "kid SQL": lambda i: signed(i, OTHER_EC, "ES256", kid="' UNION SELECT 'key"),
    "kid a number": lambda i: raw({"alg": "ES256", "kid": 1}, i.claims(), b"x" * 64),
    "kid null": lambda i: raw({"alg": "ES256", "kid": None}, i.claims(), b"x" * 64),
    "own key in jwk": lambda i: signed(i, OTHER_EC, "ES256", jwk=own_jwk()),
    "own keys at jku": lambda i: signed(i, OTHER_EC, "ES256", jku="https://evil.test/keys", kid="key-9"),
    "own certificate at x5u": lambda i: signed(i, OTHER_EC, "ES256", x5u="https://evil.test/cert"),
    "own certificate in x5c": lambda i: signed(i, OTHER_EC, "ES256", x5c=["MIIB"]),
    "crit nobody knows": headed(crit=["exp-v2"], **{"exp-v2": 1}),
    "crit empty": headed(crit=[]),
    "payload not encoded (b64 false)": lambda i: raw(
        {"alg": "ES256", "kid": "key-1", "b64": False}, i.claims(), b"x" * 64
    ),
    "encrypted (five parts)": lambda i: raw({"alg": "RSA-OAEP", "enc": "A128GCM"}, {}) + "b.c.d",
    "head is a list": lambda i: raw(["ES256"], i.claims(), b"x" * 64),
    "head is a number": lambda i: raw(7, i.claims(), b"x" * 64),
    "head is not JSON": lambda i: raw(b"{alg:ES256}", i.claims(), b"x" * 64),
    "head is not UTF-8": lambda i: raw(b'{"alg":"\xff"}', i.claims(), b"x" * 64),
    "head is very deep": lambda i: raw(b'{"alg":"ES256","a":' + b"[" * DEEP + b"]" * DEEP + b"}", b"{}", b"x"),
    "head has a number without end": lambda i: raw(b'{"alg":"ES256","a":' + b"9" * 4400 + b"}", b"{}", b"x"),
    "not base64": lambda i: "!!!.???.###",
    "one part": lambda i: b64(b"{}"),
    "seven parts": lambda i: "a.b.c.d.e.f.g",
    "dots": lambda i: "..",
    "too long": lambda i: i.token(padding="x" * 9000),
    "another token in front": lambda i: f"{i.token()},{i.token()}",
    "a space inside": lambda i: i.token().replace(".", ". ", 1),
}

KINDS: dict[str, Attack] = {  # sound tokens that are not access tokens, or not for whoever carries them
    "a logout token": headed(typ="logout+jwt"),
    "a security event token": headed(typ="secevent+jwt"),
    "a security event token, by its media type": headed(typ="application/secevent+jwt"),
    "a DPoP proof": headed(typ="dpop+jwt"),
    "a token introspection answer": headed(typ="token-introspection+jwt"),
    "a kind in capitals": headed(typ="LOGOUT+JWT"),
    "a kind nobody knows": headed(typ="x"),
    "kind a media type without a name": headed(typ="application/"),
    "kind prefixed twice": headed(typ="application/application/jwt"),
    "kind with a space": headed(typ="JWT "),
    "kind a list": lambda i: raw({"alg": "ES256", "kid": "key-1", "typ": ["JWT"]}, i.claims(), b"x" * 64),
    "kind a list, signed": headed(typ=["JWT"]),
    "kind a number, signed": headed(typ=7),
    "a logout token without its kind": sound(
        events={"http://schemas.openid.net/event/backchannel-logout": {}}, sid="session"
    ),
    "events of another sort": sound(events={}),
    "bound to a DPoP key": sound(cnf={"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
    "bound to a client certificate": sound(cnf={"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}),
    "bound to nothing": lambda i: _unchecked(i, cnf=None),
    "Keycloak's ID token": sound(typ="ID"),
    "Keycloak's refresh token": sound(typ="Refresh"),
    "Keycloak's offline token": sound(typ="Offline"),
    "Keycloak's logout token": sound(typ="Logout"),
    "kind claimed as a list": sound(typ=["Bearer"]),
}

CLAIMS: dict[str, Attack] = {
    "issuer without its slash": lambda i: i.token(iss=i.url.rstrip("/")),
    "issuer in capitals": lambda i: i.token(iss=i.url.upper()),
    "another issuer": sound(iss="https://evil.test/"),
    "issuer a list": lambda i: _unchecked(i, iss=[i.url]),
    "no issuer": sound(iss=None),
    "another audience": sound(aud="other"),
    "audience that contains ours": sound(aud=f"{AUDIENCE}-admin"),
    "audience in capitals": sound(aud=AUDIENCE.upper()),
    "audiences without ours": sound(aud=["a", "b"]),
    "audience an object": sound(aud={AUDIENCE: True}),
    "audience empty": sound(aud=[]),
    "no audience": sound(aud=None),
    "client_id without token_use": sound(aud=None, client_id=AUDIENCE),
    "Cognito's ID token": sound(token_use="id"),
    "Cognito's access token of another client": sound(aud=None, client_id="other", token_use="access"),
    "expired": sound(exp=now() - 120),
    "never expires": sound(exp=None),
    "expires in words": sound(exp="tomorrow"),
    "expires in a text of digits": sound(exp="99999999999"),
    "expires at infinity": lambda i: i.token(exp=float("inf")),
    "not valid yet": sound(nbf=now() + 600),
    "issued tomorrow": sound(iat=now() + 86_400),
    "no subject": sound(sub=None),
    "subject empty": sound(sub=""),
    "subject a number": lambda i: _unchecked(i, sub=7),
    "subject a list": lambda i: _unchecked(i, sub=["ann"]),
    "subject very long": sound(sub="x" * 256),
    "claims are a list": lambda i: _of(i, [1]),
    "claims are not JSON": lambda i: _of(i, b"no"),
}


def _of(issuer: Issuer, payload: object) -> str:
    """Any payload under the issuer's own signature."""
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return jwt.api_jws.encode(data, issuer.key, algorithm="ES256", headers={"kid": issuer.key_id})


def _unchecked(issuer: Issuer, **claims: object) -> str:
    return _of(issuer, issuer.claims() | claims)


ATTACKS = SIGNATURES | HEADS | KINDS | CLAIMS
