"""Benchmark of token verification in a warm process: `make bench-auth`. It measures CPU time, not wall time."""

import asyncio
import statistics
import time
from collections.abc import Callable

import jwt
from cryptography.hazmat.primitives.asymmetric import ed25519
from jwt.algorithms import OKPAlgorithm

from lambda_src.auth import Authenticate, BackendToken, BearerToken, GuestTokens, IssuerKeys
from lambda_src.auth.jwt_claims import usable
from lambda_src.rotating_secret import Secret
from tests.bench import report
from tests.fakes.issuer import AUDIENCE, ISSUER, RSA_KEY, Issuer

MARK = "bench-auth"
ROUNDS, WARM_UP = 2_000, 50
TARGET_MS = 0.3


async def median_ms(authenticate: Authenticate, token: Callable[[], str]) -> float:
    """The median CPU milliseconds of a verification. Each round uses a new token."""
    times_ms = []
    for number in range(ROUNDS + WARM_UP):
        header = f"Bearer {token()}"
        began_ns = time.process_time_ns()
        await authenticate(header)
        if number >= WARM_UP:
            times_ms.append((time.process_time_ns() - began_ns) / 1e6)
    return statistics.median(times_ms)


async def main() -> None:
    """Measure each kind of token and write the section of the report."""
    issuer = Issuer()
    oidc = BearerToken(ISSUER, AUDIENCE, keys=IssuerKeys(ISSUER, fetch=issuer.fetch))
    key = ed25519.Ed25519PrivateKey.generate()
    public = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": "ed"}
    backend = BackendToken(usable([public]), AUDIENCE)
    guests = GuestTokens(Secret(lambda: "s" * 64))
    guest = (await guests.mint()).token
    rows: list[tuple[str, Authenticate, Callable[[], str]]] = [
        ("issuer, ES256", oidc, issuer.token),
        (
            "issuer, RS256",
            oidc,
            lambda: jwt.encode(issuer.claims(), RSA_KEY, algorithm="RS256", headers={"kid": "rsa-1"}),
        ),
        (
            "own backend, EdDSA",
            backend,
            lambda: jwt.encode(issuer.claims(exp=time.time() + 600), key, algorithm="EdDSA"),
        ),
        ("guest, HS256", guests, lambda: guest),
    ]
    measured = [(name, await median_ms(authenticate, token)) for name, authenticate, token in rows]
    text = report.section(
        MARK,
        [
            *["## Verifying a token", ""],
            f"`make bench-auth` on {report.machine()}. The median CPU time for {ROUNDS:,} tokens, with the keys "
            "already loaded.",
            "",
            *report.table(
                ("signed by", "measured", "aimed at"),
                [(name, f"{took_ms:.2f} ms", f"{TARGET_MS} ms") for name, took_ms in measured],
            ),
        ],
    )
    print(text)  # noqa: T201 - a command line
    report.write(MARK, text)


if __name__ == "__main__":
    asyncio.run(main())
