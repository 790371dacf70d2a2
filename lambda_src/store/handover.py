"""The port by which threads change hands: a guest signs in, and what the guest had becomes the user's. Knows no engine.

Kept by every store. `context` is the user's who takes over; the guest is named, since nobody is there as the guest.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from lambda_src.context import RequestContext
from lambda_src.errors import ConflictError

CopyFile = Callable[[str], Awaitable[None]]
"""Copies the bytes of one attachment, by its id, to where the user's are kept. Twice is once."""

CLAIM_TTL_S = 30 * 86_400  # how long a claim is remembered: a guest's token ends long before (auth/guests.py)


def already_theirs(thread_id: str) -> ConflictError:
    """The error when both have a thread of one id, which an import can cause: neither is overwritten."""
    return ConflictError(f"The user already has a thread {thread_id}; the guest's thread of this id stays where it is.")


@dataclass(frozen=True, slots=True)
class Claim:
    """A handover that was begun and has not been finished."""

    guest_id: str
    user_id: str


class Handover(Protocol):
    """Claim a guest, hand each thread over, end the claim. Every step may be the last, and may be done again."""

    async def claim_guest(self, guest_id: str, context: RequestContext) -> None:
        """Note that the user takes over what the guest has; again is quiet. ConflictError: somebody else did."""
        ...

    async def end_claim(self, guest_id: str, context: RequestContext) -> None:
        """Nothing is left to be handed over. The guest stays claimed."""
        ...

    def claimed_guests(self) -> AsyncIterator[Claim]:
        """Every claim that was not ended."""
        ...

    async def hand_over(self, thread_id: str, guest_id: str, context: RequestContext, *, copy_file: CopyFile) -> bool:
        """Make the guest's thread the user's, with its items, feedback and attachments: the user sees all or nothing.

        False, and nothing is done, while a turn runs in it. True when it is over, or there is no such thread.
        ConflictError, and nothing is done, when the user already has a thread of this id.
        """
        ...
