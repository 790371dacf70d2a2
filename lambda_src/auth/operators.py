"""Operators: the people who answer when the assistant cannot. Decides from verified claims who is one. Knows no HTTP.

A stage names the claim of its issuer's tokens, and the value that makes somebody an operator. A token of the customer's
own backend says `"role": "operator"`, and may list the `assistants`. Guests are never operators. Claims come from
outside, so any other type of value makes nobody an operator.
"""

from collections.abc import Mapping
from typing import Any

from lambda_src.json_settings import OperatorSettings

ROLE = "operator"


class OperatorRoles:
    """Reads the assistants for which a token makes its bearer an operator. None: the stage has no operators."""

    def __init__(self, settings: OperatorSettings | None = None) -> None:
        self._settings = settings

    def of_issuer(self, claims: Mapping[str, Any]) -> frozenset[str]:
        """By the issuer's claim: the value itself, or a list that contains it."""
        if (settings := self._settings) is None or settings.claim is None:
            return frozenset()
        match claims.get(settings.claim):
            case str(value) if value == settings.value:
                return frozenset(settings.assistants)
            case list(values) if settings.value in values:
                return frozenset(settings.assistants)
            case _:
                return frozenset()

    def of_backend(self, claims: Mapping[str, Any]) -> frozenset[str]:
        """By the role in a backend's token; for all assistants of the stage's operators, or those that it lists."""
        if (settings := self._settings) is None or claims.get("role") != ROLE:
            return frozenset()
        match claims.get("assistants"):
            case None:
                return frozenset(settings.assistants)
            case list(names):
                return frozenset(name for name in settings.assistants if name in names)
            case _:
                return frozenset()
