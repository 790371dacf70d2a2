"""Authenticator for JWTs that the customer's own backend signs; its public keys are a setting. No network.

The token is a JWT (EdDSA, ES256 or RS256) with `sub`, `aud`, an `exp` at most LONGEST_S ahead and the key's id as
`kid`, which may be left out if there is only one key. docs/how-to/backend-tokens.md shows how to sign it.
"""

import time
from collections.abc import Callable, Mapping, Sequence

import jwt

from lambda_src.auth import jwt_claims
from lambda_src.auth.bearer import bearer, user_of
from lambda_src.auth.operators import OperatorRoles
from lambda_src.context import User
from lambda_src.errors import AuthError

NAMESPACE = "urn:chatkit-lambda:backend"  # the issuer in the user id, whatever the token's `iss` is
LONGEST_S = 3600  # tokens are made for each page view; one that is valid for years would be a password


class BackendToken:
    """Accepts JWTs that one of `keys` signed for `audience`.

    Tools may read the claims named by `claims`; `roles` decides who is an operator.
    """

    def __init__(
        self,
        keys: Mapping[str, jwt.PyJWK],
        audience: str,
        *,
        claims: Sequence[str] = (),
        roles: OperatorRoles | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._roles = roles or OperatorRoles()
        self._keys, self._audience, self._claims, self._now = keys, audience, claims, now

    async def __call__(self, authorization: str | None) -> User:
        token = bearer(authorization)
        header = jwt_claims.header_of(token)
        only = next(iter(self._keys.values())) if len(self._keys) == 1 else None
        key = self._keys.get(header["kid"]) if "kid" in header else only
        if key is None or key.algorithm_name != header["alg"]:
            raise AuthError(jwt_claims.INVALID)
        claims = jwt_claims.claims_of(token, key)
        is_short = claims["exp"] <= self._now() + LONGEST_S + jwt_claims.LEEWAY_S
        if not is_short or not jwt_claims.names(claims.get("aud"), self._audience):
            raise AuthError(jwt_claims.INVALID)
        chosen = jwt_claims.chosen(claims, self._claims)
        operates = self._roles.of_backend(claims)
        return user_of(NAMESPACE, claims["sub"], chosen, operates=operates, until_s=int(claims["exp"]))
