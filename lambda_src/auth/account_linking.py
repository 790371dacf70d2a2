"""Account linking: when a guest signs in, the guest's threads move to the user, once. Knows neither HTTP nor rows.

A claim is stored first. From then on nobody else can take the guest's threads, and the hourly event finishes a move
that was interrupted.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from chatkit.types import Page, ThreadMetadata

from lambda_src.context import RequestContext, User
from lambda_src.errors import RequestError
from lambda_src.store.ports import Claim, Handover
from lambda_src.turns.lifecycle import Turns

if TYPE_CHECKING:
    from lambda_src.attachments.files import Files

AT_ONCE_S = 5.0  # while the user waits; a guest has about 100 threads at most, and the hourly event moves the rest
PAGE = 100


class Threads(Handover, Protocol):
    """The part of a store that account linking uses."""

    async def load_threads(
        self, limit: int, after: str | None, order: str, context: RequestContext
    ) -> Page[ThreadMetadata]: ...


@dataclass(frozen=True, slots=True)
class LinkedThreads:
    """How many threads were moved, and how many are left because a turn runs in them or time ran out."""

    threads: int
    left: int


class AccountLinking:
    """Moves threads: `link` in the user's request, `finish` in the hourly event. `now` is in seconds."""

    def __init__(
        self,
        threads: Threads,
        turns: Turns,
        *,
        files: "Files | None" = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threads, self._turns, self._files, self._now = threads, turns, files, now

    async def link(self, guest: User, context: RequestContext) -> LinkedThreads:
        """Move the guest's threads at the user's assistant to the user. The request can be repeated.

        RequestError: the user is a guest, or the guest is not one. ConflictError: another user has claimed the guest.
        """
        if context.user.is_guest or not guest.is_guest:
            raise RequestError("Sign in first, and name a guest: threads go from a guest to a user.")
        if context.user.assistant:  # claims the guest at all assistants, not only at this one
            await self._threads.claim_guest(guest.id, replace(context, user=User(context.user.person)))
        guest_id = guest.at(context.user.assistant).id
        await self._threads.claim_guest(guest_id, context)
        until_s = self._now() + AT_ONCE_S
        return await self._move(Claim(guest_id, context.user.id), context.request_id, lambda: self._now() >= until_s)

    async def finish(self, *, stop: Callable[[], bool]) -> int:
        """Continue every unfinished claim until `stop()`. Returns how many threads were moved."""
        moved = 0
        async for claim in self._threads.claimed_guests():
            if stop():
                break
            moved += (await self._move(claim, "sweep", stop)).threads
        return moved

    async def _move(self, claim: Claim, request_id: str, stop: Callable[[], bool]) -> LinkedThreads:
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
        return LinkedThreads(moved, len(waiting) - moved)

    async def _hand_over(self, thread_id: str, guest: RequestContext, user: RequestContext) -> bool:
        """Move one thread; False while a turn runs in it. Saves the partial answer of a dead turn first."""
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
            assert self._files is not None, "copy_file had a file store"
            await self._files.delete_attachment(attachment_id, guest)
        return True

    async def _listed(self, guest: RequestContext) -> list[str]:
        """The ids of all the guest's threads, read before the first is moved."""
        thread_ids: list[str] = []
        after: str | None = None
        while True:
            page = await self._threads.load_threads(PAGE, after, "asc", guest)
            thread_ids += [thread.id for thread in page.data]
            if not page.has_more:
                return thread_ids
            after = page.after
