"""Threads that change hands in dictionaries: MemoryStore's half of handover.Handover."""

from collections.abc import AsyncIterator, Callable

from lambda_src.context import RequestContext
from lambda_src.errors import ConflictError
from lambda_src.store import bounds
from lambda_src.store.handover import Claim, CopyFile, already_theirs
from lambda_src.store.memory.rows import UserRows

_NS = 1_000_000_000


class MemoryHandover:
    """handover.Handover."""

    def __init__(self, users: dict[str, UserRows], clock: Callable[[], int]) -> None:
        self._users = users
        self._clock = clock

    async def claim_guest(self, guest_id: str, context: RequestContext) -> None:
        """handover.Handover."""
        bounds.writable(context.user.id, guest_id)
        guest = self._users.setdefault(guest_id, UserRows())
        if guest.claimed_by not in (None, context.user.id):
            raise ConflictError("This guest's threads were taken over by somebody else.")
        guest.claimed_by, guest.is_being_claimed = context.user.id, True

    async def end_claim(self, guest_id: str, context: RequestContext) -> None:
        """handover.Handover."""
        self._users.setdefault(guest_id, UserRows()).is_being_claimed = False

    async def claimed_guests(self) -> AsyncIterator[Claim]:
        """handover.Handover."""
        for guest_id, guest in list(self._users.items()):
            if guest.is_being_claimed and guest.claimed_by is not None:
                yield Claim(guest_id, guest.claimed_by)

    async def hand_over(self, thread_id: str, guest_id: str, context: RequestContext, *, copy_file: CopyFile) -> bool:
        """handover.Handover."""
        bounds.writable(context.user.id, guest_id, thread_id)
        guest = self._users.get(guest_id, UserRows())
        for attachment_id in guest.bound_to(thread_id):
            await copy_file(attachment_id)
        if thread_id not in guest.threads:
            return True
        if thread_id in self._users.setdefault(context.user.id, UserRows()).threads:
            raise already_theirs(thread_id)
        turn = guest.ledger.turns.get(thread_id)
        if turn is not None and not turn.ended:
            return False
        guest.hand_over(thread_id, self._users[context.user.id], now_s=self._clock() // _NS)
        return True
