"""What becomes of a model's stream events, sent over the wire through the whole app into the store."""

import json
from dataclasses import dataclass
from typing import Any, get_args

import pytest
from openai.types.responses import response_output_text_annotation_added_event as annotation_added_event

from lambda_src.converter.model_events import CITATIONS
from lambda_src.demo_model import events_of, message_of
from lambda_src.models import openai_run_config
from lambda_src.setting_values import ModelApi
from tests import events_page
from tests.chat import Answer, message
from tests.model_api import scripted_api, sse
from tests.surface.house import house_without_files, thread_of

TEXT = "Pairs are rare."
URL = {"type": "url_citation", "url": "https://example.com", "title": "Example", "start_index": 0, "end_index": 5}
FILE = {"type": "file_citation", "file_id": "file_1", "filename": "odds.pdf", "index": 5}
CONTAINER_FILE = {
    "type": "container_file_citation",
    "container_id": "cntr_1",
    "file_id": "cfile_1",
    "filename": "odds.csv",
    "start_index": 0,
    "end_index": 5,
}


@dataclass
class Turn:
    """A turn, and what a reload shows of its thread behind the user's message."""

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
        """The items that were added to the stream and never ended."""
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
    """One message, answered by a server that sends these bodies."""
    async with scripted_api(*answers) as (url, _):
        chat = house_without_files().chat(run_config=openai_run_config("key", base_url=url, api=api), **more)
        answer = await chat("threads.create", input=message("hi"))
    reloaded = (await chat("threads.get_by_id", thread_id=thread_of(answer))).json["items"]["data"]
    turn = Turn(answer, [item for item in reloaded if item["type"] != "user_message"])
    assert not turn.open_items()
    done = [event["item"] for event in answer.of("thread.item.done") if event["item"]["type"] != "user_message"]
    assert turn.reloaded == done, "a reload shows what the stream ended with"
    return turn


def answered(*during: dict[str, Any], text: str = TEXT, annotations: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
    """The events of an answer, with some more right behind its text, and these annotations in the finished message."""
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
    """What the Responses API streams for a citation."""
    place = {"sequence_number": 1, "item_id": "m", "output_index": 0, "content_index": 0, "annotation_index": 0}
    return {"type": "response.output_text.annotation.added", **place, "annotation": annotation, **more}


@pytest.mark.parametrize(
    ("annotation", "source"),
    [
        (URL, {"type": "url", "title": "Example", "url": "https://example.com"}),
        (FILE, {"type": "file", "title": "odds.pdf", "filename": "odds.pdf"}),
        (CONTAINER_FILE, {"type": "file", "title": "odds.csv", "filename": "odds.csv"}),
    ],
    ids=lambda value: value["type"],
)
async def test_a_streamed_citation_reaches_the_reader_and_the_store(
    annotation: dict[str, Any], source: dict[str, str]
) -> None:
    events = answered(annotations=(annotation,))
    item_id = events[1]["item"]["id"]
    events.insert(-4, citation_event(annotation, item_id=item_id))
    turn = await turn_over(sse(*events))
    assert not turn.errors
    updates = [event["update"] for event in turn.answer.of("thread.item.updated")]
    [streamed] = [update["annotation"] for update in updates if update["type"].endswith("annotation_added")]
    [stored] = turn.reloaded[0]["content"][0]["annotations"]
    assert streamed == stored
    assert {key: stored["source"][key] for key in source} == source
    assert stored["index"] == 5
    assert turn.text == TEXT


BROKEN = {
    "no title": {key: value for key, value in URL.items() if key != "title"},
    "no url": {key: value for key, value in URL.items() if key != "url"},
    "no indices": {key: value for key, value in URL.items() if not key.endswith("index")},
    "no filename": {key: value for key, value in FILE.items() if key != "filename"},
    "a title that is no text": URL | {"title": 7},
    "of an unknown type": {"type": "moon_citation", "url": "https://example.com"},
    "without a type": {"url": "https://example.com"},
    "null": None,
    "text": "https://example.com",
    "a list": [URL],
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
async def test_a_citation_that_cannot_be_shown_is_dropped_and_the_answer_continues(broken: Any) -> None:
    turn = await turn_over(sse(*answered(citation_event(broken), citation_event(URL), annotations=(broken, URL))))
    assert not turn.errors
    assert turn.text == TEXT
    [kept] = turn.reloaded[0]["content"][0]["annotations"]
    assert kept["source"]["title"] == "Example"


async def test_a_citation_beyond_the_end_of_the_text_is_stored_at_its_end() -> None:
    beyond = URL | {"start_index": 900, "end_index": 999}
    turn = await turn_over(sse(*answered(citation_event(beyond), annotations=(beyond,))))
    assert not turn.errors
    assert turn.reloaded[0]["content"][0]["annotations"][0]["index"] == len(TEXT)


def test_every_citation_class_of_the_sdk_is_on_the_page() -> None:
    assert not events_page.unknown("Citations", set(CITATIONS))
    streamed = get_args(get_args(annotation_added_event.Annotation)[0])
    assert {get_args(one.model_fields["type"].annotation)[0] for one in streamed if one is not type(None)} == set(
        CITATIONS
    )
