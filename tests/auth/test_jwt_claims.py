"""JWT claims for tools: issuer, subject and the configured claims, which are neither logged nor stored."""

import dataclasses
import io
import json
import logging
import time
from typing import Any

import jwt
import pytest
from agents import RunContextWrapper, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call
from chatkit.agents import AgentContext
from cryptography.hazmat.primitives.asymmetric import ed25519
from jwt.algorithms import OKPAlgorithm

from lambda_src.auth import BackendToken, BearerToken, FirstOf, GuestTokens, IssuerKeys, user_of
from lambda_src.auth.backend_tokens import NAMESPACE
from lambda_src.auth.jwt_claims import MAX_CLAIM_CHARS, MAX_TOKEN_CHARS, chosen, usable
from lambda_src.context import RequestContext, User
from lambda_src.errors import AuthError
from lambda_src.observability.logs import OURS, configure_logging
from lambda_src.rotating_secret import Secret
from lambda_src.store.memory.store import MemoryStore
from tests.apps.chat import Chat, app_with, message, server_with
from tests.fakes.issuer import AUDIENCE, ISSUER, Issuer

KEY = ed25519.Ed25519PrivateKey.generate()
JWK: dict[str, Any] = OKPAlgorithm.to_jwk(KEY.public_key(), as_dict=True) | {"kid": "k"}
SUBJECT, CLAIM, ORG = "subject-5e1b7d", "claim-5e1b7d", "org-5e1b7d"


def backend_token(**claims: Any) -> str:
    """Return a backend token."""
    valid = {"aud": "chat", "sub": SUBJECT, "exp": int(time.time()) + 600}
    return jwt.encode(valid | claims, KEY, algorithm="EdDSA")


def backend(*claims: str) -> BackendToken:
    """Return the authenticator of such tokens."""
    return BackendToken(usable([JWK]), "chat", claims=claims)


async def test_an_issuers_token_provides_issuer_subject_and_the_configured_claims() -> None:
    issuer = Issuer()
    keys = IssuerKeys(ISSUER, fetch=issuer.fetch, patience_s=60)
    authenticate = BearerToken(ISSUER, AUDIENCE, keys=keys, claims=["plan", "org", "absent"])
    user = await authenticate(f"Bearer {issuer.token(plan='pro', org=['a', 'b'], secret='s')}")
    assert (user.issuer, user.subject) == (ISSUER, "ann")
    assert dict(user.claims) == {"plan": "pro", "org": ("a", "b")}
    assert user == user_of(ISSUER, "ann")


async def test_a_backend_token_provides_its_namespace_as_the_issuer() -> None:
    user = await backend("plan")(f"Bearer {backend_token(plan='pro', iss='https://any.test/')}")
    assert (user.issuer, user.subject, dict(user.claims)) == (NAMESPACE, SUBJECT, {"plan": "pro"})


async def test_a_guest_has_no_issuer_subject_or_claims_even_next_to_other_sign_in_methods() -> None:
    guests = GuestTokens(Secret(lambda: "x" * 32))
    minted = await guests.mint()
    user = await FirstOf(guests, backend("iss"))(f"Bearer {minted.token}")
    assert (user.is_guest, user.issuer, user.subject, dict(user.claims)) == (True, None, None, {})


def test_a_user_at_an_assistant_keeps_issuer_subject_and_claims() -> None:
    user = user_of(ISSUER, "ann", {"plan": "pro"}).at("sales")
    assert (user.issuer, user.subject, user.claims["plan"]) == (ISSUER, "ann", "pro")


def test_claims_cannot_be_changed() -> None:
    user = user_of(ISSUER, "ann", {"plan": "pro"})
    with pytest.raises(TypeError):
        user.claims["plan"] = "free"  # type: ignore[index] # it must fail
    with pytest.raises(dataclasses.FrozenInstanceError):
        user.subject = "bob"  # type: ignore[misc] # it must fail


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("pro", "pro"), ("", ""), (7, 7), (1.5, 1.5), (True, True), (["a", "b"], ("a", "b")), ([], ()),
        ("x" * (MAX_CLAIM_CHARS - 2), "x" * (MAX_CLAIM_CHARS - 2)),
    ],
)  # fmt: skip
def test_strings_numbers_booleans_and_lists_of_strings_are_kept(value: Any, kept: Any) -> None:
    assert chosen({"plan": value}, ["plan"]) == {"plan": kept}


@pytest.mark.parametrize(
    "value",
    [None, {"a": 1}, ["a", 1], [["a"]], [None], "x" * MAX_CLAIM_CHARS, ["x" * 10] * 100, 10**MAX_CLAIM_CHARS],
    ids=["null", "object", "mixed", "nested", "null-in-list", "long", "long-list", "long-number"],
)
def test_any_other_value_is_ignored(value: Any) -> None:
    assert chosen({"plan": value, "org": "o"}, ["plan", "org"]) == {"org": "o"}


async def test_a_token_with_a_10_kb_claim_is_refused_as_too_long() -> None:
    token = backend_token(plan="x" * 10_000)
    assert len(token) > MAX_TOKEN_CHARS
    with pytest.raises(AuthError):
        await backend("plan")(f"Bearer {token}")


async def test_tools_can_read_claims_and_nothing_logs_or_stores_them(capfd: pytest.CaptureFixture[str]) -> None:
    seen: list[User] = []

    @function_tool
    def whoami(chat: RunContextWrapper[AgentContext[RequestContext]]) -> str:
        """Return who the user is."""
        seen.append(chat.context.request_context.user)
        return "known"

    ours, stream = logging.getLogger(OURS), io.StringIO()
    before = ours.handlers, ours.propagate, ours.level
    ours.handlers = []
    configure_logging(stream=stream)
    try:
        store = MemoryStore()
        steps = [[function_call("whoami", "{}", call_id="call-1")], [assistant_message("Hello.")]]
        server = server_with(store, model=ScriptedModel(steps), tools=[whoami])
        chat = Chat(app_with(server, authenticate=backend("plan", "org", "big", "odd")))
        chat = chat.as_(backend_token(plan=CLAIM, org=[ORG], big=CLAIM * 100, odd={ORG: ORG}))
        answer = await chat("threads.create", input=message("who am I?"))
        await chat("threads.list")
    finally:
        ours.handlers, ours.propagate = before[:2]
        ours.setLevel(before[2])
    [user] = seen
    assert (user.subject, dict(user.claims)) == (SUBJECT, {"plan": CLAIM, "org": (ORG,)})
    logged = [json.loads(line) for line in stream.getvalue().splitlines()]
    ignored = [(line["kind"], line["reason"]) for line in logged if line.get("message") == "claim_ignored"]
    assert set(ignored) == {("big", "length"), ("odd", "type")}
    output = "".join(capfd.readouterr()) + stream.getvalue() + answer.body.decode() + repr(user)
    stored = repr(vars(store)) + everything_in(store)
    for marker in (SUBJECT, CLAIM, ORG):
        assert marker not in output
        assert marker not in stored
    assert user.id in stored
    assert user.id in output


def everything_in(value: object, depth: int = 0) -> str:
    """Return all text in an object, some levels deep: rows, journals and ledgers of a memory store."""
    if depth > 8:
        return ""
    if isinstance(value, dict):
        return "".join(everything_in(part, depth + 1) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple | set | frozenset):
        return "".join(everything_in(part, depth + 1) for part in value)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if hasattr(value, "__dict__"):
        return everything_in(vars(value), depth + 1)
    if dataclasses.is_dataclass(value):
        return "".join(everything_in(getattr(value, field.name), depth + 1) for field in dataclasses.fields(value))
    return str(value)
