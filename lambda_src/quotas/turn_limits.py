"""How large one turn may be: its message, the history that the model sees and the answer. Knows no request, no model.

Without these bounds the cost of a turn cannot be reserved before the model is asked (turn_quota.py).
"""

from dataclasses import dataclass, field

from lambda_src.context import User
from lambda_src.settings import (
    GUEST_HISTORY_TOKENS,
    GUEST_MESSAGE_CHARS,
    GUEST_OUTPUT_TOKENS,
    HISTORY_TOKENS,
    MESSAGE_CHARS,
    Settings,
)

RESERVED_TOKENS = 2_000  # of an answer that no limit bounds: one of middling length
TITLE_TOKENS = 1_000  # of a title, what the model thinks before it included
PROMPT_TOKENS = 2_000  # of instructions and tools, before the agent is loaded; a larger agent reserves the rest later


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnLimits:
    """Of one turn. `output_tokens` limits each answer of the model; 0 is no limit."""

    message_chars: int = MESSAGE_CHARS
    history_tokens: int = HISTORY_TOKENS
    output_tokens: int = 0

    @property
    def reserved_output(self) -> int:
        """What is reserved for one answer."""
        return self.output_tokens or RESERVED_TOKENS

    def within(self, other: "TurnLimits") -> "TurnLimits":
        """The smaller of each."""
        outputs = [one for one in (self.output_tokens, other.output_tokens) if one]
        return TurnLimits(
            message_chars=min(self.message_chars, other.message_chars),
            history_tokens=min(self.history_tokens, other.history_tokens),
            output_tokens=min(outputs, default=0),
        )


OF_GUESTS = TurnLimits(
    message_chars=GUEST_MESSAGE_CHARS, history_tokens=GUEST_HISTORY_TOKENS, output_tokens=GUEST_OUTPUT_TOKENS
)


@dataclass(frozen=True, slots=True)
class LimitsByUser:
    """Limits of those who sign in, and of guests."""

    of_users: TurnLimits = field(default_factory=TurnLimits)
    of_guests: TurnLimits = OF_GUESTS

    def of(self, user: User) -> TurnLimits:
        """A guest's are never larger than a user's."""
        return self.of_guests.within(self.of_users) if user.is_guest else self.of_users


DEFAULT_LIMITS = LimitsByUser()


def limits_by(settings: Settings) -> LimitsByUser:
    """As the settings say."""
    return LimitsByUser(
        TurnLimits(
            message_chars=settings.message_chars,
            history_tokens=settings.history_tokens,
            output_tokens=settings.max_output_tokens,
        ),
        TurnLimits(
            message_chars=settings.guest_message_chars,
            history_tokens=settings.guest_history_tokens,
            output_tokens=settings.guest_output_tokens,
        ),
    )
