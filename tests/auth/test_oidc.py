"""OIDC bearer tokens: which are accepted, how the issuer's keys are cached and rotated, and issuer outages."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator

import jwt
import pytest

from lambda_src.auth import BearerToken, IssuerKeys, fetch, fetch_https, user_of
from lambda_src.auth.jwt_claims import LEEWAY_S
from lambda_src.auth.oidc import KEYS_FRESH_S, KEYS_STALE_S, REFETCH_S
from lambda_src.errors import AuthError, UnavailableError, UnknownKeyError
from tests.fakes.issuer import AUDIENCE, ISSUER, RSA_KEY, Issuer
from tests.fakes.issuer_server import Mood, ServedIssuer, served_issuer


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
    return BearerToken(ISSUER, AUDIENCE, keys=IssuerKeys(ISSUER, fetch=issuer.fetch, now=clock, patience_s=60))


async def test_a_valid_token_identifies_its_user(issuer: Issuer, authenticate: BearerToken) -> None:
    assert await authenticate(f"Bearer {issuer.token()}") == user_of(ISSUER, "ann")
    assert await authenticate(f"bearer {issuer.token(aud=['other', AUDIENCE])}") == user_of(ISSUER, "ann")


async def test_a_cognito_access_token_is_accepted_with_client_id_instead_of_aud(
    issuer: Issuer, authenticate: BearerToken
) -> None:
    token = issuer.token(aud=None, client_id=AUDIENCE, token_use="access")
    assert await authenticate(f"Bearer {token}") == user_of(ISSUER, "ann")


@pytest.mark.parametrize("typ", [None, "JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "Application/JWT"])
async def test_the_typ_header_of_an_access_token_is_case_insensitive(
    issuer: Issuer, authenticate: BearerToken, typ: str | None
) -> None:
    token = issuer.token(head={"typ": typ})  # PyJWT omits it if it is None
    assert jwt.get_unverified_header(token).get("typ") == typ
    assert await authenticate(f"Bearer {token}") == user_of(ISSUER, "ann")


async def test_a_keycloak_access_token_is_accepted(issuer: Issuer, authenticate: BearerToken) -> None:
    assert await authenticate(f"Bearer {issuer.token(typ='Bearer', azp='page', sid='s')}") == user_of(ISSUER, "ann")


def test_user_ids_are_unique_per_issuer_subject_and_assistant_and_reveal_nothing() -> None:
    people = {user_of(i, s).at(c).id for i in ("a", "b") for s in ("a", "b", "a|b") for c in ("", "a")}
    assert len(people) == 12
    assert user_of("i", "ann@example.com").id.isalnum()


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Basic YTpi", "Bearer a.b.c", "Bearer ...", "Bearer \x00", "Bearer é", "token"],
)
async def test_a_missing_token_or_one_that_is_not_a_jwt_is_refused(
    authenticate: BearerToken, header: str | None
) -> None:
    with pytest.raises(AuthError):
        await authenticate(header)


async def test_expiry_and_not_before_have_a_minute_of_leeway(issuer: Issuer, authenticate: BearerToken) -> None:
    now = int(time.time())
    for token in (issuer.token(exp=now - LEEWAY_S // 2), issuer.token(nbf=now + LEEWAY_S // 2)):
        assert await authenticate(f"Bearer {token}") == user_of(ISSUER, "ann")


async def test_an_rsa_key_works_next_to_an_ec_key(issuer: Issuer, authenticate: BearerToken) -> None:
    token = jwt.encode(issuer.claims(), RSA_KEY, algorithm="RS256", headers={"kid": "rsa-1"})
    assert await authenticate(f"Bearer {token}") == user_of(ISSUER, "ann")


async def test_keys_are_fetched_once_and_again_when_they_are_old(
    issuer: Issuer, authenticate: BearerToken, clock: Clock
) -> None:
    for _ in range(5):
        await authenticate(f"Bearer {issuer.token()}")
    assert len(issuer.fetched) == 2  # discovery and keys
    clock.now_s += KEYS_FRESH_S
    await authenticate(f"Bearer {issuer.token()}")
    assert len(issuer.fetched) == 4


async def test_a_rotated_key_is_fetched_at_once_but_unknown_keys_cannot_flood_the_issuer(
    issuer: Issuer, authenticate: BearerToken, clock: Clock
) -> None:
    await authenticate(f"Bearer {issuer.token()}")
    clock.now_s += REFETCH_S
    issuer.rotate("key-2")
    assert await authenticate(f"Bearer {issuer.token()}") == user_of(ISSUER, "ann")
    fetches = len(issuer.fetched)
    for number in range(50):
        with pytest.raises(AuthError):
            await authenticate(f"Bearer {issuer.token(head={'kid': f'unknown-{number}'})}")
    assert len(issuer.fetched) == fetches


async def test_a_new_key_is_fetched_even_if_the_keys_were_just_read(
    issuer: Issuer, authenticate: BearerToken, clock: Clock
) -> None:
    await authenticate(f"Bearer {issuer.token()}")
    clock.now_s += 1
    issuer.rotate("key-2")
    assert await authenticate(f"Bearer {issuer.token()}") == user_of(ISSUER, "ann")


async def test_a_key_newer_than_the_last_fetch_is_unknown_until_the_next_fetch_is_allowed(
    issuer: Issuer, authenticate: BearerToken, clock: Clock
) -> None:
    await authenticate(f"Bearer {issuer.token()}")
    with pytest.raises(AuthError):
        await authenticate(f"Bearer {issuer.token(head={'kid': 'made-up'})}")
    clock.now_s += 12.5
    issuer.rotate("key-2")
    with pytest.raises(UnknownKeyError) as refused:
        await authenticate(f"Bearer {issuer.token()}")
    assert refused.value.retry_after_s == 48
    clock.now_s += refused.value.retry_after_s
    assert await authenticate(f"Bearer {issuer.token()}") == user_of(ISSUER, "ann")


async def test_unknown_keys_are_refused_and_fetch_the_issuers_keys_once_a_minute(
    issuer: Issuer, authenticate: BearerToken, clock: Clock
) -> None:
    await authenticate(f"Bearer {issuer.token()}")
    fetches = len(issuer.fetched)
    for number in range(120):  # every second with a new key
        with pytest.raises(AuthError):
            await authenticate(f"Bearer {issuer.token(head={'kid': f'made-up-{number}'})}")
        clock.now_s += 1
    assert len(issuer.fetched) - fetches == 2 * 2  # two fetches of two documents each


async def test_an_unknown_key_while_the_issuer_is_down_may_be_new(
    issuer: Issuer, authenticate: BearerToken, clock: Clock
) -> None:
    await authenticate(f"Bearer {issuer.token()}")
    issuer.rotate("key-2")
    issuer.down = True
    clock.now_s += REFETCH_S
    with pytest.raises(UnknownKeyError):
        await authenticate(f"Bearer {issuer.token()}")


@pytest.mark.parametrize("token", ["withdrawn key", "another issuer"])
async def test_a_token_that_a_new_key_cannot_have_signed_is_refused_at_once(
    issuer: Issuer, authenticate: BearerToken, clock: Clock, token: str
) -> None:
    before = issuer.token()
    await authenticate(f"Bearer {before}")
    issuer.rotate("key-2")
    clock.now_s += REFETCH_S
    await authenticate(f"Bearer {issuer.token()}")
    clock.now_s += 1
    issuer.rotate("key-3")
    with pytest.raises(AuthError):
        await authenticate(f"Bearer {before if token == 'withdrawn key' else issuer.token(iss='https://other.test/')}")


@pytest.mark.parametrize("token", ["c2VjcmV0", "v4.local.c2VjcmV0.c2VjcmV0", "a.b.c.d.e"])
async def test_opaque_access_tokens_log_one_warning_that_says_what_to_change(
    authenticate: BearerToken, caplog: pytest.LogCaptureFixture, token: str
) -> None:
    for _ in range(2):
        with pytest.raises(AuthError):
            await authenticate(f"Bearer {token}")
    [warning] = [line for line in caplog.records if line.getMessage() == "opaque_token"]
    assert "auth_resource" in vars(warning)["reason"]
    assert token not in str(vars(warning))


async def test_cached_keys_stay_valid_for_a_day_of_an_issuer_outage(
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


async def test_unreadable_keys_in_the_key_set_are_ignored(issuer: Issuer) -> None:
    documents = issuer.documents()
    documents["keys"]["keys"][:0] = [
        {"kid": "a", "kty": "EC", "crv": "P-999", "x": "AA", "y": "AA"},
        {"kid": "b", "kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kid": "c", "kty": "oct", "k": "c2VjcmV0"},
        {"kid": "d", "kty": "OKP", "crv": "X25519", "x": "AA"},
        {"kid": ["e"], "kty": "EC"},
        {"kid": "f"},
        "g",
        None,
    ]
    keys = IssuerKeys(ISSUER, fetch=lambda url: json.dumps(documents[url.removeprefix(ISSUER)]).encode())
    assert await BearerToken(ISSUER, AUDIENCE, keys=keys)(f"Bearer {issuer.token()}") == user_of(ISSUER, "ann")
    assert [await keys.key(kid) for kid in "abcdf"] == [None] * 5


async def test_tokens_with_a_cached_key_do_not_wait_for_a_slow_issuer(issuer: Issuer, clock: Clock) -> None:
    requested, answer = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(url: str) -> bytes:
        if clock.now_s > 1000.0:
            loop.call_soon_threadsafe(requested.set)
            asyncio.run_coroutine_threadsafe(answer.wait(), loop).result()
        return issuer.fetch(url)

    authenticate = BearerToken(ISSUER, AUDIENCE, keys=IssuerKeys(ISSUER, fetch=slow, now=clock, patience_s=60))
    await authenticate(f"Bearer {issuer.token()}")
    clock.now_s += KEYS_FRESH_S
    first = asyncio.create_task(authenticate(f"Bearer {issuer.token()}"))
    await requested.wait()
    assert await authenticate(f"Bearer {issuer.token()}") == user_of(ISSUER, "ann")
    assert not first.done()
    answer.set()
    assert await first == user_of(ISSUER, "ann")


async def test_a_refresh_from_a_silent_issuer_times_out_and_its_result_is_used_later(
    issuer: Issuer, clock: Clock
) -> None:
    answers = threading.Event()

    def slow(url: str) -> bytes:
        if clock.now_s > 1000.0:
            answers.wait()
        return issuer.fetch(url)

    keys = IssuerKeys(ISSUER, fetch=slow, now=clock, patience_s=0)
    authenticate = BearerToken(ISSUER, AUDIENCE, keys=keys)
    before = issuer.token()
    await authenticate(f"Bearer {before}")
    issuer.rotate("key-2")
    clock.now_s += KEYS_FRESH_S
    for _ in range(3):
        assert await authenticate(f"Bearer {before}") == user_of(ISSUER, "ann")
    answers.set()
    assert await authenticate(f"Bearer {issuer.token()}") == user_of(ISSUER, "ann")  # without the key it waits
    assert len(issuer.fetched) == 4
    with pytest.raises(AuthError):
        await authenticate(f"Bearer {before}")


# With an issuer on a real socket


@pytest.fixture
def served() -> Iterator[ServedIssuer]:
    with served_issuer() as issuer:
        yield issuer


def over_http(served: ServedIssuer, clock: Clock) -> BearerToken:
    """Authenticate over HTTP, with a long timeout while the issuer is well (machines may be slow), else a short one."""

    def http(url: str) -> bytes:
        return fetch(url, scheme="http", timeout_s=30.0 if served.mood == "well" else 0.2)

    return BearerToken(served.url, AUDIENCE, keys=IssuerKeys(served.url, fetch=http, now=clock))


async def test_a_real_issuer_is_discovered_and_rotates_its_keys(served: ServedIssuer, clock: Clock) -> None:
    authenticate = over_http(served, clock)
    assert await authenticate(f"Bearer {served.token()}") == user_of(served.url, "ann")
    served.rotate("key-2")
    clock.now_s += REFETCH_S
    assert await authenticate(f"Bearer {served.token()}") == user_of(served.url, "ann")
    assert served.fetched == ["/.well-known/openid-configuration", "/keys"] * 2


MOODS: list[Mood] = ["down", "silent", "dripping", "huge", "redirecting", "broken", "nonsense"]


@pytest.mark.parametrize("mood", MOODS)
async def test_during_an_outage_cached_keys_keep_working_and_without_keys_the_answer_is_a_503(
    served: ServedIssuer, clock: Clock, mood: Mood
) -> None:
    authenticate, newcomer = over_http(served, clock), over_http(served, clock)
    await authenticate(f"Bearer {served.token()}")
    served.mood = mood
    clock.now_s += KEYS_FRESH_S
    assert await authenticate(f"Bearer {served.token()}") == user_of(served.url, "ann")
    with pytest.raises(UnavailableError):
        await newcomer(f"Bearer {served.token()}")
    served.mood = "well"
    clock.now_s += REFETCH_S
    assert await newcomer(f"Bearer {served.token()}") == user_of(served.url, "ann")
