"""Backend tokens: JWTs signed by the customer's own backend and verified with public keys from the settings."""

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
    """Return a valid token for ten minutes, overridden by `claims` (None removes one)."""
    valid = {"aud": "chat", "sub": "ann", "exp": int(time.time()) + 600, "email": MARKERS["token"]} | claims
    payload = {name: value for name, value in valid.items() if value is not None}
    return f"Bearer {jwt.encode(payload, key, algorithm=algorithm, headers={} if kid is None else {'kid': kid})}"


@pytest.fixture
def one_key() -> BackendToken:
    return BackendToken(usable([ED_JWK]), "chat")


@pytest.fixture
def two_keys() -> BackendToken:
    return BackendToken(usable([ED_JWK, EC_JWK]), "chat")


async def test_with_one_key_a_token_needs_no_key_id(one_key: BackendToken) -> None:
    assert await one_key(token()) == await one_key(token(kid="ed")) == ANN


async def test_with_two_keys_each_is_selected_by_its_id(two_keys: BackendToken) -> None:
    assert await two_keys(token(kid="ed")) == await two_keys(token(EC, "ES256", kid="ec")) == ANN


async def test_the_users_id_does_not_depend_on_the_tokens_issuer(one_key: BackendToken) -> None:
    assert await one_key(token(iss="https://any.test/")) == ANN
    assert await one_key(token(sub="bob")) != ANN


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
async def test_an_invalid_token_is_refused(one_key: BackendToken, bad: Any) -> None:
    with pytest.raises(AuthError, match="not valid"):
        await one_key(bad())


async def test_with_two_keys_a_token_without_a_key_id_is_refused(two_keys: BackendToken) -> None:
    with pytest.raises(AuthError):
        await two_keys(token())


def test_a_symmetric_key_in_the_settings_is_not_usable() -> None:
    assert pem(ED)
    assert usable([{"kid": "k", "kty": "oct", "k": "AAAA"}]) == {}


def test_only_the_public_half_of_a_private_key_in_the_settings_is_kept() -> None:
    private: dict[str, Any] = OKPAlgorithm.to_jwk(ED, as_dict=True) | {"kid": "ed"}
    assert isinstance(usable([private])["ed"].key, ed25519.Ed25519PublicKey)
