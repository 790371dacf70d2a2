"""Authenticators chosen by the settings, and guest tokens through the app with their limits."""

import hashlib
import json
from typing import Any

import httpx2
import jwt
import pytest
from agents import ModelSettings
from jwt.algorithms import OKPAlgorithm

from lambda_src.auth import BearerToken, FirstOf, GuestTokens
from lambda_src.auth.guest_access import PER_ADDRESS, PER_STAGE, Guests
from lambda_src.chat.registry import AssistantEndpoint
from lambda_src.composition import access
from lambda_src.composition.app import run_config
from lambda_src.errors import AuthError, QuotaError, SettingsError, UnavailableError
from lambda_src.http.app import create_app
from lambda_src.quotas.source_addresses import Callers
from lambda_src.quotas.turn_quota import Quotas
from lambda_src.rotating_secret import OLDEST_S, Secret
from lambda_src.settings import Settings
from lambda_src.store.counters import MemoryCounters
from lambda_src.store.memory.store import MemoryStore
from lambda_src.turns.lifecycle import Turns
from lambda_src.turns.persistence import AnswerStore
from lambda_src.turns.turn_task import TurnServices
from tests.apps.chat import MAX_BODY_BYTES, Chat, message, served, server_with
from tests.auth.test_backend_tokens import ED, ED_JWK, token
from tests.quotas.engine import settings_with

SECRET = "s" * 64


def settings(**env: str) -> Settings:
    """Return a stage's settings."""
    return Settings.from_env(
        {"CHAT_STORE": "memory", "CHAT_AUTH_AUDIENCE": "chat", **{f"CHAT_{k}": v for k, v in env.items()}}
    )


def no_secret(_: str) -> str:
    raise AssertionError("no secret is needed yet")


def test_with_only_an_issuer_only_its_tokens_are_accepted() -> None:
    assert isinstance(access.authenticator(settings(AUTH_ISSUER="https://i.test/"), None), BearerToken)


async def test_with_public_keys_backend_tokens_are_accepted() -> None:
    authenticate = access.authenticator(settings(AUTH_PUBLIC_KEYS=json.dumps([ED_JWK])), None)
    assert (await authenticate(token())).is_guest is False


def test_an_unusable_public_key_is_a_settings_error() -> None:
    without_key_id: dict[str, Any] = OKPAlgorithm.to_jwk(ED.public_key(), as_dict=True)
    with pytest.raises(SettingsError, match="PUBLIC_KEYS"):
        access.authenticator(settings(AUTH_PUBLIC_KEYS=json.dumps([without_key_id])), None)


async def test_guests_and_signed_in_users_coexist_and_the_guest_secret_is_read_on_first_use() -> None:
    stage = settings(AUTH_PUBLIC_KEYS=json.dumps([ED_JWK]), GUEST_SECRET="arn:secret")
    reads: list[str] = []

    def read(arn: str) -> str:
        reads.append(arn)
        return SECRET

    guests = access.guest_tokens(stage, read)
    assert guests is not None
    authenticate = access.authenticator(stage, guests)
    assert isinstance(authenticate, FirstOf)
    assert reads == []
    assert (await authenticate(f"Bearer {(await guests.mint()).token}")).is_guest
    assert not (await authenticate(token())).is_guest
    assert reads == ["arn:secret"]


async def test_rotating_the_secret_invalidates_guest_tokens_in_a_running_process() -> None:
    stored, now_s = [SECRET], [0.0]
    guests = access.guest_tokens(settings(GUEST_SECRET="arn:secret"), lambda _: stored[0], now=lambda: now_s[0])
    assert guests is not None
    token = (await guests.mint()).token
    stored[0] = "n" * 64
    now_s[0] += OLDEST_S
    with pytest.raises(AuthError):
        await guests(f"Bearer {token}")


def test_a_stage_without_guests_has_no_guest_tokens() -> None:
    stage = settings(AUTH_ISSUER="https://i.test/")
    assert access.guest_tokens(stage, no_secret) is None
    assert access.guests(None, MemoryCounters()) is None


def test_an_agent_cannot_raise_the_configured_length_of_answers() -> None:
    config = run_config(None, settings(AUTH_ISSUER="https://i.test/", QUOTAS='{"max_output_tokens": 500}'))
    assert config.model_settings is not None
    assert ModelSettings(max_tokens=10_000).resolve(config.model_settings).max_tokens == 500
    unlimited = run_config(None, settings(AUTH_ISSUER="https://i.test/")).model_settings
    assert unlimited is None or unlimited.max_tokens is None


# Guests, through the app


