"""Bearer tokens: who gets in, who does not, and what happens while the issuer is away."""

import base64
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from lambda_src.auth import KEYS_FRESH_S, KEYS_STALE_S, REFETCH_S, BearerToken, IssuerKeys, fetch_https, user_of
from lambda_src.errors import AuthError, UnavailableError
from tests.issuer import AUDIENCE, ISSUER, Issuer


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def authenticate(issuer: Issuer, clock: Clock) -> BearerToken:
    return BearerToken(ISSUER, AUDIENCE, keys=IssuerKeys(ISSUER, fetch=issuer.fetch, now=clock))


async def test_a_sound_token_names_its_user(issuer: Issuer, authenticate: BearerToken) -> None:
    assert await authenticate(f"Bearer {issuer.token()}") == user_of(ISSUER, "ann")
    assert await authenticate(f"bearer {issuer.token(aud=['other', AUDIENCE])}") == user_of(ISSUER, "ann")


async def test_a_cognito_access_token_says_client_id_instead_of_aud(issuer: Issuer, authenticate: BearerToken) -> None:
    token = issuer.token(aud=None, client_id=AUDIENCE, token_use="access")
    assert await authenticate(f"Bearer {token}") == user_of(ISSUER, "ann")


def test_a_user_is_one_issuers_subject_and_tells_nothing() -> None:
    people = {user_of(i, s, scope=c).id for i in ("a", "b") for s in ("a", "b", "a|b") for c in ("", "a")}
    assert len(people) == 12
    assert user_of("i", "ann@example.com").id.isalnum()


def unsigned(claims: dict[str, Any], **head: str) -> str:
    parts = ({"alg": "none", "typ": "JWT", **head}, claims)
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + "."


NOW = int(time.time())
CLAIMS = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": NOW + 3600}
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Basic YTpi", "Bearer a.b.c", "Bearer ...", "Bearer \x00", "Bearer é"],
)
async def test_no_token_or_no_jwt_is_refused(authenticate: BearerToken, header: str | None) -> None:
    with pytest.raises(AuthError):
        await authenticate(header)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://issuer.test"},
        {"iss": "https://evil.test/"},
        {"iss": None},
        {"aud": "other"},
        {"aud": None},
        {"aud": []},
        {"aud": None, "client_id": AUDIENCE},
        {"aud": None, "client_id": AUDIENCE, "token_use": "id"},
        {"exp": NOW - 120},
        {"exp": None},
        {"exp": "soon"},
        {"nbf": NOW + 600},
        {"sub": None},
    ],
    ids=str,
)
async def test_a_claim_that_does_not_hold_is_refused(
    issuer: Issuer, authenticate: BearerToken, claims: dict[str, Any]
) -> None:
    with pytest.raises(AuthError, match="not valid"):
        await authenticate(f"Bearer {issuer.token(**claims)}")


@pytest.mark.parametrize(
    "token",
    [
        unsigned(CLAIMS, kid="key-1"),
        unsigned(CLAIMS),
        jwt.encode(CLAIMS, "secret-that-is-long-enough-for-hs256", algorithm="HS256", headers={"kid": "key-1"}),
        jwt.encode(CLAIMS, OTHER_KEY, algorithm="ES256", headers={"kid": "key-1"}),
        jwt.encode(CLAIMS, OTHER_KEY, algorithm="ES256", headers={"kid": "key-2"}),
        jwt.encode(CLAIMS, OTHER_KEY, algorithm="ES256"),
        jwt.encode(CLAIMS, OTHER_KEY, algorithm="ES256", headers={"kid": "key-1", "jku": "https://evil.test/keys"}),
    ],
    ids=["none", "none-without-kid", "hs256", "other-key", "unknown-kid", "no-kid", "jku"],
)
async def test_a_signature_that_is_not_the_issuers_is_refused(authenticate: BearerToken, token: str) -> None:
    with pytest.raises(AuthError, match="not valid"):
        await authenticate(f"Bearer {token}")


async def test_keys_are_asked_for_once_and_again_when_they_are_old(
    issuer: Issuer, authenticate: BearerToken, clock: Clock
) -> None:
    for _ in range(5):
        await authenticate(f"Bearer {issuer.token()}")
    assert len(issuer.fetched) == 2  # discovery and keys
    clock.now_s += KEYS_FRESH_S
    await authenticate(f"Bearer {issuer.token()}")
    assert len(issuer.fetched) == 4


async def test_a_rotated_key_is_found_at_once_but_unknown_keys_cannot_hammer_the_issuer(
    issuer: Issuer, authenticate: BearerToken, clock: Clock
) -> None:
    await authenticate(f"Bearer {issuer.token()}")
    clock.now_s += REFETCH_S
    issuer.rotate("key-2")
    assert await authenticate(f"Bearer {issuer.token()}") == user_of(ISSUER, "ann")
    asked = len(issuer.fetched)
    for number in range(50):
        with pytest.raises(AuthError):
            await authenticate(f"Bearer {issuer.token(head={'kid': f'unknown-{number}'})}")
    assert len(issuer.fetched) == asked


async def test_known_keys_outlive_the_issuers_outage_for_a_day(
    issuer: Issuer, authenticate: BearerToken, clock: Clock
) -> None:
    await authenticate(f"Bearer {issuer.token()}")
    issuer.down = True
    clock.now_s += KEYS_STALE_S - 1
    assert await authenticate(f"Bearer {issuer.token()}") == user_of(ISSUER, "ann")
    clock.now_s += 2 + REFETCH_S
    with pytest.raises(UnavailableError):
        await authenticate(f"Bearer {issuer.token()}")


@pytest.mark.parametrize(
    "answer", [b"not json", b"{}", b'{"issuer": "https://evil.test/", "jwks_uri": "https://evil.test/keys"}', b"[]"]
)
async def test_an_issuer_that_answers_nonsense_is_unavailable(answer: bytes, issuer: Issuer) -> None:
    authenticate = BearerToken(ISSUER, AUDIENCE, keys=IssuerKeys(ISSUER, fetch=lambda _: answer))
    with pytest.raises(UnavailableError):
        await authenticate(f"Bearer {issuer.token()}")


@pytest.mark.parametrize("url", ["http://issuer.test/keys", "file:///etc/passwd", "ftp://issuer.test/"])
def test_keys_are_read_over_https_only(url: str) -> None:
    with pytest.raises(ValueError, match="https"):
        fetch_https(url)
