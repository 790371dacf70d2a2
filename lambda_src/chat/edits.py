"""Editing: a message that replaces the user's last one. Finds that message and what is removed with its answer.

ChatKit has no request for it. A `threads.add_user_message` whose metadata has `edited_item_id` replaces that message.
"""

from chatkit.store import Store
from chatkit.types import ChatKitReq, ThreadItem, ThreadsAddUserMessageReq, UserMessageItem

from lambda_src.context import RequestContext
from lambda_src.errors import ConflictError, RequestError
from lambda_src.store.bounds import MAX_LIMIT
from lambda_src.turns.turn_ids import PERSON

EDITED = "edited_item_id"


def edited_item(request: ChatKitReq) -> str | None:
    """The id of the message that this request replaces; None if it replaces none. RequestError if it is malformed."""
    if not isinstance(request, ThreadsAddUserMessageReq) or (item_id := request.metadata.get(EDITED)) is None:
        return None
    if not isinstance(item_id, str) or not item_id:
        raise RequestError(f"metadata.{EDITED} must be the id of your last message in the thread.")
    return item_id


async def last_message(
    store: Store[RequestContext], thread_id: str, item_id: str, context: RequestContext
) -> tuple[UserMessageItem, list[ThreadItem]]:
    """The user's last message in the thread, and the items after it, newest first.

    ConflictError unless that message has this id: a newer message of another tab must not be lost, nor one of a person.
    """
    newer: list[ThreadItem] = []
    after: str | None = None
    has_more = True
    while has_more:
        page = await store.load_thread_items(thread_id, after, MAX_LIMIT, "desc", context)
        for item in page.data:
            if isinstance(item, UserMessageItem):
                if item.id == item_id:
                    return item, newer
                raise _not_the_last()
            if item.id.startswith(PERSON):
                raise ConflictError("A person has answered this message. Write a new one instead.")
            newer.append(item)
        after, has_more = page.after, page.has_more
    raise _not_the_last()


def _not_the_last() -> ConflictError:
    return ConflictError("Only your last message can be edited. Reload the conversation to see what is new in it.")
