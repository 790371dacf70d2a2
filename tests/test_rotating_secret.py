"""A secret is read once, read again when it is refused or old, and never more often than that."""

import math
from contextlib import suppress
from typing import Any

import httpx2
import pytest

from lambda_src.errors import UnavailableError
from lambda_src.models.providers import RenewedKey
from lambda_src.rotating_secret import OLDEST_S, REREAD_S, Secret


class Kept:
    """A secret where it is kept, on a clock of the test's own."""

    value, reads, now_s, fails = "one", 0, 0.0, False

    def __call__(self) -> str:
        self.reads += 1
        if self.fails:
            raise UnavailableError("Not now.")
        return self.value

    def secret(self, **known: Any) -> Secret:
        """A process's memory of it."""
        return Secret(self, now=lambda: self.now_s, **known)


@pytest.fixture
def kept() -> Kept:
    return Kept()


def client(secret: Secret, seen: list[str], *, good: str) -> httpx2.AsyncClient:
    """A client of somebody who takes only one key."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers["authorization"])
        return httpx2.Response(200 if seen[-1] == f"Bearer {good}" else 401)

    return httpx2.AsyncClient(transport=httpx2.MockTransport(answer), auth=RenewedKey(secret))


async def test_it_is_read_once(kept: Kept) -> None:
    secret = kept.secret()
    assert [await secret.value() for _ in range(3)] == ["one"] * 3
    assert kept.reads == 1


async def test_one_that_is_known_is_not_read_at_all(kept: Kept) -> None:
    assert await kept.secret(known="zero").value() == "zero"
    assert kept.reads == 0


async def test_a_key_that_was_changed_is_found_by_the_request_that_was_refused(kept: Kept) -> None:
    secret, seen = kept.secret(known="one"), list[str]()
    kept.value = "two"
    kept.now_s += REREAD_S
    async with client(secret, seen, good="two") as http:
        assert (await http.post("https://model.test/", content=b"hello")).status_code == 200
        assert (await http.post("https://model.test/", content=b"hello")).status_code == 200
    assert seen == ["Bearer one", "Bearer two", "Bearer two"]
    assert kept.reads == 1


async def test_a_key_that_is_wrong_and_stays_so_is_not_read_for_each_request(kept: Kept) -> None:
    secret, seen = kept.secret(known="one"), list[str]()
    kept.now_s += REREAD_S
    async with client(secret, seen, good="other") as http:
        statuses = {(await http.get("https://model.test/")).status_code for _ in range(20)}
    assert statuses == {401}
    assert (kept.reads, len(seen)) == (1, 20)


async def test_one_that_was_rotated_away_is_forgotten_though_nobody_was_refused(kept: Kept) -> None:
    secret = kept.secret(oldest_s=OLDEST_S)
    await secret.value()
    kept.value = "two"
    kept.now_s += OLDEST_S - 1
    assert await secret.value() == "one"
    kept.now_s += 1
    assert [await secret.value() for _ in range(3)] == ["two"] * 3
    assert kept.reads == 2


async def test_the_old_one_serves_while_it_cannot_be_read_and_is_asked_for_rarely(kept: Kept) -> None:
    secret = kept.secret(oldest_s=OLDEST_S)
    await secret.value()
    kept.value, kept.fails = "two", True
    for _ in range(100):
        kept.now_s += 1
        assert await secret.value() == "one"
    assert kept.reads <= 1 + 1 + 40 / REREAD_S + 1
    kept.fails = False
    kept.now_s += REREAD_S
    assert await secret.value() == "two"


@pytest.mark.parametrize("oldest_s", [OLDEST_S, math.inf])
async def test_wrong_tokens_do_not_ask_for_one_that_cannot_be_read_all_day(kept: Kept, oldest_s: float) -> None:
    """Whoever asks holds up everybody else who needs it, for as long as the fault lasts."""
    secret = kept.secret(oldest_s=oldest_s)
    await secret.value()
    kept.fails = True
    kept.now_s += OLDEST_S
    for _ in range(100):
        with suppress(UnavailableError):
            await secret.newer_than(await secret.value())
    assert kept.reads == 2


async def test_the_first_reading_that_fails_is_an_error(kept: Kept) -> None:
    kept.fails = True
    with pytest.raises(UnavailableError):
        await kept.secret().value()
