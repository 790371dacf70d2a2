"""Joins what the settings say of who may call and what they may spend. Builds no client: secrets' reader comes in."""

import time
from collections.abc import Callable
from functools import partial

from lambda_src.auth import Authenticate, BackendToken, BearerToken, FirstOf, GuestTokens, IssuerKeys
from lambda_src.auth.guest_access import Guests
from lambda_src.auth.jwt_claims import usable
from lambda_src.errors import SettingsError
from lambda_src.http import edge
from lambda_src.quotas.file_quota import FileAllowance, FileQuota
from lambda_src.quotas.source_addresses import Callers
from lambda_src.quotas.turn_limits import limits_by
from lambda_src.quotas.turn_quota import Allowance, Quotas
from lambda_src.rotating_secret import OLDEST_S, Secret
from lambda_src.runs.hooks import Screening
from lambda_src.settings import Settings
from lambda_src.store.counters import Counters
from lambda_src.store.ports import TurnLedger

ReadSecret = Callable[[str], str]


def guest_tokens(
    settings: Settings, read_secret: ReadSecret, *, now: Callable[[], float] = time.monotonic
) -> GuestTokens | None:
    """Guests' tokens; None where the stage has no guests. The secret is read when the first of them comes."""
    if (name := settings.guest_secret) is None:
        return None
    return GuestTokens(Secret(lambda: read_secret(name), oldest_s=OLDEST_S, now=now))


def authenticator(settings: Settings, guests: GuestTokens | None) -> Authenticate:
    """Who may call. SettingsError when a public key is none that can be used; Settings refuses that nobody may."""
    ways: list[Authenticate] = [] if guests is None else [guests]
    audience = settings.auth_audience or ""
    if settings.auth_public_keys is not None:
        keys = usable(settings.auth_public_keys)
        if len(keys) != len(settings.auth_public_keys):
            raise SettingsError(
                ["CHAT_AUTH_PUBLIC_KEYS must be public JWKs (EdDSA, ES256, RS256), each with its `kid`."]
            )
        ways.append(BackendToken(keys, audience, claims=settings.claims))
    if settings.auth_issuer is not None:
        issuer_keys = IssuerKeys(settings.auth_issuer)
        ways.append(BearerToken(settings.auth_issuer, audience, keys=issuer_keys, claims=settings.claims))
    return ways[0] if len(ways) == 1 else FirstOf(*ways)


def middleware(settings: Settings, read_secret: ReadSecret) -> list[edge.Middleware]:
    """What asks before any route does, the outermost first. Secrets are read when the first request comes."""
    found: list[edge.Middleware] = []
    if settings.origin_secrets is not None:
        found.append(
            edge.cloudfront_secret_middleware(*(Secret(partial(read_secret, arn)) for arn in settings.origin_secrets))
        )
    elif settings.origin_signed:
        found.append(edge.AsViewer)
    if settings.cors_origins is not None:
        found.append(edge.cors_middleware(settings.cors_origins, token_header=settings.token_header))
    return found


def quotas(
    settings: Settings, ledger: TurnLedger, counters: Counters, *, clock: Callable[[], int] = time.time_ns
) -> Quotas:
    """What people may spend; without limits, the operator's switch alone."""
    allowance = Allowance(
        messages_per_minute=settings.messages_per_minute,
        messages_per_day=settings.messages_per_day,
        running=settings.running_turns,
        tokens_per_day=settings.tokens_per_day,
        stage_tokens_per_day=settings.stage_tokens_per_day,
        guest_messages_per_day=settings.guest_messages_per_day,
        guest_tokens_percent=settings.guest_tokens_percent,
    )
    return Quotas(ledger, counters, allowance, limits=limits_by(settings), clock=clock, now=lambda: clock() / 1e9)


def file_quota(settings: Settings, counters: Counters) -> FileQuota:
    """What people may bring in a day; without limits, what guests may."""
    return FileQuota(counters, FileAllowance(settings.files_per_day, settings.file_bytes_per_day))


def guests(
    tokens: GuestTokens | None,
    counters: Counters,
    callers: Callers | None = None,
    screening: Screening | None = None,
    *,
    clock: Callable[[], int] = time.time_ns,
) -> Guests | None:
    """Who lets guests in; None where the stage has none."""
    return None if tokens is None else Guests(tokens, counters, callers=callers, screening=screening, clock=clock)
