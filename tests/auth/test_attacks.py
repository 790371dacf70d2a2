"""Token attacks through the whole app: every one gets the same 401, byte for byte, and nothing is stored."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from itertools import count

import pytest

from lambda_src.auth import BearerToken, IssuerKeys
from lambda_src.http.page import SECURITY_HEADERS
from lambda_src.observability.metrics import MetricsHandler
from lambda_src.store.memory.store import MemoryStore
from tests.apps.chat import Answer, Chat, app_with, message, server_with
from tests.auth.attacks import ATTACKS, Attack
from tests.fakes.issuer import AUDIENCE, ISSUER, Issuer

EXPECTED = b'{"error":"unauthorized","message":"The bearer token is not valid. Sign in again."}'


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def chat(issuer: Issuer, store: MemoryStore) -> Chat:
    keys = IssuerKeys(ISSUER, fetch=issuer.fetch)
    return Chat(app_with(server_with(store), authenticate=BearerToken(ISSUER, AUDIENCE, keys=keys)))


async def ask(chat: Chat, token: str) -> Answer:
    return await chat.as_(token)("threads.create", input=message("hello"))


def test_there_are_at_least_forty_attacks() -> None:
    assert len(ATTACKS) >= 40


async def test_the_token_that_all_attacks_start_from_is_valid(chat: Chat, issuer: Issuer) -> None:
    assert (await ask(chat, issuer.token())).status == 200


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
async def test_every_attack_gets_the_same_401(chat: Chat, issuer: Issuer, store: MemoryStore, attack: Attack) -> None:
    answer = await ask(chat, attack(issuer))
    assert (answer.status, answer.body) == (401, EXPECTED)
    assert {name: value for name, value in answer.headers.items() if name != "x-request-id"} == {
        "content-type": "application/json",
        "content-length": str(len(EXPECTED)),
        "www-authenticate": "Bearer",
        "cache-control": "no-store",
        **SECURITY_HEADERS,
    }
    assert users_with_rows(store) == []


async def test_attacks_fetch_the_issuers_keys_at_most_once_a_minute(issuer: Issuer) -> None:
    keys = IssuerKeys(ISSUER, fetch=issuer.fetch, now=lambda: 0.0)
    authenticate = BearerToken(ISSUER, AUDIENCE, keys=keys)
    before = len(issuer.fetched)
    tokens = [attack(issuer) for attack in ATTACKS.values()]
    results = await asyncio.gather(*(authenticate(f"Bearer {token}") for token in tokens), return_exceptions=True)
    assert all(isinstance(result, Exception) for result in results)
    assert len(issuer.fetched) - before == 2  # one discovery document, one set of keys


async def test_a_token_signed_by_a_possibly_new_key_is_a_503_with_retry_after() -> None:
    now, other = [0.0], Issuer()
    keys = IssuerKeys(ISSUER, fetch=other.fetch, now=lambda: now[0])
    chat = Chat(app_with(server_with(MemoryStore()), authenticate=BearerToken(ISSUER, AUDIENCE, keys=keys)))
    assert (await ask(chat, other.token())).status == 200
    assert (await ask(chat, other.token(head={"kid": "made-up"}))).status == 401
    now[0] = 20.0
    other.rotate("key-2")
    answer = await ask(chat, other.token())
    assert (answer.status, answer.json["error"], answer.headers["retry-after"]) == (503, "sign_in_unavailable", "40")
    assert "www-authenticate" not in answer.headers
    now[0] = 60.0
    assert (await ask(chat, other.token())).status == 200


async def test_unknown_keys_do_not_count_as_server_errors_but_an_unreachable_issuer_does() -> None:
    now, other = count(), Issuer()
    keys = IssuerKeys(ISSUER, fetch=other.fetch, now=lambda: next(now) / 1000)
    chat = Chat(app_with(server_with(MemoryStore()), authenticate=BearerToken(ISSUER, AUDIENCE, keys=keys)))
    await ask(chat, other.token())
    with metrics_written() as written:
        statuses = {(await ask(chat, other.token(head={"kid": f"made-up-{n}"}))).status for n in range(20)}
    assert statuses == {401, 503}  # the first request fetches the keys in vain
    assert "ServerErrors" not in written.getvalue()
    other.down = True
    keys = IssuerKeys(ISSUER, fetch=other.fetch, now=lambda: 0.0)
    chat = Chat(app_with(server_with(MemoryStore()), authenticate=BearerToken(ISSUER, AUDIENCE, keys=keys)))
    with metrics_written() as written:
        assert (await ask(chat, other.token())).status == 503
    assert "ServerErrors" in written.getvalue()


@contextmanager
def metrics_written() -> Iterator[StringIO]:
    """Collect the metrics that the function writes inside the block."""
    written = StringIO()
    handler = MetricsHandler(written, service="chat")
    logger = logging.getLogger("lambda_src")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel("INFO")
    try:
        yield written
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


async def test_without_any_keys_the_answer_is_a_503_with_retry_after() -> None:
    other = Issuer()
    other.down = True
    keys = IssuerKeys(ISSUER, fetch=other.fetch, now=lambda: 0.0)
    chat = Chat(app_with(server_with(MemoryStore()), authenticate=BearerToken(ISSUER, AUDIENCE, keys=keys)))
    answer = await ask(chat, other.token())
    assert (answer.status, answer.json["error"], answer.headers["retry-after"]) == (503, "sign_in_unavailable", "1")


def users_with_rows(store: MemoryStore) -> list[str]:
    """Return the users for whom anything is stored."""
    return [user for user, rows in store._users.items() if rows.threads or rows.ledger.claims]
