"""Authenticator for JWTs of an OpenID issuer: finds its keys by discovery, caches them, limits how often it asks again.

Rules: OpenID Connect Discovery 1.0, section 4 (the document's issuer must equal ours exactly) and RFC 7517.
"""

import asyncio
import json
import logging
import math
import time
import urllib.request
from collections.abc import Callable, Sequence

import jwt

from lambda_src.auth import jwt_claims
from lambda_src.auth.bearer import bearer, user_of
from lambda_src.auth.operators import OperatorRoles
from lambda_src.context import User
from lambda_src.errors import AuthError, SignInUnavailableError, UnknownKeyError

KEYS_FRESH_S = 600  # how long downloaded keys are used before the next download
KEYS_STALE_S = 24 * 3600  # how long they are used while the issuer is down
REFETCH_S = 60  # at most this often does an unknown key id cause a download: made-up ids cannot flood the issuer
RETRY_S = 1  # without any keys nobody can sign in, so try more often
PATIENCE_S = 0.5  # a request with a cached key waits this long for newer keys, to notice withdrawn ones but no outage
FETCH_TIMEOUT_S = 2.0  # between two reads, and until the last read starts: a download takes twice that at most
FETCH_MAX_BYTES = 1_000_000
READ_BYTES = 65_536

JWT_PARTS = 3  # encrypted tokens have five, reference tokens usually one
OPAQUE = (
    "The access token is not a signed JWT. Set auth.audience, or settings.auth_resource, to the API's identifier at "
    "the sign-in service, so that it issues JWT access tokens for that API: docs/how-to/openid-issuer.md."
)

log = logging.getLogger(__name__)

Fetch = Callable[[str], bytes]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:  # a redirect could lead to plain http or another host
        return None


def fetch(url: str, *, scheme: str, timeout_s: float = FETCH_TIMEOUT_S) -> bytes:
    """The body of a URL with this `scheme`, 1 MB at most, no redirects; OSError or ValueError if that fails.

    A server that sends its answer byte by byte times out after `timeout_s`, like one that sends nothing.
    """
    if not url.startswith(f"{scheme}://"):
        raise ValueError(f"not an {scheme} URL")
    until_s = time.monotonic() + timeout_s
    opener = urllib.request.build_opener(_NoRedirect)
    body = bytearray()
    with opener.open(url, timeout=timeout_s) as answer:
        while chunk := answer.read1(READ_BYTES):
            body += chunk
            if len(body) > FETCH_MAX_BYTES:
                raise ValueError(f"more than {FETCH_MAX_BYTES} bytes")
            if time.monotonic() > until_s:
                raise TimeoutError("too slow")
    return bytes(body)


def fetch_https(url: str) -> bytes:
    """`fetch` over https only, as every configured issuer requires."""
    return fetch(url, scheme="https")


