"""The Authorization header and what it proves: one opaque user. Knows no JWT."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Protocol

from lambda_src.context import Claim, User
from lambda_src.errors import AuthError

NO_TOKEN = "Sign in first: this request carries no bearer token."  # noqa: S105 - a sentence


class Authenticate(Protocol):
    """Who calls? Takes the Authorization header as it came; AuthError when it proves nobody."""

    async def __call__(self, authorization: str | None) -> User: ...


def bearer(authorization: str | None) -> str:
    """The token in the header (RFC 6750, section 2.1); AuthError when there is none."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise AuthError(NO_TOKEN)
    return token


def user_of(issuer: str, subject: str, claims: Mapping[str, Claim] | None = None) -> User:
    """The user with this `iss` and `sub`. `claims` are those that tools may read."""
    frozen = MappingProxyType(dict(claims or {}))
    return User(id=user_id_of(issuer, subject), issuer=issuer, subject=subject, claims=frozen)


def user_id_of(issuer: str, subject: str) -> str:
    """The opaque id of the user with this `iss` and `sub`. It reveals neither, and has no dot."""
    proof = json.dumps([issuer, subject]).encode()
    return hashlib.sha256(proof).hexdigest()[:40]


class FirstOf:
    """Authenticate by the first of several ways that knows the token; those that ask nobody else stand in front.

    Each way has its own keys and its own algorithms, so no token can be taken for one of another kind.
    """

    def __init__(self, *ways: Authenticate) -> None:
        *self._before, self._last = ways

    async def __call__(self, authorization: str | None) -> User:
        for way in self._before:
            with suppress(AuthError):
                return await way(authorization)
        return await self._last(authorization)
