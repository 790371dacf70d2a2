"""What the cases of the ledger's contract share: processes on the same rows, and their time. Knows no engine."""

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
    """The time of every process of a test; it stands still until it is told to go on."""

    now_ns: int = START_NS

    def __call__(self) -> int:
        return self.now_ns

    @property
    def now_ms(self) -> int:
        """The same in milliseconds."""
        return self.now_ns // 1_000_000

    def later(self, *, ms: int) -> None:
        """Let time pass."""
        self.now_ns += ms * 1_000_000


Open = Callable[[Clock], Any]


@dataclass
class Processes:
    """Stores on the same rows, each as another process would build it."""

    open: Open
    clock: Clock = field(default_factory=Clock)

    def store(self, *, ahead_s: int = 0) -> Any:
        """Another process, whose clock may be ahead of the test's."""
        return self.open(self.clock if not ahead_s else Clock(self.clock.now_ns + ahead_s * 10**9))

    def ledger(self, *, ahead_s: int = 0) -> TurnLedger:
        """Its ledger."""
        ledger: TurnLedger = self.store(ahead_s=ahead_s).ledger
        return ledger


class LedgerCase:
    """The fixtures that the cases of the contract share."""

    @pytest.fixture
    def processes(self) -> Processes:
        """Stores on new, empty rows; each subclass has its own."""
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
        """Hundreds of calls at once wait for one laptop's engine: that is not the time that the budget is for."""
        monkeypatch.setattr(bounds, "OPERATION_BUDGET_S", 60)

    @pytest.fixture
    def clock(self, processes: Processes) -> Clock:
        """Their time."""
        return processes.clock


def until(context: RequestContext, deadline_ms: int) -> RequestContext:
    """The same request, in an invocation that Lambda kills then."""
    return replace(context, deadline_ms=deadline_ms)


def bare(row: TurnRow | None) -> TurnRow | None:
    """A lease without the clock that it hands over: the contract's own tests look at the order that comes of it."""
    return None if row is None else replace(row, last_order=0)
