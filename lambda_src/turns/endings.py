"""How the stream of a turn that ended before its time still ends as valid ChatKit: its last events. Pure.

After a cancel nothing can be emitted through ChatKit (its generator re-raises), so these are written here, encoded as
its server encodes them. No text of a model or of an exception is ever in a notice.
"""

from chatkit.store import NotFoundError
from chatkit.types import AssistantMessageItem, ErrorEvent, NoticeEvent, ThreadItemDoneEvent, ThreadItemRemovedEvent
from pydantic import BaseModel

from lambda_src import chatkit_json
from lambda_src.errors import ConflictError, UnavailableError
from lambda_src.turns.persistence import Cut

ERROR = b'data: {"type":"error"'
OPENING = (ERROR, b'data: {"type":"stream_options"')

GO_ON = "Write “continue” and I will go on from there."
DEADLINE = NoticeEvent(level="warning", title="Cut off", message=f"This answer took longer than one may take. {GO_ON}")
SHUTDOWN = NoticeEvent(level="warning", title="Interrupted", message=f"The server had to stop here. {GO_ON}")
ELSEWHERE = NoticeEvent(
    level="info", title="Not answered here", message="This conversation went on in another window. Reload it."
)
CROWDED = NoticeEvent(
    level="info",
    title="Open in too many windows",
    message="This answer is being written in other windows too. Come back to this one when it is done, and reload it.",
)
BROKEN = ErrorEvent(code="custom", message="The answer broke off here. What you see was kept.", allow_retry=True)


def encoded(event: BaseModel) -> bytes:
    """One event as ChatKit's server sends it."""
    return b"data: " + chatkit_json.encoded(event) + b"\n\n"


def done(item: AssistantMessageItem) -> bytes:
    """The event that ends an answer where it was cut."""
    return encoded(ThreadItemDoneEvent(item=item))


def removed(item_id: str) -> bytes:
    """The event that takes an item from the reader's page."""
    return encoded(ThreadItemRemovedEvent(item_id=item_id))


def last_words(cut: Cut, *, failed: bool, shown: bool = True) -> list[bytes]:
    """What is said behind the kept answer: why it is not whole and how to go on, unless the user knows.

    `shown`: whether any of it was kept, and so ended in the stream.
    """
    match cut:
        case "deadline":
            return [encoded(DEADLINE)]
        case "shutdown" | "crashed":
            return [encoded(SHUTDOWN)]
        case "failed":
            return [encoded(BROKEN)] if failed else []
        case "superseded":
            return [] if shown else [encoded(ELSEWHERE)]
        case "stopped":
            return []


def refusal(error: Exception | None, cut: Cut | None) -> Exception:
    """What a request is told whose turn ended before its answer began."""
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
