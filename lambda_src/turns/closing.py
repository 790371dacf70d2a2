"""How a turn ends: the unfinished answer is stored, the stream gets its last events, the lease ends.

The steps do not depend on each other, so that a store that fails at this moment costs as little as possible. The
journal is written while the answer is stored, and the reader gets its last events in any case. If the answer could not
be stored, the lease is left to expire: whoever uses the thread next stores the answer from the journal. Knows no HTTP,
no server and no model.
"""

import asyncio

from chatkit.store import NotFoundError
from chatkit.types import AssistantMessageItem, ErrorEvent, NoticeEvent, ThreadItemDoneEvent, ThreadItemRemovedEvent
from pydantic import BaseModel

from lambda_src import chatkit_json
from lambda_src.context import RequestContext
from lambda_src.errors import ChatError, ConflictError, UnavailableError
from lambda_src.languages import Language
from lambda_src.observability.faults import log_fault
from lambda_src.turns import partial_answer
from lambda_src.turns.event_queue import TurnOutput
from lambda_src.turns.journal import Journal, NowMs, Sleep
from lambda_src.turns.lease import Lease
from lambda_src.turns.persistence import AnswerStore, InterruptReason

HURRIED_S = 1.0  # at the deadline: what lease, answer and journal may take each, so that the notice goes out in time
KEEP_AGAIN_S = 1.0  # between two attempts to store an answer that ended while the store did not respond
KEEP_TRIES = 30  # an outage of the store lasts seconds; after that the next reader stores what the journal has
LAST_TRY_MS = 1_500  # before Lambda's time-out: the pause before the last attempt, and the attempt

ERROR = b'data: {"type":"error"'
NOTICE = b'data: {"type":"notice"'
OPENING = (ERROR, b'data: {"type":"stream_options"')

DEADLINE = NoticeEvent(
    level="warning",
    title="Cut off",
    message="This answer took longer than one may take. Write “continue” and I will go on from there.",
)
SHUTDOWN = NoticeEvent(
    level="warning",
    title="Interrupted",
    message="The server had to stop here. Write “continue” and I will go on from there.",
)
ELSEWHERE = NoticeEvent(
    level="info", title="Not answered here", message="This conversation went on in another window. Reload it."
)
CROWDED = NoticeEvent(
    level="info",
    title="Open in too many windows",
    message="This answer is being written in other windows too. Come back to this one when it is done, and reload it.",
)
BROKEN = "The answer broke off here. What you see was kept."


