"""A guest signs in: what the guest had becomes the user's, once. Knows neither HTTP nor rows.

A claim is noted first: nobody else can have the guest's threads, and whatever stops us, the hourly event goes on.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from chatkit.types import Page, ThreadMetadata

from lambda_src.context import RequestContext, User
from lambda_src.errors import RequestError
from lambda_src.store.handover import Claim, Handover
from lambda_src.turns.lifecycle import Turns

if TYPE_CHECKING:
    from lambda_src.attachments.files import Files

AT_ONCE_S = 5.0  # while the user waits; a guest has some 100 threads at most, and the hourly event does the rest
PAGE = 100


class Threads(Handover, Protocol):
    """What is needed of a store."""

    async def load_threads(
        self, limit: int, after: str | None, order: str, context: RequestContext
    ) -> Page[ThreadMetadata]: ...


@dataclass(frozen=True, slots=True)
class Adopted:
    """How many threads changed hands, and how many still will: an answer is being written in them, or time was up."""

    threads: int
    left: int


class AccountLinking:
    """`adopt` for who signed in, `finish` for whoever has time. `now` in seconds."""

    def __init__(
        self,
        threads: Threads,
        turns: Turns,
        *,
        files: "Files | None" = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threads, self._turns, self._files, self._now = threads, turns, files, now

    async def adopt(self, guest: User, context: RequestContext) -> Adopted:
        """Take over what the guest has at the user's assistant; the same user may ask again.

        RequestError: one of the two is not what they should be. ConflictError: somebody else took it over.
        """
        if context.user.is_guest or not guest.is_guest:
            raise RequestError("Sign in first, and name a guest: threads go from a guest to a user.")
        if context.user.assistant:  # the person is claimed, not only what they are at one assistant
            await self._threads.claim_guest(guest.id, replace(context, user=User(context.user.person)))
        guest_id = guest.at(context.user.assistant).id
        await self._threads.claim_guest(guest_id, context)
        until_s = self._now() + AT_ONCE_S
        return await self._move(Claim(guest_id, context.user.id), context.request_id, lambda: self._now() >= until_s)

    async def finish(self, *, stop: Callable[[], bool]) -> int:
        """Go on with every claim that was not ended, until `stop()`; how many threads changed hands."""
        moved = 0
        async for claim in self._threads.claimed_guests():
            if stop():
                break
            moved += (await self._move(claim, "sweep", stop)).threads
        return moved

    async def _move(self, claim: Claim, request_id: str, stop: Callable[[], bool]) -> Adopted:
        guest = RequestContext(User(claim.guest_id, is_guest=True), request_id)
        user = RequestContext(User(claim.user_id), request_id)
        waiting = await self._listed(guest)
        moved = 0
        for thread_id in waiting:
            if stop():
                break
            moved += await self._hand_over(thread_id, guest, user)
        if moved == len(waiting):
            await self._threads.end_claim(claim.guest_id, user)
        return Adopted(moved, len(waiting) - moved)

    async def _hand_over(self, thread_id: str, guest: RequestContext, user: RequestContext) -> bool:
        """False while a turn runs in the thread. What a turn that died had said is kept first."""
        await self._turns.recover(thread_id, guest)
        if await self._turns.running_in(thread_id, guest) is not None:
            return False
        copied: list[str] = []

        async def copy_file(attachment_id: str) -> None:
            if self._files is not None:
                await self._files.copy_to(user.user, attachment_id, guest)
                copied.append(attachment_id)

        if not await self._threads.hand_over(thread_id, guest.user.id, user, copy_file=copy_file):
            return False
        for attachment_id in copied:
            assert self._files is not None, "it copied them"
            await self._files.delete_attachment(attachment_id, guest)
        return True

    async def _listed(self, guest: RequestContext) -> list[str]:
        """All threads of the guest's, before the first of them goes."""
        found: list[str] = []
        after: str | None = None
        while True:
            page = await self._threads.load_threads(PAGE, after, "asc", guest)
            found += [thread.id for thread in page.data]
            if not page.has_more:
                return found
            after = page.after
