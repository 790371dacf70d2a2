"""Tokens of the customer's own backend: signed by a key whose public half is a setting, short, for us."""

import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from jwt.algorithms import ECAlgorithm, OKPAlgorithm

from lambda_src.auth import BackendToken, user_of
from lambda_src.auth.backend_tokens import LONGEST_S, NAMESPACE
from lambda_src.auth.jwt_claims import usable
from lambda_src.errors import AuthError
from tests.auth.attacks import pem
from tests.content_markers import MARKERS

ED = ed25519.Ed25519PrivateKey.generate()
EC = ec.generate_private_key(ec.SECP256R1())
OTHER = ed25519.Ed25519PrivateKey.generate()
ED_JWK: dict[str, Any] = OKPAlgorithm.to_jwk(ED.public_key(), as_dict=True) | {"kid": "ed"}
EC_JWK: dict[str, Any] = ECAlgorithm.to_jwk(EC.public_key(), as_dict=True) | {"kid": "ec"}
ANN = user_of(NAMESPACE, "ann")


def token(key: Any = ED, algorithm: str = "EdDSA", *, kid: str | None = None, **claims: Any) -> str:
    """A sound token of ten minutes with `claims` over its own (None takes one away)."""
    sound = {"aud": "chat", "sub": "ann", "exp": int(time.time()) + 600, "email": MARKERS["token"]} | claims
    payload = {name: value for name, value in sound.items() if value is not None}
    return f"Bearer {jwt.encode(payload, key, algorithm=algorithm, headers={} if kid is None else {'kid': kid})}"


@pytest.fixture
def one() -> BackendToken:
    return BackendToken(usable([ED_JWK]), "chat")


@pytest.fixture
def both() -> BackendToken:
    return BackendToken(usable([ED_JWK, EC_JWK]), "chat")


async def test_a_token_by_the_only_key_needs_no_key_id(one: BackendToken) -> None:
    assert await one(token()) == await one(token(kid="ed")) == ANN


async def test_with_two_keys_each_signs_under_its_id(both: BackendToken) -> None:
    assert await both(token(kid="ed")) == await both(token(EC, "ES256", kid="ec")) == ANN


async def test_the_token_names_its_user_whatever_issuer_it_says(one: BackendToken) -> None:
    assert await one(token(iss="https://any.test/")) == ANN
    assert await one(token(sub="bob")) != ANN


@pytest.mark.parametrize(
    "bad",
    [
        lambda: token(OTHER),
        lambda: token(OTHER, kid="ed"),
        lambda: token(kid="ec"),
        lambda: token(kid="other"),
        lambda: token(EC, "ES256"),
        lambda: token(EC, "ES256", kid="ed"),
        lambda: token(b"x" * 32, "HS256"),
        lambda: "Bearer " + jwt.encode({"sub": "ann"}, "", algorithm="none"),
        lambda: token(aud="other"),
        lambda: token(aud=None),
        lambda: token(sub=None),
        lambda: token(sub=""),
        lambda: token(exp=None),
        lambda: token(exp=int(time.time()) - 600),
        lambda: token(exp=int(time.time()) + LONGEST_S + 600),
    ],
    ids=[
        "other-key",
        "other-key-under-our-id",
        "our-key-under-another-id",
        "unknown-id",
        "other-algorithm",
        "other-algorithm-under-our-id",
        "symmetric",
        "unsigned",
        "audience",
        "no-audience",
        "no-subject",
        "empty-subject",
        "never-expires",
        "expired",
        "valid-for-hours",
    ],
)
async def test_anything_else_is_refused(one: BackendToken, bad: Any) -> None:
    with pytest.raises(AuthError, match="not valid"):
        await one(bad())


async def test_with_two_keys_a_token_without_a_key_id_is_refused(both: BackendToken) -> None:
    with pytest.raises(AuthError):
        await both(token())


def test_a_public_key_as_an_hmac_secret_is_none_of_ours() -> None:
    assert pem(ED)
    assert usable([{"kid": "k", "kty": "oct", "k": "AAAA"}]) == {}


def test_a_private_key_that_was_set_by_mistake_is_kept_as_its_public_half() -> None:
    private: dict[str, Any] = OKPAlgorithm.to_jwk(ED, as_dict=True) | {"kid": "ed"}
    assert isinstance(usable([private])["ed"].key, ed25519.Ed25519PublicKey)
