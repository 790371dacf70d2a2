"""Invalid tokens by name: known attacks on JWT verification. No HTTP.

Sources: RFC 8725 sections 2 and 3.11, RFC 9068, the PyJWT and Auth0 advisories on algorithm confusion, and our own
checks.
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
DEEP = 2500  # levels of JSON that still fit into the longest token we accept

Attack = Callable[[Issuer], str]


def b64(data: bytes) -> str:
    """Encode as base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw(head: object, claims: object, signature: bytes = b"") -> str:
    """Assemble a token from these parts without checking them."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (head, claims)]
    return ".".join([*map(b64, parts), b64(signature)])


def hs256(issuer: Issuer, secret: bytes, **head: object) -> str:
    """Sign with HMAC by hand, because PyJWT refuses a public key as the secret."""
    unsigned = raw({"alg": "HS256", "kid": "rsa-1", **head}, issuer.claims()).rpartition(".")[0]
    return f"{unsigned}.{b64(hmac.digest(secret, unsigned.encode(), hashlib.sha256))}"


def signed(issuer: Issuer, key: Any, algorithm: str, **head: object) -> str:
    """Sign valid claims with `key`."""
    return jwt.encode(issuer.claims(), key, algorithm=algorithm, headers={"kid": issuer.key_id, **head})


def pem(key: Any) -> bytes:
    """Return a public key as PEM: the usual secret in algorithm confusion."""
    data: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return data


def der(key: Any) -> bytes:
    """Return a public key as DER."""
    data: bytes = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return data


def own_jwk() -> dict[str, Any]:
    """Return the attacker's own public key, for a token's header."""
    return {"kty": "EC", "crv": "P-256", "x": b64(b"x" * 32), "y": b64(b"y" * 32), "kid": "key-1"}


def tampered(issuer: Issuer) -> str:
    """Put another user's claims under a valid signature."""
    head, _, signature = issuer.token().split(".")
    return ".".join([head, b64(json.dumps(issuer.claims(sub="bob")).encode()), signature])


def swapped(issuer: Issuer) -> str:
    """Use the valid signature of another token."""
    return ".".join([*issuer.token().split(".")[:2], issuer.token(sub="bob").split(".")[2]])


def der_signature(issuer: Issuer) -> str:
    """Sign with the right key but encode the signature as DER."""
    from cryptography.hazmat.primitives import hashes

    unsigned = issuer.token().rpartition(".")[0]
    return f"{unsigned}.{b64(issuer.key.sign(unsigned.encode(), ec.ECDSA(hashes.SHA256())))}"


def with_claims(**claims: Any) -> Attack:
    """Return an attack with invalid claims under the issuer's signature."""
    return lambda issuer: issuer.token(**claims)


def with_header(**head: Any) -> Attack:
    """Return an attack with an invalid header under the issuer's signature."""
    return lambda issuer: issuer.token(head=head)


def now() -> int:
    """Return the current Unix time."""
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
    "crit nobody knows": with_header(crit=["exp-v2"], **{"exp-v2": 1}),
    "crit empty": with_header(crit=[]),
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

KINDS: dict[str, Attack] = {  # valid tokens that are not access tokens, or are bound to another client
    "a logout token": with_header(typ="logout+jwt"),
    "a security event token": with_header(typ="secevent+jwt"),
    "a security event token, by its media type": with_header(typ="application/secevent+jwt"),
    "a DPoP proof": with_header(typ="dpop+jwt"),
    "a token introspection answer": with_header(typ="token-introspection+jwt"),
    "a kind in capitals": with_header(typ="LOGOUT+JWT"),
    "a kind nobody knows": with_header(typ="x"),
    "kind a media type without a name": with_header(typ="application/"),
    "kind prefixed twice": with_header(typ="application/application/jwt"),
    "kind with a space": with_header(typ="JWT "),
    "kind a list": lambda i: raw({"alg": "ES256", "kid": "key-1", "typ": ["JWT"]}, i.claims(), b"x" * 64),
    "kind a list, signed": with_header(typ=["JWT"]),
    "kind a number, signed": with_header(typ=7),
    "a logout token without its kind": with_claims(
        events={"http://schemas.openid.net/event/backchannel-logout": {}}, sid="session"
    ),
    "events of another sort": with_claims(events={}),
    "bound to a DPoP key": with_claims(cnf={"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
    "bound to a client certificate": with_claims(cnf={"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}),
    "bound to nothing": lambda i: _unchecked(i, cnf=None),
    "Keycloak's ID token": with_claims(typ="ID"),
    "Keycloak's refresh token": with_claims(typ="Refresh"),
    "Keycloak's offline token": with_claims(typ="Offline"),
    "Keycloak's logout token": with_claims(typ="Logout"),
    "kind claimed as a list": with_claims(typ=["Bearer"]),
}

CLAIMS: dict[str, Attack] = {
    "issuer without its slash": lambda i: i.token(iss=i.url.rstrip("/")),
    "issuer in capitals": lambda i: i.token(iss=i.url.upper()),
    "another issuer": with_claims(iss="https://evil.test/"),
    "issuer a list": lambda i: _unchecked(i, iss=[i.url]),
    "no issuer": with_claims(iss=None),
    "another audience": with_claims(aud="other"),
    "audience that contains ours": with_claims(aud=f"{AUDIENCE}-admin"),
    "audience in capitals": with_claims(aud=AUDIENCE.upper()),
    "audiences without ours": with_claims(aud=["a", "b"]),
    "audience an object": with_claims(aud={AUDIENCE: True}),
    "audience empty": with_claims(aud=[]),
    "no audience": with_claims(aud=None),
    "client_id without token_use": with_claims(aud=None, client_id=AUDIENCE),
    "Cognito's ID token": with_claims(token_use="id"),
    "Cognito's access token of another client": with_claims(aud=None, client_id="other", token_use="access"),
    "expired": with_claims(exp=now() - 120),
    "never expires": with_claims(exp=None),
    "expires in words": with_claims(exp="tomorrow"),
    "expires in a text of digits": with_claims(exp="99999999999"),
    "expires at infinity": lambda i: i.token(exp=float("inf")),
    "not valid yet": with_claims(nbf=now() + 600),
    "issued tomorrow": with_claims(iat=now() + 86_400),
    "no subject": with_claims(sub=None),
    "subject empty": with_claims(sub=""),
    "subject a number": lambda i: _unchecked(i, sub=7),
    "subject a list": lambda i: _unchecked(i, sub=["ann"]),
    "subject very long": with_claims(sub="x" * 256),
    "claims are a list": lambda i: _sign_payload(i, [1]),
    "claims are not JSON": lambda i: _sign_payload(i, b"no"),
}


def _sign_payload(issuer: Issuer, payload: object) -> str:
    """Sign any payload with the issuer's key."""
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return jwt.api_jws.encode(data, issuer.key, algorithm="ES256", headers={"kid": issuer.key_id})


def _unchecked(issuer: Issuer, **claims: object) -> str:
    return _sign_payload(issuer, issuer.claims() | claims)


ATTACKS = SIGNATURES | HEADS | KINDS | CLAIMS
