"""Size limits of one turn: the message, the history that the model sees, and each answer. Knows no request, no model.

These bounds make it possible to reserve a turn's tokens before its first request to the model (turn_quota.py).
"""

from dataclasses import dataclass, field

from lambda_src.context import User
from lambda_src.settings import GUEST_TURN_TOKENS, HISTORY_TOKENS, MESSAGE_CHARS, Settings

RESERVED_TOKENS = 2_000  # for an answer without a limit: one of medium length
TITLE_TOKENS = 1_000  # for a title, including the model's reasoning
PROMPT_TOKENS = 2_000  # for instructions and tools, before the agent is loaded; larger agents reserve the rest later


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnLimits:
    """Size limits of one turn. `output_tokens` limits each answer of the model; 0 means no limit."""

    message_chars: int = MESSAGE_CHARS
    history_tokens: int = HISTORY_TOKENS
    output_tokens: int = 0

    @property
    def reserved_output(self) -> int:
        """The output tokens to reserve for one answer."""
        return self.output_tokens or RESERVED_TOKENS

    def within(self, other: "TurnLimits") -> "TurnLimits":
        """The stricter of each pair of limits."""
        outputs = [tokens for tokens in (self.output_tokens, other.output_tokens) if tokens]
        return TurnLimits(
            message_chars=min(self.message_chars, other.message_chars),
            history_tokens=min(self.history_tokens, other.history_tokens),
            output_tokens=min(outputs, default=0),
        )


def guest_limits(turn_tokens: int) -> TurnLimits:
    """The limits of a guest's turn, by its size in tokens of history."""
    return TurnLimits(message_chars=turn_tokens, history_tokens=turn_tokens, output_tokens=turn_tokens // 4)


OF_GUESTS = guest_limits(GUEST_TURN_TOKENS)


@dataclass(frozen=True, slots=True)
class LimitsByUser:
    """The limits of signed-in users and of guests."""

    of_users: TurnLimits = field(default_factory=TurnLimits)
    of_guests: TurnLimits = OF_GUESTS

    def of(self, user: User) -> TurnLimits:
        """The limits of this user. A guest's are never larger than a signed-in user's."""
        return self.of_guests.within(self.of_users) if user.is_guest else self.of_users


DEFAULT_LIMITS = LimitsByUser()


def limits_by(settings: Settings) -> LimitsByUser:
    """The limits that the settings configure."""
    return LimitsByUser(
        TurnLimits(
            message_chars=settings.message_chars,
            history_tokens=settings.history_tokens,
            output_tokens=settings.quotas.max_output_tokens,
        ),
        guest_limits(settings.guest_quotas.turn_tokens),
    )
