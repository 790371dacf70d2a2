"""Guest tokens: signed, expiring JWTs for people who do not sign in. Each token is a separate user.

Only this server issues and accepts these tokens (HS256). guest_access.py limits how many are issued, and
lambda_src/quotas/turn_quota.py what guests may spend.
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import jwt

from lambda_src.auth import jwt_claims
from lambda_src.auth.bearer import bearer, user_id_of
from lambda_src.context import User
from lambda_src.errors import AuthError, UnavailableError
from lambda_src.rotating_secret import Secret

NAMESPACE = "urn:chatkit-lambda:guest"
AUDIENCE = "guest"
ALGORITHMS = ("HS256",)  # symmetric, since this server signs and verifies; no other authenticator may accept it
LIFETIME_S = 7 * 86_400  # guests who come back within a week still see their threads
MIN_SECRET_CHARS = 32  # RFC 7518, section 3.2: a key as long as the hash


@dataclass(frozen=True, slots=True)
class Minted:
    """A new guest's token and its expiry in epoch seconds."""

    token: str
    expires_at: int


class GuestTokens:
    """Issues guest tokens and authenticates their bearers."""

    def __init__(self, secret: Secret, *, lifetime_s: int = LIFETIME_S, now: Callable[[], float] = time.time) -> None:
        self._secret, self._lifetime_s, self._now = secret, lifetime_s, now

    async def mint(self) -> Minted:
        """A token for a new guest."""
        expires_at = int(self._now()) + self._lifetime_s
        claims = {"iss": NAMESPACE, "aud": AUDIENCE, "sub": uuid.uuid4().hex, "exp": expires_at}
        return Minted(jwt.encode(claims, _key(await self._secret.value()), algorithm=ALGORITHMS[0]), expires_at)

    async def __call__(self, authorization: str | None) -> User:
        token = bearer(authorization)
        jwt_claims.header_of(token, algorithms=ALGORITHMS)
        secret = await self._secret.value()
        try:
            return self._user(token, secret)
        except AuthError:
            newer = await self._secret.newer_than(secret)  # another process may already sign with a rotated secret
            if newer is None:
                raise
            return self._user(token, newer)

    @staticmethod
    def _user(token: str, secret: str) -> User:
        claims = jwt_claims.claims_of(token, _key(secret), algorithms=ALGORITHMS, issuer=NAMESPACE)
        if not jwt_claims.names(claims.get("aud"), AUDIENCE):
            raise AuthError(jwt_claims.INVALID)
        return User(user_id_of(NAMESPACE, claims["sub"]), is_guest=True)


def _key(secret: str) -> bytes:
    if len(secret) < MIN_SECRET_CHARS:
        raise UnavailableError("Guests cannot be let in at the moment: their secret is too short.")
    return secret.encode()
