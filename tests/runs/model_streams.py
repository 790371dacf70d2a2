"""Streams of the model's events for tests, and turns with a server that sends them."""

import json
from dataclasses import dataclass
from typing import Any

from lambda_src.models.demo_model import events_of, message_of
from lambda_src.models.providers import openai_run_config
from lambda_src.settings import ModelApi
from tests.apps.chat import Answer, message
from tests.apps.full import full_app_without_files, thread_of
from tests.fakes.model_api import scripted_api

TEXT = "Pairs are rare."
URL = {"type": "url_citation", "url": "https://example.com", "title": "Example", "start_index": 0, "end_index": 5}
FILE = {"type": "file_citation", "file_id": "file_1", "filename": "odds.pdf", "index": 5}


@dataclass
class Turn:
    """A turn's answer, and the items that a reload shows after the user's message."""

    answer: Answer
    reloaded: list[dict[str, Any]]

    @property
    def text(self) -> str:
        """The text of the assistant messages after a reload."""
        messages = [item for item in self.reloaded if item["type"] == "assistant_message"]
        return "".join(part["text"] for item in messages for part in item["content"])

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The error events."""
        return self.answer.of("error")

    def open_items(self) -> list[str]:
        """Return the items that were added in the stream and never finished."""
        items: dict[str, None] = {}
        for event in self.answer.events:
            match event["type"]:
                case "thread.item.added":
                    items[event["item"]["id"]] = None
                case "thread.item.done" | "thread.item.replaced":
                    items.pop(event["item"]["id"], None)
                case "thread.item.removed":
                    items.pop(event["item_id"], None)
        return list(items)


async def turn_over(*answers: bytes, api: ModelApi = "responses", **more: Any) -> Turn:
    """Send a message that a server answers with these bodies."""
    async with scripted_api(*answers) as (url, _):
        chat = full_app_without_files().chat(run_config=openai_run_config("key", base_url=url, api=api), **more)
        answer = await chat("threads.create", input=message("hi"))
    reloaded = (await chat("threads.get_by_id", thread_id=thread_of(answer))).json["items"]["data"]
    turn = Turn(answer, [item for item in reloaded if item["type"] != "user_message"])
    assert not turn.open_items()
    done = [event["item"] for event in answer.of("thread.item.done") if event["item"]["type"] != "user_message"]
    assert turn.reloaded == done, "a reload must show the items that the stream finished"
    return turn


def answered(*during: dict[str, Any], text: str = TEXT, annotations: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
    """Return an answer's events, with `during` after its text and `annotations` in the finished message."""
    events: list[dict[str, Any]] = [json.loads(event.model_dump_json()) for event in events_of(message_of(text))]
    for event in events:
        match event["type"]:
            case "response.output_item.done":
                event["item"]["content"][0]["annotations"] = list(annotations)
            case "response.content_part.done":
                event["part"]["annotations"] = list(annotations)
            case "response.completed":
                event["response"]["output"][0]["content"][0]["annotations"] = list(annotations)
    behind = [event["type"] for event in events].index("response.output_text.done")
    return [*events[:behind], *during, *events[behind:]]


def citation_event(annotation: Any, **more: Any) -> dict[str, Any]:
    """Return the Responses API's event for a citation."""
    place = {"sequence_number": 1, "item_id": "m", "output_index": 0, "content_index": 0, "annotation_index": 0}
    return {"type": "response.output_text.annotation.added", **place, "annotation": annotation, **more}


def file_search(attributes: Any, **more: Any) -> list[dict[str, Any]]:
    """Return the events of a file search whose result is FILE, as sent with include_search_results=True."""
    result = {"file_id": "file_1", "filename": "odds.pdf", "score": 0.9, "text": "x", "attributes": attributes, **more}
    call = {"id": "fs_1", "type": "file_search_call", "queries": ["pairs"], "status": "completed", "results": [result]}
    place = {"sequence_number": 1, "output_index": 0}
    return [{"type": f"response.output_item.{step}", "item": call, **place} for step in ("added", "done")]


# An answer of llama.cpp's /v1/responses: no indices, no annotations, no sequence numbers
LLAMA: list[dict[str, Any]] = [
    {"type": "response.created", "response": {"id": "resp_1", "object": "response", "status": "in_progress"}},
    {
        "type": "response.output_item.added",
        "item": {"content": [], "id": "msg_1", "role": "assistant", "status": "in_progress", "type": "message"},
    },
    {"type": "response.content_part.added", "item_id": "msg_1", "part": {"type": "output_text", "text": ""}},
    {"type": "response.output_text.delta", "item_id": "msg_1", "delta": "Pairs are "},
    {"type": "response.output_text.delta", "item_id": "msg_1", "delta": "rare."},
    {"type": "response.output_text.done", "item_id": "msg_1", "text": TEXT},
    {"type": "response.content_part.done", "item_id": "msg_1", "part": {"type": "output_text", "text": TEXT}},
    {
        "type": "response.output_item.done",
        "item": {
            "type": "message",
            "status": "completed",
            "id": "msg_1",
            "content": [{"type": "output_text", "text": TEXT}],
            "role": "assistant",
        },
    },
    {
        "type": "response.completed",
        "response": {
            "id": "resp_1",
            "object": "response",
            "created_at": 0,
            "status": "completed",
            "model": "m",
            "output": [
                {
                    "type": "message",
                    "status": "completed",
                    "id": "msg_1",
                    "content": [{"type": "output_text", "text": TEXT}],
                    "role": "assistant",
                }
            ],
            "usage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
        },
    },
]

COMPLETED = LLAMA[-1]
EMPTY = COMPLETED | {"response": COMPLETED["response"] | {"output": []}}


def message_with(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the events of a response with one message that consists of these parts."""
    item = {"id": "msg_1", "role": "assistant", "type": "message", "status": "completed", "content": list(parts)}
    done = {"type": "response.output_item.done", "item": item}
    return [*LLAMA[:2], done, COMPLETED | {"response": COMPLETED["response"] | {"output": [item]}}]


def reasoning(*content: dict[str, Any], done: bool = True) -> list[dict[str, Any]]:
    """Return the events of a reasoning item."""
    item = {"type": "reasoning", "id": "rs_1", "summary": []}
    ended = [{"type": "response.output_item.done", "item": item, "output_index": 0, "sequence_number": 1}]
    return [
        {"type": "response.output_item.added", "item": item, "output_index": 0, "sequence_number": 1},
        *content,
        *(ended if done else []),
    ]


RAW_THOUGHT = {
    "type": "response.reasoning_text.delta",
    "item_id": "rs_1",
    "delta": "Six by six.",
    "output_index": 0,
    "content_index": 0,
    "sequence_number": 1,
}
