"""Who is an operator: a claim of the issuer's tokens, a role in a backend's token; whatever else a token contains."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_src.auth import BackendToken, BearerToken, IssuerKeys
from lambda_src.auth.jwt_claims import usable
from lambda_src.auth.operators import OperatorRoles
from lambda_src.errors import SettingsError
from lambda_src.json_settings import OperatorSettings
from lambda_src.settings import Settings
from tests.auth.test_backend_tokens import ED_JWK, token
from tests.fakes.issuer import ISSUER, Issuer
from tests.test_settings import ENV

SETTINGS = OperatorSettings(claim="groups", value="support", assistants=("", "sales"))
ROLES = OperatorRoles(SETTINGS)
BOTH = frozenset({"", "sales"})
NOBODY: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("groups", "operates"),
    [
        ("support", BOTH),
        (["everyone", "support"], BOTH),
        ([f"group-{number}" for number in range(1_000)] + ["support"], BOTH),
        ([{"name": "support"}, 7, None, "support"], BOTH),
        ([f"group-{number}" for number in range(1_000)], NOBODY),
        ("Support", NOBODY),
        ("support admins", NOBODY),
        ({"support": True}, NOBODY),
        ([["support"]], NOBODY),
        (True, NOBODY),
        (7, NOBODY),
        (None, NOBODY),
    ],
    ids=lambda value: str(value)[:30],
)
def test_the_claim_has_or_contains_the_value(groups: Any, operates: frozenset[str]) -> None:
    assert ROLES.of_issuer({"groups": groups}) == operates
    assert ROLES.of_backend({"groups": groups}) == NOBODY


@pytest.mark.parametrize(
    ("claims", "operates"),
    [
        ({"role": "operator"}, BOTH),
        ({"role": "operator", "assistants": ["sales"]}, frozenset({"sales"})),
        ({"role": "operator", "assistants": ["sales", "unknown", 7, {}]}, frozenset({"sales"})),
        ({"role": "operator", "assistants": []}, NOBODY),
        ({"role": "operator", "assistants": "sales"}, NOBODY),
        ({"role": "operator", "assistants": {"sales": 1}}, NOBODY),
        ({"role": ["operator"]}, NOBODY),
        ({"role": "admin"}, NOBODY),
        ({}, NOBODY),
    ],
    ids=str,
)
def test_a_backend_names_operators_by_their_role(claims: dict[str, Any], operates: frozenset[str]) -> None:
    assert ROLES.of_backend(claims) == operates
    assert ROLES.of_issuer(claims) == NOBODY


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(groups=json_values, role=json_values, assistants=json_values)
def test_no_claim_is_an_error(groups: Any, role: Any, assistants: Any) -> None:
    claims = {"groups": groups, "role": role, "assistants": assistants}
    assert ROLES.of_issuer(claims) <= BOTH
    assert ROLES.of_backend(claims) <= BOTH


async def test_a_stage_without_operators_has_none() -> None:
    user = await BackendToken(usable([ED_JWK]), "chat")(token(role="operator", groups=["support"]))
    assert user.operates == NOBODY


async def test_operators_sign_in_like_everybody_else() -> None:
    backend = BackendToken(usable([ED_JWK]), "chat", roles=ROLES)
    assert (await backend(token(role="operator", assistants=[""]))).operates == {""}
    issuer = Issuer()
    bearer = BearerToken(ISSUER, "chat", keys=IssuerKeys(ISSUER, fetch=issuer.fetch), roles=ROLES)
    assert (await bearer(f"Bearer {issuer.token(groups=['support'])}")).operates == BOTH
    assert (await bearer(f"Bearer {issuer.token(groups=['staff'])}")).operates == NOBODY
    assert (await bearer(f"Bearer {issuer.token(role='operator')}")).operates == NOBODY


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("support", "must be a JSON object"),
        ("[]", "must be a JSON object"),
        ('{"claims": "groups"}', "did you mean claim"),
        ('{"claim": "groups"}', "needs claim and value together"),
        ('{"claim": 7, "value": "support"}', "claim must be a text"),
        ('{"claim": "groups", "value": " "}', "value must be a text"),
        ('{"assistants": []}', "assistants must be a list"),
        ('{"assistants": "sales"}', "assistants must be a list"),
        ('{"handoff_wait_minutes": 0}', "handoff_wait_minutes must be a whole number from 1 to 1440"),
        ('{"handoff_wait_minutes": "5"}', "handoff_wait_minutes must be a whole number from 1 to 1440"),
        ('{"unanswered_message": " "}', "unanswered_message must be a text"),
        ('{"unanswered_message": null}', "unanswered_message must be a text"),
    ],
)
def test_a_wrong_value_has_a_sentence(value: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        Settings.from_env({**ENV, "CHAT_OPERATORS": value})


def test_an_empty_object_is_for_tokens_of_ones_own_backend() -> None:
    assert Settings.from_env({**ENV, "CHAT_OPERATORS": "{}"}).operators == OperatorSettings()