class IssuerKeys:
    """The issuer's public keys. One download runs at a time.

    A request whose key is in the cache waits for newer keys for `patience_s` if it started the download, else not at
    all. A request whose key is missing waits until the download succeeds or times out.
    """

    def __init__(
        self,
        issuer: str,
        *,
        fetch: Fetch = fetch_https,
        now: Callable[[], float] = time.monotonic,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._issuer, self._fetch, self._now, self._patience_s = issuer, fetch, now, patience_s
        self._keys: dict[str, jwt.PyJWK] = {}
        self._published: set[str] = set()  # all key ids ever seen: a withdrawn key is not a new one
        self._fetched_s: float | None = None
        self._asked_s: float | None = None
        self._searched_s: float | None = None  # when an unknown key last caused a download
        self._asking: asyncio.Task[None] | None = None

    async def key(self, key_id: str) -> jwt.PyJWK | None:
        """The key, or None if the issuer has no such key.

        SignInUnavailableError: no keys can be downloaded. UnknownKeyError: the key may be newer than the cache, and it
        is too early to ask the issuer again.
        """
        began_s = self._now()
        is_search = key_id not in self._keys and self._fetched_s is not None
        if key_id not in self._keys or not self._is_younger_than(KEYS_FRESH_S):
            is_patient = key_id not in self._keys or not self._is_younger_than(KEYS_STALE_S)
            await self._renew(is_search=is_search, is_patient=is_patient)
        if self._fetched_s is None or not self._is_younger_than(KEYS_STALE_S):
            raise SignInUnavailableError(
                "The keys of the sign-in service cannot be read at the moment. Try again shortly.",
                retry_after_s=self._next_ask_s(is_search=False),
            )
        if key_id not in self._published and self._fetched_s < began_s:
            raise UnknownKeyError(
                "Your sign-in cannot be checked yet, because it uses a key that is not known here. Try again shortly.",
                retry_after_s=self._next_ask_s(is_search=is_search),
            )
        return self._keys.get(key_id)

    def _is_younger_than(self, age_s: float) -> bool:
        return self._fetched_s is not None and self._now() - self._fetched_s < age_s

    def _wait_s(self, *, is_search: bool) -> float:
        """Seconds until the next download is allowed. Searches for unknown keys only wait for the previous search."""
        last_s = self._searched_s if is_search else self._asked_s
        pause_s = RETRY_S if self._fetched_s is None else REFETCH_S
        return 0.0 if last_s is None else pause_s - (self._now() - last_s)

    def _next_ask_s(self, *, is_search: bool) -> int:
        """`_wait_s` in whole seconds, at least one."""
        return max(1, math.ceil(self._wait_s(is_search=is_search)))

    async def _renew(self, *, is_search: bool, is_patient: bool) -> None:
        if self._asking is None or self._asking.done():
            if self._wait_s(is_search=is_search) > 0:
                return
            if is_search:
                self._searched_s = self._now()
            self._asking = asyncio.create_task(self._ask())
        elif not is_patient:
            return
        await asyncio.wait({self._asking}, timeout=None if is_patient else self._patience_s)
        if self._asking.done():
            self._asking.result()

    async def _ask(self) -> None:
        self._asked_s = self._now()
        try:
            self._keys, published = await asyncio.to_thread(self._download)
            self._published |= published
            self._fetched_s = self._now()
        except (OSError, *jwt_claims.NONSENSE):  # the issuer is down, or its documents are malformed
            return  # cached keys stay valid until they are KEYS_STALE_S old

    def _download(self) -> tuple[dict[str, jwt.PyJWK], set[str]]:
        """The usable keys, and the ids of all published ones."""
        discovery = json.loads(self._fetch(self._issuer.rstrip("/") + "/.well-known/openid-configuration"))
        if discovery["issuer"] != self._issuer:
            raise ValueError("the discovery document names another issuer")
        entries = json.loads(self._fetch(discovery["jwks_uri"]))["keys"]
        keys = jwt_claims.usable(entries)
        if not keys:
            raise ValueError("the issuer publishes no usable key")
        return keys, {str(entry["kid"]) for entry in entries if isinstance(entry, dict) and "kid" in entry}


class BearerToken:
    """Accepts JWTs of one issuer for one audience.

    Cognito's access tokens have `client_id` instead of `aud`; its `token_use` tells them from ID tokens.
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        *,
        keys: IssuerKeys,
        claims: Sequence[str] = (),
        roles: OperatorRoles | None = None,
    ) -> None:
        self._roles = roles or OperatorRoles()
        self._issuer, self._audience, self._keys, self._claims = issuer, audience, keys, claims
        self._has_warned = False

    async def __call__(self, authorization: str | None) -> User:
        token = bearer(authorization)
        self._warn_of_opaque(token)
        header = jwt_claims.header_of(token)
        if jwt_claims.claims_issuer(token) != self._issuer:
            raise AuthError(jwt_claims.INVALID)
        key = await self._keys.key(str(header.get("kid")))
        if key is None or key.algorithm_name != header["alg"]:
            raise AuthError(jwt_claims.INVALID)
        claims = jwt_claims.claims_of(token, key, issuer=self._issuer)
        use = claims.get("token_use")
        audience = claims.get("client_id") if use == "access" and "aud" not in claims else claims.get("aud")
        if use not in (None, "access") or not jwt_claims.names(audience, self._audience):
            raise AuthError(jwt_claims.INVALID)
        chosen = jwt_claims.chosen(claims, self._claims)
        operates = self._roles.of_issuer(claims)
        return user_of(self._issuer, claims["sub"], chosen, operates=operates, until_s=int(claims["exp"]))

    def _warn_of_opaque(self, token: str) -> None:
        """Log what to change if this token is no JWT, once in a process because anybody can send such a token."""
        if len(token.split(".")) != JWT_PARTS and not self._has_warned:
            self._has_warned = True
            log.warning("opaque_token", extra={"reason": OPAQUE})
