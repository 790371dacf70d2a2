"""Sample threads, items and attachments for testing a store. Knows no store."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from chatkit.store import Store
from chatkit.types import (
    AssistantMessageItem,
    Attachment,
    FileAttachment,
    InferenceOptions,
    ThreadItem,
    ThreadMetadata,
    UserMessageItem,
    UserMessageTextContent,
)
from pydantic import TypeAdapter

from lambda_src.context import RequestContext, User

AnyContext = Any  # your store may use a context other than RequestContext
AnyStore = Store[AnyContext]

WHEN = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
TIMES = {
    "naive": datetime(2026, 3, 1, 12, 0, 0, 1),
    "UTC": WHEN,
    "+05:30": WHEN.astimezone(timezone(timedelta(hours=5, minutes=30))),
    "no microseconds": WHEN.replace(microsecond=0),
    "year 1": datetime(1, 1, 1, tzinfo=UTC),
    "year 9999": datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
}
ANYTHING: dict[str, Any] = {
    "big": 2**70,
    "negative": -(2**70),
    "one": 1,
    "one point zero": 1.0,
    "float": 0.1 + 0.2,
    "large float": 1.7976931348623157e308,
    "small float": 5e-324,
    "infinity": float("inf"),
    "true": True,
    "none": None,
    "emoji": "👩🏽‍🚀 and \u2028 and \x07 and \0",
    "empty": "",
    "nested": [{"a": [[], {}, [None]]}],
}
_ITEM: TypeAdapter[ThreadItem] = TypeAdapter(ThreadItem)

ITEM_FIELDS: dict[str, dict[str, Any]] = {
    "user_message": {
        "content": [
            {"type": "input_text", "text": "Hello 👋"},
            {"type": "input_tag", "id": "tag", "text": "@ada", "data": ANYTHING, "group": "people"},
        ],
        "attachments": [
            {"type": "file", "id": "atc_1", "name": "a.txt", "mime_type": "text/plain", "metadata": {"a": 1}}
        ],
        "quoted_text": "quoted",
        "inference_options": {"tool_choice": {"id": "search"}, "model": "small"},
    },
    "assistant_message": {
        "content": [
            {
                "type": "output_text",
                "text": "See there.",
                "annotations": [
                    {"type": "annotation", "index": 3, "source": {"type": "url", "title": "t", "url": "https://e.org"}},
                    {"type": "annotation", "source": {"type": "file", "title": "t", "filename": "f"}},
                    {"type": "annotation", "source": {"type": "entity", "title": "t", "id": "e", "data": ANYTHING}},
                ],
            }
        ]
    },
    "client_tool_call": {"call_id": "c", "name": "n", "arguments": ANYTHING, "status": "completed", "output": ANYTHING},
    "widget": {
        "widget": {"type": "Card", "children": [{"type": "Text", "value": "x", "id": "t1"}, {"type": "Divider"}]},
        "copy_text": "x",
    },
    "generated_image": {"image": {"id": "img", "url": "https://e.org/i.png"}},
    "structured_input": {
        "status": "answered",
        "inputs": [
            {
                "type": "multiple_choice",
                "id": "q1",
                "question": "?",
                "options": [{"value": "a"}],
                "answer": {"values": ["a"], "skipped": False},
            },
            {"type": "freeform", "id": "q2", "question": "?", "description": "d"},
        ],
    },
    "workflow": {
        "workflow": {
            "type": "reasoning",
            "tasks": [{"type": "thought", "content": "hm"}, {"type": "web_search", "queries": ["q"]}],
            "summary": {"duration": 3},
            "expanded": True,
        }
    },
    "task": {"task": {"type": "custom", "title": "t", "content": "c", "status_indicator": "complete"}},
    "hidden_context_item": {"content": ANYTHING},
    "sdk_hidden_context": {"content": "hidden"},
    "end_of_turn": {},
}


def context_of(user_id: str) -> RequestContext:
    """The context of one user's request."""
    return RequestContext(user=User(user_id), request_id="request")


def thread_of(thread_id: str = "thr_1", **fields: object) -> ThreadMetadata:
    """A thread, created at WHEN unless `fields` override it."""
    return ThreadMetadata.model_validate({"id": thread_id, "created_at": WHEN, **fields})


def item_of(kind: str, item_id: str = "msg_1", *, thread_id: str = "thr_1", **fields: object) -> ThreadItem:
    """An item of a type, with every field of that type set."""
    common = {"type": kind, "id": item_id, "thread_id": thread_id, "created_at": WHEN}
    return _ITEM.validate_python(common | ITEM_FIELDS[kind] | fields)


def message_of(item_id: str = "msg_1", text: str = "hello", *, thread_id: str = "thr_1") -> UserMessageItem:
    """A plain message from the user."""
    return UserMessageItem(
        id=item_id,
        thread_id=thread_id,
        created_at=WHEN,
        content=[UserMessageTextContent(text=text)],
        inference_options=InferenceOptions(),
    )


def answer_of(item_id: str, text: str, *, thread_id: str = "thr_1") -> AssistantMessageItem:
    """A plain answer from the assistant."""
    return AssistantMessageItem.model_validate(
        {"id": item_id, "thread_id": thread_id, "created_at": WHEN, "content": [{"text": text}]}
    )


def file_of(attachment_id: str = "atc_1", **fields: object) -> Attachment:
    """A file attachment."""
    return FileAttachment.model_validate({"id": attachment_id, "name": "a.txt", "mime_type": "text/plain", **fields})


class ContractCase:
    """Fixtures that all parts of the contract share: two users, and the store that a subclass provides."""

    @pytest.fixture
    def store(self) -> AnyStore:
        """The store under test, without any data of the users below. Override it."""
        raise NotImplementedError("Override the `store` fixture in your subclass of this contract.")

    def context(self, user_id: str) -> AnyContext:
        """The context of a user. Override it if the store reads the user from anything but RequestContext.user.id."""
        return context_of(user_id)

    @pytest.fixture
    def ada(self) -> AnyContext:
        """The context of Ada, whom most tests are about."""
        return self.context("ada")

    @pytest.fixture
    def bob(self) -> AnyContext:
        """The context of Bob, another user."""
        return self.context("bob")

    @pytest.fixture
    async def thread(self, store: AnyStore, ada: AnyContext) -> str:
        """Ada's empty thread, thr_1."""
        await store.save_thread(thread_of(), context=ada)
        return "thr_1"


async def item_ids(
    store: AnyStore, thread_id: str, context: AnyContext, *, order: str = "asc", limit: int = 100
) -> list[str]:
    """The ids of a thread's items, page after page."""
    ids: list[str] = []
    after = None
    while True:
        page = await store.load_thread_items(
            thread_id=thread_id, after=after, limit=limit, order=order, context=context
        )
        ids += [item.id for item in page.data]
        assert page.after == (page.data[-1].id if page.has_more else None)
        if not page.has_more:
            return ids
        after = page.after


async def thread_ids(store: AnyStore, context: AnyContext, *, order: str = "asc", limit: int = 100) -> list[str]:
    """The ids of a user's threads, page after page."""
    ids: list[str] = []
    after = None
    while True:
        page = await store.load_threads(limit=limit, after=after, order=order, context=context)
        ids += [thread.id for thread in page.data]
        assert page.after == (page.data[-1].id if page.has_more else None)
        if not page.has_more:
            return ids
        after = page.after
