"""Shared fixtures of the turn ledger contract: processes on the same rows, and their clock."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from lambda_src.context import RequestContext
from lambda_src.dev.store_contract.samples import context_of
from lambda_src.store import bounds
from lambda_src.store.ports import TurnLedger, TurnRow

START_NS = 1_800_000_000 * 10**9  # January 2027, at a full minute, eight hours into the day in UTC
DAY_LEFT_S = 16 * 3600
LEASE_MS = 10_000

ADA = context_of("ada")
BOB = context_of("bob")


@dataclass
class Clock:
    """The clock of all processes of a test, which only `later` advances."""

    now_ns: int = START_NS

    def __call__(self) -> int:
        return self.now_ns

    @property
    def now_ms(self) -> int:
        """The time in milliseconds."""
        return self.now_ns // 1_000_000

    def later(self, *, ms: int) -> None:
        """Let time pass."""
        self.now_ns += ms * 1_000_000


Open = Callable[[Clock], Any]


@dataclass
class Processes:
    """Builds stores on the same rows, one per process."""

    open: Open
    clock: Clock = field(default_factory=Clock)

    def store(self, *, ahead_s: int = 0) -> Any:
        """Return another process's store, whose clock may be ahead."""
        return self.open(self.clock if not ahead_s else Clock(self.clock.now_ns + ahead_s * 10**9))

    def ledger(self, *, ahead_s: int = 0) -> TurnLedger:
        """Return another process's ledger."""
        ledger: TurnLedger = self.store(ahead_s=ahead_s).ledger
        return ledger


class LedgerCase:
    """Fixtures for all parts of the contract."""

    @pytest.fixture
    def processes(self) -> Processes:
        """Processes on new, empty rows; defined by each subclass."""
        raise NotImplementedError

    @pytest.fixture
    def ledger(self, processes: Processes) -> TurnLedger:
        """The ledger of one process."""
        return processes.ledger()

    @pytest.fixture
    def other(self, processes: Processes) -> TurnLedger:
        """The ledger of another process on the same rows."""
        return processes.ledger()

    @pytest.fixture
    def crowd(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A longer operation budget: hundreds of concurrent calls take longer on a local engine."""
        monkeypatch.setattr(bounds, "OPERATION_BUDGET_S", 60)

    @pytest.fixture
    def clock(self, processes: Processes) -> Clock:
        """The processes' clock."""
        return processes.clock


def until(context: RequestContext, deadline_ms: int) -> RequestContext:
    """Return the same request in an invocation with this deadline."""
    return replace(context, deadline_ms=deadline_ms)


def without_order(row: TurnRow | None) -> TurnRow | None:
    """Return a lease without its clock; other tests check the resulting order of items."""
    return None if row is None else replace(row, last_order=0)