class Closing:
    """The end of one turn that has its lease. It adds the last events to `output`."""

    def __init__(
        self,
        lease: Lease,
        journal: Journal,
        output: TurnOutput,
        answers: AnswerStore,
        context: RequestContext,
        *,
        sleep: Sleep,
        clock: NowMs,
    ) -> None:
        self._lease, self._journal, self._output = lease, journal, output
        self._answers, self._context = answers, context
        self._sleep, self._clock = sleep, clock
        self._is_stored = True  # whether everything that had to be stored so far is

    async def before_error(self) -> InterruptReason | None:
        """Store the answer so far, before ChatKit's error event ends it. "superseded": a newer turn stores it."""
        if not partial_answer.unfinished(self._journal.events):
            return None
        if await self.is_superseded("failed"):
            return "superseded"
        for _ in range(KEEP_TRIES):
            await self._store_answer("failed")
            if self._is_stored:
                break
            await self._sleep(KEEP_AGAIN_S)  # the lease is still renewed, and the deadline still ends the turn
        return None

    async def is_superseded(self, cut: InterruptReason | None) -> bool:
        """Whether a turn that ends early has lost its lease without noticing: then it may not write any more.

        If the store does not answer, the turn stores its answer: nobody else uses the ids that its events reserved.
        """
        if cut is None or cut in ("stopped", "superseded"):  # the lease itself was the reason
            return False
        try:
            async with asyncio.timeout(_patience_s(cut)):
                renewal = await self._lease.renew()
        except (ChatError, TimeoutError) as error:
            log_fault("turn_renewal_failed", error)
            return False
        return renewal == "superseded"

    async def close(self, cut: InterruptReason | None, *, failed: bool) -> bool:
        """Emit the last events, write the last batch, then end the lease: followers stop reading after that.

        Returns whether the lease was still this turn's. ChatError: it could not be ended.
        """
        if cut is not None:
            _, is_visible = await asyncio.gather(self._write_journal(cut), self._store_answer(cut))
            self._remove_open_items()
            for event in last_events(cut, self._context.language, failed=failed, is_visible=is_visible):
                self._output.emit(event)
        await self._write_journal(cut)
        if cut is not None and cut != "shutdown":
            await self._store_when_possible(cut)
        if not self._is_stored:
            return True
        return await self._lease.end()

    async def _store_when_possible(self, cut: InterruptReason) -> None:
        """Try to store the answer until shortly before the deadline: this process has more of it than the journal."""
        for _ in range(KEEP_TRIES):
            if self._is_stored or self._is_due():
                return
            await self._sleep(KEEP_AGAIN_S)
            try:
                async with asyncio.timeout(_patience_s(cut)):
                    if await self._lease.renew() == "superseded":  # the newer turn stores what the journal has
                        return
            except (ChatError, TimeoutError):
                continue  # the first attempt is in the log
            await self._store_answer(cut)
            await self._write_journal(cut)

    def _is_due(self) -> bool:
        deadline_ms = self._context.deadline_ms
        return deadline_ms is not None and self._clock() > deadline_ms - LAST_TRY_MS

    def _remove_open_items(self) -> None:
        """Remove items that the turn began and did not end from the reader's page, except those to be stored later."""
        events = list(self._journal.events)
        answer_ids = {item.id for item in partial_answer.unfinished(events)}
        for item_id in partial_answer.left_open(events):
            if item_id not in answer_ids:
                self._output.emit(encoded(ThreadItemRemovedEvent(item_id=item_id)))

    async def _store_answer(self, cut: InterruptReason) -> bool:
        """Store the answer so far (a newer turn does it for one that it superseded) and end its items in the stream.

        Returns whether there was any text.
        """
        events = self._journal.events
        try:
            async with asyncio.timeout(_patience_s(cut)):
                if cut == "superseded":
                    items = await self._answers.kept(partial_answer.unfinished(events), self._context)
                else:
                    assert self._lease.thread_id is not None, "only a turn that has its lease is closed"
                    items = await self._answers.keep(
                        self._lease.thread_id, self._lease.turn_id, list(events), cut=cut, context=self._context
                    )
        except Exception as error:  # noqa: BLE001 - a fence: the steps after it matter whatever the store answers
            self._is_stored = cut == "superseded"
            log_fault("turn_keep_failed", error)
            return False
        self._is_stored = True
        for item in items:
            self._output.emit(done(item))
        return any(isinstance(item, AssistantMessageItem) for item in items)

    async def _write_journal(self, cut: InterruptReason | None) -> None:
        assert self._lease.thread_id is not None, "only a turn that has its lease is closed"
        try:
            async with asyncio.timeout(_patience_s(cut)):
                await self._journal.flush(self._lease.thread_id)
        except (ChatError, TimeoutError) as error:  # the answer itself is stored, or its lease expires
            log_fault("turn_journal_failed", error)


def last_events(cut: InterruptReason, language: Language, *, failed: bool, is_visible: bool = True) -> list[bytes]:
    """The events after a stored answer: why it is incomplete and how to continue, unless the user knows.

    After a cancel nothing can be sent through ChatKit (its generator re-raises), so these are written here, encoded as
    its server does. They never contain text of a model or of an exception. `is_visible`: whether any of the answer was
    stored, and so ended in the stream.
    """
    match cut:
        case "deadline":
            return [encoded(translated(DEADLINE, language))]
        case "shutdown" | "crashed":
            return [encoded(translated(SHUTDOWN, language))]
        case "failed":
            broken = ErrorEvent(code="custom", message=language.text(BROKEN), allow_retry=True)
            return [encoded(broken)] if failed else []
        case "superseded":
            return [] if is_visible else [encoded(translated(ELSEWHERE, language))]
        case "stopped":
            return []


def translated(notice: NoticeEvent, language: Language) -> NoticeEvent:
    """A notice of ours in `language`."""
    texts = {"title": language.text(notice.title or ""), "message": language.text(notice.message)}
    return notice.model_copy(update=texts)


def refusal(error: Exception | None, cut: InterruptReason | None) -> Exception:
    """The error for a request whose turn ended before its answer began."""
    match error, cut:
        case ValueError(), _:
            return ConflictError("That is not possible in the thread's present state: it has moved on. Reload it.")
        case Exception() as raised, _:
            return raised
        case _, "stopped" | "superseded":
            return ConflictError("This was stopped, or another message took its place, before an answer began.")
        case _, None:
            return NotFoundError("nothing to answer")
        case _:
            return UnavailableError("There was no time left for an answer. Try again.")


def encoded(event: BaseModel) -> bytes:
    """One event as ChatKit's server sends it."""
    return b"data: " + chatkit_json.encoded(event) + b"\n\n"


def done(item: partial_answer.Unfinished) -> bytes:
    """The event that ends an answer where it was cut."""
    return encoded(ThreadItemDoneEvent(item=item))


def _patience_s(cut: InterruptReason | None) -> float | None:
    return HURRIED_S if cut == "deadline" else None
