"""The whole turn ledger contract. Subclasses provide the stores: see test_ledger.py."""

from tests.store.ledger_bad_input import LedgerBadInputContract
from tests.store.ledger_followers import FollowerContract
from tests.store.ledger_guards import GuardContract
from tests.store.ledger_journals import JournalContract
from tests.store.ledger_leases import LeaseContract
from tests.store.ledger_quotas import QuotaContract


class LedgerContract(
    LeaseContract, JournalContract, GuardContract, QuotaContract, FollowerContract, LedgerBadInputContract
):
    """Every part of the contract."""
