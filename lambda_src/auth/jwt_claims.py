"""What every JWT must hold, whoever signed it. Pure but for the clock; knows no issuer and no HTTP.

Rules (RFC 8725, RFC 7519): algorithms come from our list and never from the token; `jku`, `x5u` and `jwk` in a token's
head are ignored; `exp` and `sub` must be there. Tokens of another kind are refused although their signature holds
(RFC 8725 section 3.11): logout and security event tokens, DPoP proofs, ID and refresh tokens that say so, and
access tokens bound to a key (`cnf`), which are not for whoever carries them. Every refusal is the same sentence.
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
HEAD_TYPES = frozenset({"jwt", "at+jwt"})  # of access tokens (RFC 9068, section 2.1); most issuers name none
CLAIM_TYPES = frozenset({"bearer", "access"})  # Keycloak says Bearer, ID, Refresh, Offline or Logout in a claim `typ`
FOREIGN_CLAIMS = frozenset({"events", "cnf"})  # security events (RFC 8417); bound to a key (RFC 7800)
LEEWAY_S = 60  # clocks differ: the issuer's, Lambda's
MAX_TOKEN_CHARS = 8192  # Entra's tokens with many groups have some 6,000; API Gateway takes 10 KB of headers in all
MAX_SUBJECT_CHARS = 255  # OpenID Connect Core, section 2
MAX_CLAIM_CHARS = 1_000  # of one claim for tools, as JSON: names and lists of groups, not documents
MIN_RSA_BITS = 2048  # RFC 7518, section 3.3
INVALID = "The bearer token is not valid. Sign in again."

log = logging.getLogger(__name__)

# What nonsense in a token can raise beside PyJWT's own: JSON too deep, numbers too long, text where none belongs.
NONSENSE = (jwt.PyJWTError, ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError)


def head_of(token: str, *, algorithms: Sequence[str] = ALGORITHMS) -> dict[str, Any]:
    """The token's head, unproven; AuthError when it is none, or signed in a way that we do not take."""
    if len(token) > MAX_TOKEN_CHARS:
        raise AuthError(INVALID)
    try:
        head = jwt.get_unverified_header(token)
    except NONSENSE:
        raise AuthError(INVALID) from None
    if head.get("alg") not in algorithms or not _is_access_type(head.get("typ")):
        raise AuthError(INVALID)
    return head


def claims_issuer(token: str) -> object:
    """The token's `iss`, unproven: reason enough to refuse a token, never to accept one."""
    try:
        return jwt.decode(token, options={"verify_signature": False}).get("iss")
    except NONSENSE:
        raise AuthError(INVALID) from None


def claims_of(
    token: str, key: jwt.PyJWK | bytes, *, algorithms: Sequence[str] = ALGORITHMS, issuer: str | None = None
) -> dict[str, Any]:
    """The proven claims: signature, exp, nbf, iat and, when given, the exact issuer hold; sub names somebody.

    AuthError otherwise. The audience is the caller's to check, with `names`: issuers put it into different claims.
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
    is_time = isinstance(claims["exp"], int | float)  # PyJWT takes a text of digits too, RFC 7519 does not
    if not is_time or not 0 < len(claims["sub"]) <= MAX_SUBJECT_CHARS:
        raise AuthError(INVALID)
    kind = claims.get("typ", "bearer")
    if not isinstance(kind, str) or kind.lower() not in CLAIM_TYPES or FOREIGN_CLAIMS & claims.keys():
        raise AuthError(INVALID)
    return claims


def chosen(claims: Mapping[str, Any], wanted: Sequence[str]) -> dict[str, Claim]:
    """The claims named by `wanted`, for tools: texts, numbers, booleans and lists of texts (as tuples).

    A claim that is missing, null, of another type or longer than MAX_CLAIM_CHARS is left out: a tool must treat it as
    not granted. The log names the claims left out for their type or length, without their values.
    """
    found: dict[str, Claim] = {}
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
        found[name] = claim
    return found


def _is_access_type(typ: object) -> bool:
    """Whether a head's `typ` may be an access token's: a media type, in any case, with or without `application/`."""
    return typ is None or (isinstance(typ, str) and typ.lower().removeprefix("application/") in HEAD_TYPES)


def names(audience: object, ours: str) -> bool:
    """Whether an `aud` claim (a text or a list of texts) names us."""
    return ours in audience if isinstance(audience, list) else ours == audience


def usable(entries: Iterable[object]) -> dict[str, jwt.PyJWK]:
    """The public signing keys among the entries of a JWK set, by key id; what is not one is passed over.

    One entry that nobody can read (a new curve, a broken key) must not lock everybody out.
    """
    found: dict[str, jwt.PyJWK] = {}
    for entry in entries:
        if isinstance(entry, dict) and isinstance(entry.get("kid"), str) and entry.get("use", "sig") == "sig":
            try:
                found[entry["kid"]] = public_key(entry)
            except NONSENSE:
                continue
    return found


def public_key(entry: dict[str, Any]) -> jwt.PyJWK:
    """One public JWK of an algorithm that we take; ValueError or a PyJWTError for anything else."""
    key = jwt.PyJWK({name: value for name, value in entry.items() if name != "d"})  # its public half, whatever came
    if key.algorithm_name not in ALGORITHMS:
        raise ValueError(f"algorithm {key.algorithm_name} is not one of {', '.join(ALGORITHMS)}")
    if isinstance(key.key, RSAPublicKey) and key.key.key_size < MIN_RSA_BITS:
        raise ValueError(f"an RSA key must have {MIN_RSA_BITS} bits")
    return key
