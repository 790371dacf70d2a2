"""Tokens of an OpenID issuer: its keys found by discovery, cached, asked for again within bounds. Knows no user store.

Rules: OpenID Connect Discovery 1.0, section 4 (the document's issuer must be ours, to the letter) and RFC 7517.
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
from lambda_src.context import User
from lambda_src.errors import AuthError, SignInUnavailableError, UnknownKeyError

KEYS_FRESH_S = 600  # how long fetched keys serve without asking again
KEYS_STALE_S = 24 * 3600  # how long they serve while the issuer is down
REFETCH_S = 60  # an unknown key id asks the issuer again, at most this often: no one can make us hammer it
RETRY_S = 1  # while we have no keys at all nobody gets in, so ask more often
PATIENCE_S = 0.5  # for newer keys, of a request whose key would serve: a withdrawn one is noticed, an outage is not
FETCH_TIMEOUT_S = 2.0  # of silence, and until the last read may begin: a document takes twice that at most
FETCH_MAX_BYTES = 1_000_000
READ_BYTES = 65_536

JWT_PARTS = 3  # an encrypted token has five, a reference to one usually one
OPAQUE = (
    "The access token is not a signed JWT. Set auth.audience, or auth.resource, to the API's identifier at the sign-in "
    "service, so that it issues JWT access tokens for that API: docs/auth.md."
)

log = logging.getLogger(__name__)

Fetch = Callable[[str], bytes]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:  # a redirect could leave https, or our issuer
        return None


def fetch(url: str, *, scheme: str, timeout_s: float = FETCH_TIMEOUT_S) -> bytes:
    """The body behind a URL of `scheme`, 1 MB at most, no redirects; OSError or ValueError when it cannot be had.

    A server that sends its answer byte by byte is given up after `timeout_s` like one that sends nothing.
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
    """`fetch`, over https only: the rule wherever an issuer is configured."""
    return fetch(url, scheme="https")


class IssuerKeys:
    """The issuer's public keys. One task asks at a time.

    Whoever's key still serves waits `patience_s` for newer ones if it asked itself, else not at all; whoever has none
    waits until the issuer has answered or is given up.
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
        self._published: set[str] = set()  # every key id that the issuer has ever had: a withdrawn key is not a new one
        self._fetched_s: float | None = None
        self._asked_s: float | None = None
        self._searched_s: float | None = None  # when a key that we did not know was last asked for
        self._asking: asyncio.Task[None] | None = None

    async def key(self, key_id: str) -> jwt.PyJWK | None:
        """The key, or None when the issuer has no such key.

        SignInUnavailableError: the keys cannot be read. UnknownKeyError: the key may be newer than the keys we have,
        and it is too early to ask the issuer again.
        """
        began_s = self._now()
        is_search = key_id not in self._keys and self._fetched_s is not None
        if key_id not in self._keys or not self._is_younger_than(KEYS_FRESH_S):
            await self._renew(is_search=is_search, is_patient=not self._serves(key_id))
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

    def _serves(self, key_id: str) -> bool:
        return key_id in self._keys and self._is_younger_than(KEYS_STALE_S)

    def _is_younger_than(self, age_s: float) -> bool:
        return self._fetched_s is not None and self._now() - self._fetched_s < age_s

    def _wait_s(self, *, is_search: bool) -> float:
        """How long until the issuer may be asked again: a search for an unknown key waits for the last search alone."""
        last_s = self._searched_s if is_search else self._asked_s
        pause_s = RETRY_S if self._fetched_s is None else REFETCH_S
        return 0.0 if last_s is None else pause_s - (self._now() - last_s)

    def _next_ask_s(self, *, is_search: bool) -> int:
        """The same in whole seconds, at least one."""
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
        except (OSError, *jwt_claims.NONSENSE):  # down, or nonsense
            return  # what we have goes on serving until it is KEYS_STALE_S old

    def _download(self) -> tuple[dict[str, jwt.PyJWK], set[str]]:
        """The keys that serve, and the ids of all that are published."""
        found = json.loads(self._fetch(self._issuer.rstrip("/") + "/.well-known/openid-configuration"))
        if found["issuer"] != self._issuer:
            raise ValueError("the discovery document names another issuer")
        entries = json.loads(self._fetch(found["jwks_uri"]))["keys"]
        keys = jwt_claims.usable(entries)
        if not keys:
            raise ValueError("the issuer publishes no key that we take")
        return keys, {str(entry["kid"]) for entry in entries if isinstance(entry, dict) and "kid" in entry}


class BearerToken:
    """Authenticate by a JWT of one issuer for one audience.

    Cognito's access tokens say `client_id` instead of `aud`, and `token_use`: its ID tokens are no access tokens.
    """

    def __init__(self, issuer: str, audience: str, *, keys: IssuerKeys, claims: Sequence[str] = ()) -> None:
        self._issuer, self._audience, self._keys, self._claims = issuer, audience, keys, claims
        self._has_warned = False

    async def __call__(self, authorization: str | None) -> User:
        token = bearer(authorization)
        self._warn_of_opaque(token)
        head = jwt_claims.head_of(token)
        if jwt_claims.claims_issuer(token) != self._issuer:
            raise AuthError(jwt_claims.INVALID)
        key = await self._keys.key(str(head.get("kid")))
        if key is None or key.algorithm_name != head["alg"]:
            raise AuthError(jwt_claims.INVALID)
        claims = jwt_claims.claims_of(token, key, issuer=self._issuer)
        use = claims.get("token_use")
        audience = claims.get("client_id") if use == "access" and "aud" not in claims else claims.get("aud")
        if use not in (None, "access") or not jwt_claims.names(audience, self._audience):
            raise AuthError(jwt_claims.INVALID)
        return user_of(self._issuer, claims["sub"], jwt_claims.chosen(claims, self._claims))

    def _warn_of_opaque(self, token: str) -> None:
        """Log what to change, once in a process: anybody can send such a token, and it is refused like any other."""
        if len(token.split(".")) != JWT_PARTS and not self._has_warned:
            self._has_warned = True
            log.warning("opaque_token", extra={"reason": OPAQUE})
