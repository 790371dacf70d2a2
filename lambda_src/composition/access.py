"""Builds authentication, guests and CORS from the settings. Creates no AWS client."""

import time
from collections.abc import Callable
from functools import partial

from lambda_src.auth import Authenticate, BackendToken, BearerToken, FirstOf, GuestTokens, IssuerKeys
from lambda_src.auth.guest_access import Guests
from lambda_src.auth.jwt_claims import usable
from lambda_src.auth.operators import OperatorRoles
from lambda_src.errors import SettingsError
from lambda_src.http import edge
from lambda_src.quotas.source_addresses import Callers
from lambda_src.rotating_secret import OLDEST_S, Secret
from lambda_src.runs.hooks import Screening
from lambda_src.settings import Settings
from lambda_src.store.counters import Counters

ReadSecret = Callable[[str], str]


def guest_tokens(
    settings: Settings, read_secret: ReadSecret, *, now: Callable[[], float] = time.monotonic
) -> GuestTokens | None:
    """Guest tokens; None if the stage has no guests. The secret is read for the first guest."""
    if (name := settings.guest_secret) is None:
        return None
    return GuestTokens(Secret(lambda: read_secret(name), oldest_s=OLDEST_S, now=now))


def authenticator(settings: Settings, guests: GuestTokens | None) -> Authenticate:
    """The authenticator of a stage; SettingsError if a public key is unusable. Settings require at least one."""
    authenticators: list[Authenticate] = [] if guests is None else [guests]
    audience, roles = settings.auth_audience or "", OperatorRoles(settings.operators)
    if settings.auth_public_keys is not None:
        keys = usable(settings.auth_public_keys)
        if len(keys) != len(settings.auth_public_keys):
            raise SettingsError(
                ["CHAT_AUTH_PUBLIC_KEYS must be public JWKs (EdDSA, ES256, RS256), each with its `kid`."]
            )
        authenticators.append(BackendToken(keys, audience, claims=settings.claims, roles=roles))
    if settings.auth_issuer is not None:
        issuer_keys = IssuerKeys(settings.auth_issuer)
        authenticators.append(
            BearerToken(settings.auth_issuer, audience, keys=issuer_keys, claims=settings.claims, roles=roles)
        )
    return authenticators[0] if len(authenticators) == 1 else FirstOf(*authenticators)


def middleware(settings: Settings, read_secret: ReadSecret) -> list[edge.Middleware]:
    """The middleware that runs before every route, the outermost first. Secrets are read with the first request."""
    chain: list[edge.Middleware] = []
    if settings.origin_secrets is not None:
        chain.append(
            edge.cloudfront_secret_middleware(*(Secret(partial(read_secret, arn)) for arn in settings.origin_secrets))
        )
    elif settings.origin_signed:
        chain.append(edge.AsViewer)
    if settings.cors_origins is not None and not settings.cors_at_url:
        chain.append(edge.cors_middleware(settings.cors_origins, token_header=settings.token_header))
    return chain


def guests(
    tokens: GuestTokens | None,
    counters: Counters,
    callers: Callers | None = None,
    screening: Screening | None = None,
    *,
    clock: Callable[[], int] = time.time_ns,
) -> Guests | None:
    """The service that admits guests; None if the stage has none."""
    return None if tokens is None else Guests(tokens, counters, callers=callers, screening=screening, clock=clock)
