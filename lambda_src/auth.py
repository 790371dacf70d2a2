"""A bearer token becomes a User. The only reader of Authorization; knows nothing of chats.

Rules (RFC 8725, OpenID Connect Core 3.1.3.7): algorithms come from our list and never from the token; `jku`, `x5u` and
`jwk` in a token's head are ignored; issuer and audience must match exactly; `exp` and `sub` must be there.
"""

import asyncio
import hashlib
import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any, Protocol

import jwt

from lambda_src.context import User
from lambda_src.errors import AuthError, UnavailableError

ALGORITHMS = ["RS256", "ES256", "EdDSA"]
LEEWAY_S = 60  # clocks differ: the issuer's, Lambda's
KEYS_FRESH_S = 600  # how long fetched keys serve without asking again
KEYS_STALE_S = 24 * 3600  # how long they serve while the issuer is down
REFETCH_S = 60  # an unknown key id asks the issuer again, at most this often: no one can make us hammer it
RETRY_S = 1  # while we have no keys at all nobody gets in, so ask more often
FETCH_TIMEOUT_S = 2.0
FETCH_MAX_BYTES = 1_000_000

Fetch = Callable[[str], bytes]


class Authenticate(Protocol):
    """Who calls? Takes the Authorization header as it came; AuthError when it proves nobody."""

    async def __call__(self, authorization: str | None) -> User: ...


def user_of(issuer: str, subject: str, *, scope: str = "") -> User:
    """One opaque id a person: the same for one issuer, subject and assistant, telling nothing of them."""
    proof = json.dumps([scope, issuer, subject]).encode()
    return User(id=hashlib.sha256(proof).hexdigest()[:40])


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:  # a redirect could leave https, or our issuer
        return None


def fetch_https(url: str) -> bytes:
    """The body behind an https URL, 1 MB at most, no redirects; OSError or ValueError when it cannot be had."""
    if not url.startswith("https://"):
        raise ValueError(f"not an https URL: {url}")
    opener = urllib.request.build_opener(_NoRedirect)
    with opener.open(url, timeout=FETCH_TIMEOUT_S) as answer:
        body: bytes = answer.read(FETCH_MAX_BYTES + 1)
    if len(body) > FETCH_MAX_BYTES:
        raise ValueError(f"more than {FETCH_MAX_BYTES} bytes behind {url}")
    return body


class IssuerKeys:
    """The issuer's public keys (RFC 7517), found by OpenID discovery, cached, asked for again within bounds."""

    def __init__(self, issuer: str, *, fetch: Fetch = fetch_https, now: Callable[[], float] = time.monotonic) -> None:
        self._issuer, self._fetch, self._now = issuer, fetch, now
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_s: float | None = None
        self._asked_s: float | None = None
        self._asking = asyncio.Lock()

    async def key(self, key_id: str) -> jwt.PyJWK | None:
        """The key, or None when the issuer has no such key; UnavailableError when nobody can tell."""
        if not self._is_fresh() or key_id not in self._keys:
            async with self._asking:
                if (not self._is_fresh() or key_id not in self._keys) and self._may_ask():
                    await self._ask()
        if self._fetched_s is None or self._now() - self._fetched_s > KEYS_STALE_S:
            raise UnavailableError("The keys of the sign-in service cannot be read at the moment. Try again shortly.")
        return self._keys.get(key_id)

    def _is_fresh(self) -> bool:
        return self._fetched_s is not None and self._now() - self._fetched_s < KEYS_FRESH_S

    def _may_ask(self) -> bool:
        pause_s = REFETCH_S if self._fetched_s is not None else RETRY_S
        return self._asked_s is None or self._now() - self._asked_s >= pause_s

    async def _ask(self) -> None:
        self._asked_s = self._now()
        try:
            self._keys = await asyncio.to_thread(self._download)
            self._fetched_s = self._now()
        except (OSError, ValueError, KeyError, TypeError, AttributeError, jwt.PyJWTError):  # down, or nonsense
            return  # what we have goes on serving until it is KEYS_STALE_S old

    def _download(self) -> dict[str, jwt.PyJWK]:
        found = json.loads(self._fetch(self._issuer.rstrip("/") + "/.well-known/openid-configuration"))
        if found["issuer"] != self._issuer:
            raise ValueError("the discovery document names another issuer")
        entries: list[dict[str, Any]] = json.loads(self._fetch(found["jwks_uri"]))["keys"]
        usable = [entry for entry in entries if entry.get("use", "sig") == "sig" and "kid" in entry]
        return {entry["kid"]: jwt.PyJWK(entry) for entry in usable if entry.get("kty") in {"RSA", "EC", "OKP"}}


class BearerToken:
    """Authenticate by a JWT of one issuer for one audience (Cognito's access tokens say `client_id` instead)."""

    def __init__(self, issuer: str, audience: str, *, keys: IssuerKeys) -> None:
        self._issuer, self._audience, self._keys = issuer, audience, keys

    async def __call__(self, authorization: str | None) -> User:
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise AuthError("Sign in first: this request carries no bearer token.")
        try:
            head = jwt.get_unverified_header(token)
            key = await self._keys.key(str(head.get("kid")))
            if key is None or key.algorithm_name != head.get("alg"):
                raise AuthError("The bearer token is not valid. Sign in again.")
            claims = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                issuer=self._issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "sub"], "verify_aud": False},
            )
            self._check_audience(claims)
        except jwt.PyJWTError:
            raise AuthError("The bearer token is not valid. Sign in again.") from None
        return user_of(self._issuer, claims["sub"])

    def _check_audience(self, claims: dict[str, Any]) -> None:
        audience = claims.get("aud")
        if audience is None and claims.get("token_use") == "access":
            audience = claims.get("client_id")
        if self._audience not in (audience if isinstance(audience, list) else [audience]):
            raise jwt.InvalidAudienceError