class RecordingCounters(MemoryCounters):
    """Counters that record their names."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    async def add(self, name: str, amount: int, **more: Any) -> bool:
        self.names.append(name)
        return await super().add(name, amount, **more)


def chat_with_guests(counters: MemoryCounters, *, guests: bool = True) -> Chat:
    """Return an app with guests."""
    store, tokens = MemoryStore(), GuestTokens(Secret(lambda: SECRET))
    quotas = Quotas(store.ledger, counters, settings_with(guest_messages_per_day=2))
    app = create_app(
        AssistantEndpoint(
            served(server_with(store)), Turns(TurnServices(store.ledger, AnswerStore(store), quotas=quotas))
        ),
        authenticate=tokens,
        sweeps=store,
        max_body_bytes=MAX_BODY_BYTES,
        guests=Guests(tokens, counters) if guests else None,
    )
    return Chat(app, None)


async def mint(chat: Chat, address: str = "203.0.113.7") -> httpx2.Response:
    """Request a guest token, as the page does for a visitor without a token."""
    transport = httpx2.ASGITransport(app=chat.app, client=(address, 1))
    async with httpx2.AsyncClient(transport=transport, base_url="http://chat.test") as client:
        return await client.post("/auth/guest")


async def test_guests_can_chat_and_do_not_see_each_others_threads() -> None:
    chat = chat_with_guests(MemoryCounters())
    first, second = [chat.as_((await mint(chat)).json()["token"]) for _ in range(2)]
    assert (await first("threads.create", input=message("hi"))).status == 200
    assert len((await first("threads.list")).json["data"]) == 1
    assert (await second("threads.list")).json["data"] == []


async def test_guests_have_fewer_messages_per_day() -> None:
    chat = chat_with_guests(MemoryCounters())
    guest = chat.as_((await mint(chat)).json()["token"])
    statuses = [(await guest("threads.create", input=message(f"hi {n}"))).status for n in range(3)]
    assert statuses == [200, 200, 429]


async def test_a_guest_token_is_not_cached_and_states_its_expiry() -> None:
    answer = await mint(chat_with_guests(MemoryCounters()))
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["expires_at"] == jwt.decode(answer.json()["token"], options={"verify_signature": False})["exp"]


async def test_the_limit_of_tokens_per_address_does_not_affect_other_addresses() -> None:
    chat = chat_with_guests(MemoryCounters())
    statuses = [(await mint(chat)).status_code for _ in range(PER_ADDRESS + 5)]
    assert statuses == [200] * PER_ADDRESS + [429] * 5
    assert (await mint(chat, "203.0.113.8")).status_code == 200


async def test_addresses_of_one_network_share_a_limit() -> None:
    chat = chat_with_guests(MemoryCounters())
    statuses = [(await mint(chat, f"2001:db8:1:2::{number:x}")).status_code for number in range(PER_ADDRESS + 5)]
    assert statuses == [200] * PER_ADDRESS + [429] * 5
    assert (await mint(chat, "2001:db8:1:3::1")).status_code == 200


async def test_addresses_are_stored_only_as_keyed_hashes() -> None:
    counters = RecordingCounters()
    chat = chat_with_guests(counters)
    guest = chat.as_((await mint(chat)).json()["token"])
    await guest("threads.create", input=message("hi"))
    [stored] = [name.removeprefix("guests-from-") for name in counters.names if name.startswith("guests-from-")]
    assert stored not in hashlib.sha256(b"203.0.113.7").hexdigest()
    await mint(chat_with_guests(other := RecordingCounters()))
    assert set(counters.names) & set(other.names) == {"guests"}, "stages must have different keys"


async def test_guests_get_no_token_while_the_days_key_cannot_be_read() -> None:
    class Unreadable:
        async def shared(self, day: int, proposal: bytes) -> bytes:
            raise UnavailableError("no")

    guests = Guests(GuestTokens(Secret(lambda: SECRET)), MemoryCounters(), callers=Callers(Unreadable()))
    with pytest.raises(UnavailableError, match="Try again later"):
        await guests.welcome("203.0.113.7")


async def test_the_stage_has_a_limit_of_guest_tokens_per_day() -> None:
    counters = MemoryCounters()
    guests = Guests(GuestTokens(Secret(lambda: SECRET)), counters)
    assert await counters.add("guests", PER_STAGE - 1, ceiling=PER_STAGE)
    await guests.welcome("a")
    with pytest.raises(QuotaError) as caught:
        await guests.welcome("b")
    assert caught.value.limit == "guests"


async def test_a_stage_without_guests_does_not_have_the_route() -> None:
    assert (await mint(chat_with_guests(MemoryCounters(), guests=False))).status_code == 404
