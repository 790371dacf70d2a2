"""The bearer token of the Authorization header, and the opaque user id that is derived from it. Knows no JWT."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Protocol

from lambda_src.context import Claim, User
from lambda_src.errors import AuthError

NO_TOKEN = "Sign in first: this request carries no bearer token."  # noqa: S105 - a message


class Authenticate(Protocol):
    """An authenticator: returns the user that the Authorization header proves; AuthError if it proves none."""

    async def __call__(self, authorization: str | None) -> User: ...


def bearer(authorization: str | None) -> str:
    """The token in the header (RFC 6750, section 2.1); AuthError if there is none."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise AuthError(NO_TOKEN)
    return token


def user_of(
    issuer: str,
    subject: str,
    claims: Mapping[str, Claim] | None = None,
    *,
    operates: frozenset[str] = frozenset(),
    until_s: int = 0,
) -> User:
    """The user with this `iss` and `sub`. `claims` are those that tools may read; `operates`, `until_s`: see User."""
    return User(
        id=user_id_of(issuer, subject),
        issuer=issuer,
        subject=subject,
        claims=MappingProxyType(dict(claims or {})),
        operates=operates,
        until_s=until_s,
    )


def user_id_of(issuer: str, subject: str) -> str:
    """The opaque id of the user with this `iss` and `sub`: it reveals neither and contains no dot."""
    proof = json.dumps([issuer, subject]).encode()
    return hashlib.sha256(proof).hexdigest()[:40]


class FirstOf:
    """Returns the user of the first authenticator that accepts the token. List those without a network call first.

    Each authenticator has its own keys and algorithms, so a token of one kind is never accepted as one of another.
    """

    def __init__(self, *authenticators: Authenticate) -> None:
        *self._before, self._last = authenticators

    async def __call__(self, authorization: str | None) -> User:
        for authenticate in self._before:
            with suppress(AuthError):
                return await authenticate(authorization)
        return await self._last(authorization)
