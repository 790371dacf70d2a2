"""Moves a guest's thread to a user in PostgreSQL: one transaction changes the owner of all its rows.

Turns are stored elsewhere (ports.TurnLedger): PostgresStore.hand_over moves them first.
"""

from collections.abc import AsyncIterator

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

from lambda_src.context import RequestContext
from lambda_src.errors import ConflictError
from lambda_src.store import bounds
from lambda_src.store.bounds import within_budget
from lambda_src.store.ports import Claim, CopyFile, thread_already_exists
from lambda_src.store.postgres import statements as sql
from lambda_src.store.postgres.schema import attachments, claims, feedback, items, threads
from lambda_src.store.postgres.sessions import Sessions, transaction


class PostgresHandover:
    """ports.Handover."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    @within_budget
    async def claim_guest(self, guest_id: str, context: RequestContext) -> None:
        """ports.Handover."""
        bounds.writable(context.user.id, guest_id)
        new = insert(claims).values(guest_id=guest_id, user_id=context.user.id, is_open=True)
        mine = new.on_conflict_do_update(
            index_elements=["guest_id"], set_={"is_open": True}, where=claims.c.user_id == context.user.id
        )
        async with transaction(self._sessions) as session:
            if (await session.execute(mine.returning(claims.c.guest_id))).first() is None:
                raise ConflictError("Another user has already taken over this guest's threads.")

    @within_budget
    async def end_claim(self, guest_id: str, context: RequestContext) -> None:
        """ports.Handover."""
        async with transaction(self._sessions) as session:
            await session.execute(update(claims).where(claims.c.guest_id == guest_id).values(is_open=False))

    async def claimed_guests(self) -> AsyncIterator[Claim]:
        """ports.Handover."""
        async with transaction(self._sessions) as session:
            rows = (await session.execute(select(claims).where(claims.c.is_open))).mappings().all()
        for row in rows:
            yield Claim(row["guest_id"], row["user_id"])

    async def hand_over(self, thread_id: str, guest_id: str, context: RequestContext, *, copy_file: CopyFile) -> bool:
        """ports.Handover. No time budget: copying files takes time."""
        bounds.writable(context.user.id, guest_id, thread_id)
        bound = select(attachments.c.id).where(sql.of_user(attachments, guest_id, thread_id=thread_id))
        async with transaction(self._sessions) as session:
            attachment_ids = (await session.execute(bound)).scalars().all()
        for attachment_id in attachment_ids:
            await copy_file(attachment_id)
        async with transaction(self._sessions) as session:
            of_guest = sql.of_user(threads, guest_id, id=thread_id)
            living = select(threads.c.id).where(of_guest, threads.c.deleted_s.is_(None)).with_for_update()
            if (await session.execute(living)).first() is None:
                return True
            of_user = select(threads.c.id).where(sql.of_user(threads, context.user.id, id=thread_id))
            if (await session.execute(of_user)).first() is not None:
                raise thread_already_exists(thread_id)
            await session.execute(update(threads).where(of_guest).values(user_id=context.user.id))
            for table in (items, attachments, feedback):
                of_thread = sql.of_user(table, guest_id, thread_id=thread_id)
                await session.execute(update(table).where(of_thread).values(user_id=context.user.id))
        return True
