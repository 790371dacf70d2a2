"""Size limits of one turn: the message, the history that the model sees, and each answer. Knows no request, no model.

These bounds make it possible to reserve a turn's tokens before its first request to the model (turn_quota.py).
"""

from dataclasses import dataclass

from lambda_src.context import User
from lambda_src.settings import Settings

RESERVED_TOKENS = 2_000  # for an answer without a limit: one of medium length
TITLE_TOKENS = 1_000  # for a title, including the model's reasoning
PROMPT_TOKENS = 2_000  # for instructions and tools, before the agent is loaded; larger agents reserve the rest later


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnLimits:
    """Size limits of one user's turns. `output_tokens` limits each answer of the model; 0 means no limit."""

    message_chars: int
    history_tokens: int
    output_tokens: int

    @property
    def reserved_output(self) -> int:
        """The output tokens to reserve for one answer."""
        return self.output_tokens or RESERVED_TOKENS


def turn_limits(settings: Settings, user: User) -> TurnLimits:
    """The limits of this user's turns. A guest's are never larger than a signed-in user's."""
    chars, history, output = settings.message_chars, settings.history_tokens, settings.quotas.max_output_tokens
    if user.is_guest:
        size = settings.guest_quotas.turn_tokens
        chars, history, output = min(chars, size), min(history, size), min(output or size // 4, size // 4)
    return TurnLimits(message_chars=chars, history_tokens=history, output_tokens=output)
