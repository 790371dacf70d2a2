"""A plain model of the TurnLedger port: what one user has there, and until when. Times are in milliseconds."""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from lambda_src.store.ports import IdempotencyConflict, TurnRow


@dataclass
class ModelThread:
    """A thread's lease and the journals of its turns: number -> bytes and when they are over."""

    turn: TurnRow | None = None
    touched_ms: int = 0  # when the lease was written
    journals: dict[str, dict[int, tuple[bytes, int]]] = field(default_factory=dict)

    def kept_up(self, **changes: Any) -> TurnRow:
        """The lease after its holder wrote it."""
        assert self.turn is not None
        return replace(self.turn, unrecovered=(), **changes)


@dataclass
class ModelClaim:
    """A key: whose, where that runs, for which body, until when."""

    turn_id: str
    thread_id: str | None
    body: bytes
    expires_ms: int
    refusal: str | None = None
    ended: bool = False

    def lost(self, body: bytes | None) -> IdempotencyConflict:
        """What a request with this body hears of it."""
        return IdempotencyConflict(self.turn_id, self.thread_id, body in (None, self.body), self.refusal, self.ended)


@dataclass
class ModelUser:
    """Everything of one user's."""

    threads: dict[str, ModelThread] = field(default_factory=dict)
    gone: dict[str, int] = field(default_factory=dict)  # and when they were deleted
    claims: dict[str, ModelClaim] = field(default_factory=dict)
    stops: dict[str, tuple[str, int]] = field(default_factory=dict)
    spent: Counter[tuple[str, int]] = field(default_factory=Counter)
    runs: dict[str, int] = field(default_factory=dict)
