"""Guest tokens: minting, expiry, one user per token, and rotation of the signing secret."""

import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from lambda_src.auth import FirstOf, GuestTokens, user_of
from lambda_src.auth.bearer import bearer
from lambda_src.auth.guest_tokens import LIFETIME_S
from lambda_src.context import User
from lambda_src.errors import AuthError, UnavailableError
from lambda_src.rotating_secret import OLDEST_S, REREAD_S, Secret
from tests.auth.attacks import raw
from tests.fakes.issuer import Issuer

KEY = "k" * 64


class SecretStore:
    """A fake secret store with a clock; `reads` counts the reads."""

    value, reads, now_s = KEY, 0, 1000.0

    def __call__(self) -> str:
        self.reads += 1
        return self.value

    def now(self) -> float:
        return self.now_s


@pytest.fixture
def secret_store() -> SecretStore:
    return SecretStore()


@pytest.fixture
def guests(secret_store: SecretStore) -> GuestTokens:
    return GuestTokens(Secret(secret_store, oldest_s=OLDEST_S, now=secret_store.now))


async def test_each_minted_token_is_a_separate_guest(guests: GuestTokens, secret_store: SecretStore) -> None:
    users = [await guests(f"Bearer {(await guests.mint()).token}") for _ in range(5)]
    assert len({user.id for user in users}) == 5
    assert all(user.is_guest for user in users)
    assert secret_store.reads == 1


async def test_a_token_contains_its_expiry(guests: GuestTokens) -> None:
    minted = await guests.mint()
    claims = jwt.decode(minted.token, options={"verify_signature": False})
    assert claims["exp"] == minted.expires_at
    assert LIFETIME_S - 60 < minted.expires_at - time.time() <= LIFETIME_S


@pytest.mark.parametrize(
    "claims",
    [{"aud": "chat"}, {"iss": "https://issuer.test/"}, {"exp": 1}, {"exp": None}, {"sub": None}],
    ids=["audience", "issuer", "expired", "never-expires", "no-subject"],
)
async def test_a_token_that_we_did_not_mint_is_refused(guests: GuestTokens, claims: dict[str, object]) -> None:
    minted = jwt.decode((await guests.mint()).token, options={"verify_signature": False})
    payload = {name: value for name, value in (minted | claims).items() if value is not None}
    with pytest.raises(AuthError):
        await guests(f"Bearer {jwt.encode(payload, KEY, algorithm='HS256')}")


async def test_another_secret_another_algorithm_and_none_are_refused(guests: GuestTokens) -> None:
    minted = jwt.decode((await guests.mint()).token, options={"verify_signature": False})
    for token in (
        jwt.encode(minted, "o" * 64, algorithm="HS256"),
        jwt.encode(minted, KEY, algorithm="HS384"),
        jwt.encode(minted, ec.generate_private_key(ec.SECP256R1()), algorithm="ES256"),
        raw({"alg": "none"}, minted),
        Issuer().token(),
    ):
        with pytest.raises(AuthError):
            await guests(f"Bearer {token}")


async def test_a_secret_rotated_by_another_process_is_read_again_once(secret_store: SecretStore) -> None:
    first, second = (GuestTokens(Secret(secret_store, oldest_s=OLDEST_S, now=secret_store.now)) for _ in range(2))
    await first.mint()
    secret_store.value = "n" * 64
    token = (await second.mint()).token
    with pytest.raises(AuthError):
        await first(f"Bearer {token}")  # it read the secret a moment ago
    secret_store.now_s += REREAD_S
    assert (await first(f"Bearer {token}")).is_guest


async def test_a_running_process_refuses_tokens_of_the_previous_secret(secret_store: SecretStore) -> None:
    guests = GuestTokens(Secret(secret_store, oldest_s=OLDEST_S, now=secret_store.now))
    token = (await guests.mint()).token
    secret_store.value = "n" * 64
    secret_store.now_s += OLDEST_S
    with pytest.raises(AuthError):
        await guests(f"Bearer {token}")
    assert (await guests(f"Bearer {(await guests.mint()).token}")).is_guest


async def test_wrong_tokens_do_not_cause_repeated_reads_of_the_secret(
    guests: GuestTokens, secret_store: SecretStore
) -> None:
    token = jwt.encode({"sub": "x"}, "o" * 64, algorithm="HS256")
    for _ in range(50):
        secret_store.now_s += 1
        with pytest.raises(AuthError):
            await guests(f"Bearer {token}")
    assert secret_store.reads <= 1 + 50 / REREAD_S + 50 / OLDEST_S


async def test_a_secret_that_is_too_short_mints_no_tokens(secret_store: SecretStore, guests: GuestTokens) -> None:
    secret_store.value = "short"
    with pytest.raises(UnavailableError):
        await guests.mint()


async def test_guest_tokens_work_next_to_another_authenticator(guests: GuestTokens) -> None:
    async def ann(authorization: str | None) -> User:
        if bearer(authorization) != "ann":
            raise AuthError("no")
        return user_of("i", "ann")

    either = FirstOf(guests, ann)
    assert await either("Bearer ann") == user_of("i", "ann")
    assert (await either(f"Bearer {(await guests.mint()).token}")).is_guest
    for header in (None, "Bearer bob", "Basic ann"):
        with pytest.raises(AuthError):
            await either(header)


def test_a_secret_is_not_printed() -> None:
    assert KEY not in repr(Secret(lambda: KEY))
