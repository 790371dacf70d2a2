"""Guests' tokens: ours alone, expiring, one user each; and what a rotated secret means."""

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


class Kept:
    """A secret where it is kept, and how often it was read."""

    value, reads, now_s = KEY, 0, 1000.0

    def __call__(self) -> str:
        self.reads += 1
        return self.value

    def now(self) -> float:
        return self.now_s


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def guests(kept: Kept) -> GuestTokens:
    return GuestTokens(Secret(kept, oldest_s=OLDEST_S, now=kept.now))


async def test_each_minted_token_is_a_guest_of_its_own(guests: GuestTokens, kept: Kept) -> None:
    users = [await guests(f"Bearer {(await guests.mint()).token}") for _ in range(5)]
    assert len({user.id for user in users}) == 5
    assert all(user.is_guest for user in users)
    assert kept.reads == 1


async def test_a_token_says_when_it_ends(guests: GuestTokens) -> None:
    minted = await guests.mint()
    claims = jwt.decode(minted.token, options={"verify_signature": False})
    assert claims["exp"] == minted.expires_at
    assert LIFETIME_S - 60 < minted.expires_at - time.time() <= LIFETIME_S


@pytest.mark.parametrize(
    "claims",
    [{"aud": "chat"}, {"iss": "https://issuer.test/"}, {"exp": 1}, {"exp": None}, {"sub": None}],
    ids=["audience", "issuer", "expired", "never-expires", "no-subject"],
)
async def test_what_we_did_not_mint_is_refused(guests: GuestTokens, claims: dict[str, object]) -> None:
    minted = jwt.decode((await guests.mint()).token, options={"verify_signature": False})
    payload = {name: value for name, value in (minted | claims).items() if value is not None}
    with pytest.raises(AuthError):
        await guests(f"Bearer {jwt.encode(payload, KEY, algorithm='HS256')}")


async def test_neither_another_secret_nor_another_algorithm_nor_none_will_do(guests: GuestTokens) -> None:
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


async def test_a_secret_that_another_process_rotated_is_read_again_once(kept: Kept) -> None:
    here, there = (GuestTokens(Secret(kept, oldest_s=OLDEST_S, now=kept.now)) for _ in range(2))
    await here.mint()
    kept.value = "n" * 64
    token = (await there.mint()).token
    with pytest.raises(AuthError):
        await here(f"Bearer {token}")  # read a moment ago
    kept.now_s += REREAD_S
    assert (await here(f"Bearer {token}")).is_guest


async def test_a_token_of_the_secret_before_is_refused_by_a_process_that_goes_on(kept: Kept) -> None:
    here = GuestTokens(Secret(kept, oldest_s=OLDEST_S, now=kept.now))
    token = (await here.mint()).token
    kept.value = "n" * 64
    kept.now_s += OLDEST_S
    with pytest.raises(AuthError):
        await here(f"Bearer {token}")
    assert (await here(f"Bearer {(await here.mint()).token}")).is_guest


async def test_wrong_tokens_do_not_make_us_read_the_secret_again_and_again(guests: GuestTokens, kept: Kept) -> None:
    token = jwt.encode({"sub": "x"}, "o" * 64, algorithm="HS256")
    for _ in range(50):
        kept.now_s += 1
        with pytest.raises(AuthError):
            await guests(f"Bearer {token}")
    assert kept.reads <= 1 + 50 / REREAD_S + 50 / OLDEST_S


async def test_a_secret_that_is_too_short_lets_nobody_in(kept: Kept, guests: GuestTokens) -> None:
    kept.value = "short"
    with pytest.raises(UnavailableError):
        await guests.mint()


async def test_guests_and_others_sign_in_beside_each_other(guests: GuestTokens) -> None:
    async def ann(authorization: str | None) -> User:
        if bearer(authorization) != "ann":
            raise AuthError("no")
        return user_of("i", "ann")

    either = FirstOf(guests, ann)
    assert await either("Bearer ann") == user_of("i", "ann")
    assert (await either(f"Bearer {(await guests.mint()).token}")).is_guest
    for nobody in (None, "Bearer bob", "Basic ann"):
        with pytest.raises(AuthError):
            await either(nobody)


def test_a_secret_is_not_printed() -> None:
    assert KEY not in repr(Secret(lambda: KEY))
