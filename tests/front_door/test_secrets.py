"""A secret is read once, read again when it is refused, and never more often than that."""

import httpx2
import pytest

from lambda_src.models import RenewedKey
from lambda_src.secrets import REREAD_S, Secret


class Kept:
    """A secret where it is kept, on a clock of the test's own."""

    value, reads, now_s = "one", 0, 0.0

    def __call__(self) -> str:
        self.reads += 1
        return self.value

    def secret(self, **known: str) -> Secret:
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
