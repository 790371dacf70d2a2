"""Guests: people who need not sign in. Each gets a token of our own, signed and expiring, and is one user of their own.

The token is a JWT (HS256) that only this server makes and takes. Who may have one, and how often, is said in
lambda_src/auth/guest_access.py; what guests may spend, in lambda_src/quotas/turn_quota.py.
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
ALGORITHMS = ("HS256",)  # symmetric: signer and reader are one; never in the list of any other kind of token
LIFETIME_S = 7 * 86_400  # a guest who comes back within a week finds the thread again
MIN_SECRET_CHARS = 32  # RFC 7518, section 3.2: as many bits as the hash has


@dataclass(frozen=True, slots=True)
class Minted:
    """A new guest's token, and when it ends (epoch seconds)."""

    token: str
    expires_at: int


class GuestTokens:
    """Mints guests' tokens, and authenticates by them."""

    def __init__(self, secret: Secret, *, lifetime_s: int = LIFETIME_S, now: Callable[[], float] = time.time) -> None:
        self._secret, self._lifetime_s, self._now = secret, lifetime_s, now

    async def mint(self) -> Minted:
        """A token for a guest who was not there before."""
        expires_at = int(self._now()) + self._lifetime_s
        claims = {"iss": NAMESPACE, "aud": AUDIENCE, "sub": uuid.uuid4().hex, "exp": expires_at}
        return Minted(jwt.encode(claims, _key(await self._secret.value()), algorithm=ALGORITHMS[0]), expires_at)

    async def __call__(self, authorization: str | None) -> User:
        token = bearer(authorization)
        jwt_claims.head_of(token, algorithms=ALGORITHMS)
        secret = await self._secret.value()
        try:
            return self._user(token, secret)
        except AuthError:
            newer = await self._secret.newer_than(secret)  # another process may sign with a rotated one already
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
