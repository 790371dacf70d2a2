"""Rotating secrets: a secret is read once, then again only after it was refused or became old."""

import math
from contextlib import suppress
from typing import Any

import httpx2
import pytest

from lambda_src.errors import UnavailableError
from lambda_src.models.providers import RenewedKey
from lambda_src.rotating_secret import OLDEST_S, REREAD_S, Secret


class SecretStore:
    """A fake secret store with a clock that the test controls."""

    value, reads, now_s, fails = "one", 0, 0.0, False

    def __call__(self) -> str:
        self.reads += 1
        if self.fails:
            raise UnavailableError("Not now.")
        return self.value

    def secret(self, **options: Any) -> Secret:
        """Return one process's cached secret."""
        return Secret(self, now=lambda: self.now_s, **options)


@pytest.fixture
def secret_store() -> SecretStore:
    return SecretStore()


def client(secret: Secret, seen: list[str], *, good: str) -> httpx2.AsyncClient:
    """Return a client of a server that accepts only the key `good`."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers["authorization"])
        return httpx2.Response(200 if seen[-1] == f"Bearer {good}" else 401)

    return httpx2.AsyncClient(transport=httpx2.MockTransport(answer), auth=RenewedKey(secret))


async def test_a_secret_is_read_once(secret_store: SecretStore) -> None:
    secret = secret_store.secret()
    assert [await secret.value() for _ in range(3)] == ["one"] * 3
    assert secret_store.reads == 1


async def test_a_secret_that_is_already_known_is_not_read(secret_store: SecretStore) -> None:
    assert await secret_store.secret(known="zero").value() == "zero"
    assert secret_store.reads == 0


async def test_a_refused_request_reads_the_changed_key_and_retries(secret_store: SecretStore) -> None:
    secret, seen = secret_store.secret(known="one"), list[str]()
    secret_store.value = "two"
    secret_store.now_s += REREAD_S
    async with client(secret, seen, good="two") as http:
        assert (await http.post("https://model.test/", content=b"hello")).status_code == 200
        assert (await http.post("https://model.test/", content=b"hello")).status_code == 200
    assert seen == ["Bearer one", "Bearer two", "Bearer two"]
    assert secret_store.reads == 1


async def test_a_key_that_stays_wrong_is_not_read_for_every_request(secret_store: SecretStore) -> None:
    secret, seen = secret_store.secret(known="one"), list[str]()
    secret_store.now_s += REREAD_S
    async with client(secret, seen, good="other") as http:
        statuses = {(await http.get("https://model.test/")).status_code for _ in range(20)}
    assert statuses == {401}
    assert (secret_store.reads, len(seen)) == (1, 20)


async def test_a_rotated_secret_expires_even_if_no_request_was_refused(secret_store: SecretStore) -> None:
    secret = secret_store.secret(oldest_s=OLDEST_S)
    await secret.value()
    secret_store.value = "two"
    secret_store.now_s += OLDEST_S - 1
    assert await secret.value() == "one"
    secret_store.now_s += 1
    assert [await secret.value() for _ in range(3)] == ["two"] * 3
    assert secret_store.reads == 2


async def test_the_old_secret_stays_in_use_while_reads_fail_and_reads_are_rare(secret_store: SecretStore) -> None:
    secret = secret_store.secret(oldest_s=OLDEST_S)
    await secret.value()
    secret_store.value, secret_store.fails = "two", True
    for _ in range(100):
        secret_store.now_s += 1
        assert await secret.value() == "one"
    assert secret_store.reads <= 1 + 1 + 40 / REREAD_S + 1
    secret_store.fails = False
    secret_store.now_s += REREAD_S
    assert await secret.value() == "two"


@pytest.mark.parametrize("oldest_s", [OLDEST_S, math.inf])
async def test_wrong_tokens_do_not_keep_reading_an_unavailable_secret(
    secret_store: SecretStore, oldest_s: float
) -> None:
    """Every read blocks all requests that need the secret for as long as the outage lasts."""
    secret = secret_store.secret(oldest_s=oldest_s)
    await secret.value()
    secret_store.fails = True
    secret_store.now_s += OLDEST_S
    for _ in range(100):
        with suppress(UnavailableError):
            await secret.newer_than(await secret.value())
    assert secret_store.reads == 2


async def test_a_failed_first_read_is_an_error(secret_store: SecretStore) -> None:
    secret_store.fails = True
    with pytest.raises(UnavailableError):
        await secret_store.secret().value()
