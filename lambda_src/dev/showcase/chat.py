"""The chat context of the showcase's tools, and the fields that every item has."""

from datetime import datetime
from typing import TypedDict

from agents import RunContextWrapper
from chatkit.agents import AgentContext
from chatkit.store import StoreItemType

from lambda_src.context import RequestContext

Chat = RunContextWrapper[AgentContext[RequestContext]]


class Base(TypedDict):
    """The fields that every item has."""

    id: str
    thread_id: str
    created_at: datetime


def base(chat: Chat, kind: StoreItemType = "message") -> Base:
    """The fields of a new item in this thread."""
    thread = chat.context.thread
    return Base(id=chat.context.generate_id(kind), thread_id=thread.id, created_at=datetime.now())
