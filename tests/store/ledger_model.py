"""A plain model of the turn ledger, per user, for the state machine test. Times are in milliseconds."""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from lambda_src.store.ports import IdempotencyConflict, TurnRow


@dataclass
class ModelThread:
    """A thread's lease and its turns' journals: batch number -> (bytes, expiry)."""

    turn: TurnRow | None = None
    touched_ms: int = 0  # when the lease was written
    journals: dict[str, dict[int, tuple[bytes, int]]] = field(default_factory=dict)

    def renewed(self, **changes: Any) -> TurnRow:
        """Return the lease after its holder has written it."""
        assert self.turn is not None
        return replace(self.turn, unrecovered=(), **changes)


@dataclass
class ModelClaim:
    """An idempotency key: its turn and thread, its body, its expiry."""

    turn_id: str
    thread_id: str | None
    body: bytes
    expires_ms: int
    refusal: str | None = None
    ended: bool = False

    def conflict(self, body: bytes | None) -> IdempotencyConflict:
        """Return the conflict that a request with this body gets."""
        return IdempotencyConflict(self.turn_id, self.thread_id, body in (None, self.body), self.refusal, self.ended)


@dataclass
class ModelUser:
    """Everything of one user's."""

    threads: dict[str, ModelThread] = field(default_factory=dict)
    gone: dict[str, int] = field(default_factory=dict)  # deleted threads -> time of deletion
    claims: dict[str, ModelClaim] = field(default_factory=dict)
    stops: dict[str, tuple[str, int]] = field(default_factory=dict)
    spent: Counter[tuple[str, int]] = field(default_factory=Counter)
    runs: dict[str, int] = field(default_factory=dict)
