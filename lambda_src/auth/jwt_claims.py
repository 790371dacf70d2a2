"""JWT validation that applies to every token, whoever signed it. Pure except for the clock; knows no issuer, no HTTP.

Rules (RFC 8725, RFC 7519): algorithms come from our list, never from the token; `jku`, `x5u` and `jwk` in a token's
header are ignored; `exp` and `sub` are required. Tokens of another kind are refused even if their signature is valid
(RFC 8725, section 3.11): logout and security event tokens, DPoP proofs, ID and refresh tokens that are marked as such,
and access tokens bound to a key (`cnf`), which are no bearer tokens. Every refusal has the same message.
"""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from lambda_src.context import Claim
from lambda_src.errors import AuthError

ALGORITHMS = ("RS256", "ES256", "EdDSA")
HEADER_TYPES = frozenset({"jwt", "at+jwt"})  # `typ` of access tokens (RFC 9068, section 2.1); most issuers omit it
CLAIM_TYPES = frozenset({"bearer", "access"})  # Keycloak sets a claim `typ` to Bearer, ID, Refresh, Offline or Logout
FOREIGN_CLAIMS = frozenset({"events", "cnf"})  # in security events (RFC 8417); in tokens bound to a key (RFC 7800)
LEEWAY_S = 60  # the clocks of issuer and Lambda may differ
MAX_TOKEN_CHARS = 8192  # Entra's with many groups have about 6,000; API Gateway allows 10 KB of headers
MAX_SUBJECT_CHARS = 255  # OpenID Connect Core, section 2
MAX_CLAIM_CHARS = 1_000  # of one claim for tools, as JSON: enough for names and lists of groups
MIN_RSA_BITS = 2048  # RFC 7518, section 3.3
INVALID = "The bearer token is not valid. Sign in again."

log = logging.getLogger(__name__)

# What a malformed token can raise besides PyJWT's errors: JSON too deep, numbers too long, values of wrong types.
NONSENSE = (jwt.PyJWTError, ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError)


def header_of(token: str, *, algorithms: Sequence[str] = ALGORITHMS) -> dict[str, Any]:
    """The token's header, not yet verified; AuthError if it is malformed or names an algorithm not in `algorithms`."""
    if len(token) > MAX_TOKEN_CHARS:
        raise AuthError(INVALID)
    try:
        header = jwt.get_unverified_header(token)
    except NONSENSE:
        raise AuthError(INVALID) from None
    if header.get("alg") not in algorithms or not _is_access_type(header.get("typ")):
        raise AuthError(INVALID)
    return header


def claims_issuer(token: str) -> object:
    """The token's `iss`, not yet verified: a reason to refuse a token, never to accept one."""
    try:
        return jwt.decode(token, options={"verify_signature": False}).get("iss")
    except NONSENSE:
        raise AuthError(INVALID) from None


def claims_of(
    token: str, key: jwt.PyJWK | bytes, *, algorithms: Sequence[str] = ALGORITHMS, issuer: str | None = None
) -> dict[str, Any]:
    """The verified claims: signature, exp, nbf, iat and `issuer` (exactly, if given) are valid, and sub is not empty.

    AuthError otherwise. The caller checks the audience with `names`, since issuers put it into different claims.
    """
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=list(algorithms),
            issuer=issuer,
            leeway=LEEWAY_S,
            options={"require": ["exp", "sub"] + ([] if issuer is None else ["iss"]), "verify_aud": False},
        )
    except NONSENSE:
        raise AuthError(INVALID) from None
    is_time = isinstance(claims["exp"], int | float)  # PyJWT also accepts a string of digits, RFC 7519 does not
    if not is_time or not 0 < len(claims["sub"]) <= MAX_SUBJECT_CHARS:
        raise AuthError(INVALID)
    kind = claims.get("typ", "bearer")
    if not isinstance(kind, str) or kind.lower() not in CLAIM_TYPES or FOREIGN_CLAIMS & claims.keys():
        raise AuthError(INVALID)
    return claims


def chosen(claims: Mapping[str, Any], wanted: Sequence[str]) -> dict[str, Claim]:
    """The claims named by `wanted`, for tools: strings, numbers, booleans and lists of strings (as tuples).

    A claim that is missing, null, of another type or longer than MAX_CLAIM_CHARS is left out, and a tool must treat it
    as not granted. The log names claims that were left out for their type or length, without their values.
    """
    kept: dict[str, Claim] = {}
    for name in wanted:
        match claims.get(name):
            case None:
                continue
            case list(value) if all(isinstance(part, str) for part in value):
                claim: Claim = tuple(value)
            case str(value) | bool(value) | int(value) | float(value):
                claim = value
            case _:
                log.warning("claim_ignored", extra={"kind": name, "reason": "type"})
                continue
        if len(json.dumps(claim, ensure_ascii=False)) > MAX_CLAIM_CHARS:
            log.warning("claim_ignored", extra={"kind": name, "reason": "length"})
            continue
        kept[name] = claim
    return kept


def _is_access_type(typ: object) -> bool:
    """Whether a header's `typ` allows an access token: a media type, in any case, with or without `application/`."""
    return typ is None or (isinstance(typ, str) and typ.lower().removeprefix("application/") in HEADER_TYPES)


def names(audience: object, ours: str) -> bool:
    """Whether an `aud` claim (a string or a list of strings) contains `ours`."""
    return ours in audience if isinstance(audience, list) else ours == audience


def usable(entries: Iterable[object]) -> dict[str, jwt.PyJWK]:
    """The public signing keys in a JWK set by key id; other entries are skipped.

    An entry that cannot be read (a new curve, a broken key) must not lock everybody out.
    """
    keys: dict[str, jwt.PyJWK] = {}
    for entry in entries:
        if isinstance(entry, dict) and isinstance(entry.get("kid"), str) and entry.get("use", "sig") == "sig":
            try:
                keys[entry["kid"]] = public_key(entry)
            except NONSENSE:
                continue
    return keys


def public_key(entry: dict[str, Any]) -> jwt.PyJWK:
    """The key of a public JWK with one of ALGORITHMS; ValueError or a PyJWTError for anything else."""
    key = jwt.PyJWK({name: value for name, value in entry.items() if name != "d"})  # only the public part
    if key.algorithm_name not in ALGORITHMS:
        raise ValueError(f"algorithm {key.algorithm_name} is not one of {', '.join(ALGORITHMS)}")
    if isinstance(key.key, RSAPublicKey) and key.key.key_size < MIN_RSA_BITS:
        raise ValueError(f"an RSA key must have {MIN_RSA_BITS} bits")
    return key
