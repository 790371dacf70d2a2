"""Model stream events over the wire, through the whole app into the store: citations, reasoning, irregular streams."""

import json
from dataclasses import dataclass
from typing import Any, get_args

import pytest
from agents import function_tool
from openai.types.responses import response_output_text_annotation_added_event as annotation_added_event

from lambda_src.errors import BROKEN_OFF
from lambda_src.models.demo_model import events_of, message_of
from lambda_src.models.providers import openai_run_config
from lambda_src.runs.conversion.model_events import CITATIONS
from lambda_src.runs.run_events import NO_ANSWER, ONLY_REASONING
from lambda_src.settings import ModelApi
from tests.apps.chat import Answer, message
from tests.apps.full import full_app_without_files, thread_of
from tests.docs import events_page
from tests.fakes.model_api import DONE, chunk, scripted_api, sse

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


@pytest.mark.parametrize(
    ("annotation", "source"),
    [
        (URL, {"type": "url", "title": "Example", "url": "https://example.com"}),
        (FILE, {"type": "file", "title": "odds.pdf", "filename": "odds.pdf"}),
        (CONTAINER_FILE, {"type": "file", "title": "odds.csv", "filename": "odds.csv"}),
    ],
    ids=lambda value: value["type"],
)
async def test_a_streamed_citation_is_sent_and_stored(annotation: dict[str, Any], source: dict[str, str]) -> None:
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


def file_search(attributes: Any, **more: Any) -> list[dict[str, Any]]:
    """Return the events of a file search whose result is FILE, as sent with include_search_results=True."""
    result = {"file_id": "file_1", "filename": "odds.pdf", "score": 0.9, "text": "x", "attributes": attributes, **more}
    call = {"id": "fs_1", "type": "file_search_call", "queries": ["pairs"], "status": "completed", "results": [result]}
    place = {"sequence_number": 1, "output_index": 0}
    return [{"type": f"response.output_item.{step}", "item": call, **place} for step in ("added", "done")]


DOCUMENT_URL = "https://docs.example.com/odds"


@pytest.mark.parametrize(
    ("attributes", "source"),
    [
        (
            {"path": "socks/odds.pdf", "url": DOCUMENT_URL},
            {"type": "url", "title": "socks/odds.pdf", "url": DOCUMENT_URL},
        ),
        ({"url": DOCUMENT_URL}, {"type": "url", "title": "odds.pdf", "url": DOCUMENT_URL}),
        ({"path": "socks/odds.pdf"}, {"type": "file", "title": "socks/odds.pdf", "filename": "socks/odds.pdf"}),
        ({"path": 7, "url": "javascript:alert(1)"}, {"type": "file", "title": "odds.pdf", "filename": "odds.pdf"}),
        (None, {"type": "file", "title": "odds.pdf", "filename": "odds.pdf"}),
    ],
)
async def test_a_citation_of_a_file_search_result_links_to_its_url(
    attributes: dict[str, Any] | None, source: dict[str, str]
) -> None:
    events = answered(annotations=(FILE,))
    item_id = events[1]["item"]["id"]
    events.insert(-4, citation_event(FILE, item_id=item_id))
    events[1:1] = file_search(attributes)
    turn = await turn_over(sse(*events))
    assert not turn.errors
    updates = [event["update"] for event in turn.answer.of("thread.item.updated")]
    [streamed] = [update["annotation"] for update in updates if update["type"].endswith("annotation_added")]
    [stored] = turn.reloaded[0]["content"][0]["annotations"]
    assert streamed == stored
    assert {key: stored["source"][key] for key in source} == source
    assert stored["index"] == 5


async def test_incomplete_file_search_results_do_not_fail_the_answer() -> None:
    events = answered(annotations=(FILE,))
    search = file_search(None)
    for event in search:
        event["item"]["results"] = [{"file_id": None, "attributes": "x"}, {}, "x", None]
    events[1:1] = search
    turn = await turn_over(sse(*events))
    assert not turn.errors
    assert turn.text == TEXT


BROKEN = {
    "no title": {key: value for key, value in URL.items() if key != "title"},
    "no url": {key: value for key, value in URL.items() if key != "url"},
    "no indices": {key: value for key, value in URL.items() if not key.endswith("index")},
    "no filename": {key: value for key, value in FILE.items() if key != "filename"},
    "a title that is not text": URL | {"title": 7},
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
    [citation] = turn.reloaded[0]["content"][0]["annotations"]
    assert citation["source"]["title"] == "Example"


async def test_a_citation_beyond_the_end_of_the_text_is_stored_at_its_end() -> None:
    beyond = URL | {"start_index": 900, "end_index": 999}
    turn = await turn_over(sse(*answered(citation_event(beyond), annotations=(beyond,))))
    assert not turn.errors
    assert turn.reloaded[0]["content"][0]["annotations"][0]["index"] == len(TEXT)


def test_every_citation_class_of_the_sdk_is_documented() -> None:
    assert not events_page.unknown("Citations", set(CITATIONS))
    streamed = get_args(get_args(annotation_added_event.Annotation)[0])
    assert {get_args(kind.model_fields["type"].annotation)[0] for kind in streamed if kind is not type(None)} == set(
        CITATIONS
    )


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


async def test_a_responses_api_without_indices_and_annotations_works() -> None:
    turn = await turn_over(sse(*LLAMA))
    assert not turn.errors
    assert turn.text == TEXT
    assert [event["update"]["delta"] for event in deltas(turn)] == ["Pairs are ", "rare."]


def deltas(turn: Turn) -> list[dict[str, Any]]:
    """Return the events that streamed text."""
    return [event for event in turn.answer.of("thread.item.updated") if event["update"]["type"].endswith("text_delta")]


def without(*types: str, events: list[dict[str, Any]] = LLAMA) -> list[dict[str, Any]]:
    """Return the events except those of these types."""
    return [event for event in events if event["type"] not in types]


@pytest.mark.parametrize(
    "events",
    [
        without("response.output_item.added"),
        without("response.content_part.added", "response.output_text.done"),
        without("response.output_item.done"),
        without("response.created"),
        [LLAMA[0], LLAMA[-1]],
        [LLAMA[0], LLAMA[3], LLAMA[2], LLAMA[1], *LLAMA[4:]],
        [*LLAMA[:-1], LLAMA[-2], LLAMA[-1]],
        [*LLAMA, LLAMA[-1]],
        [*LLAMA[:-1], LLAMA[3], LLAMA[5], LLAMA[-1]],
        [*LLAMA[:2], *(event | {"item_id": "another"} for event in LLAMA[2:7]), *LLAMA[7:]],
        [LLAMA[0], *(event | {"item_id": "another"} for event in LLAMA[2:7]), *LLAMA[7:]],
        [*LLAMA[:2], *LLAMA[3:5], LLAMA[2], *LLAMA[5:]],
        [*LLAMA[:5], LLAMA[5] | {"text": ""}, LLAMA[7] | {"item": LLAMA[1]["item"]}, LLAMA[8]],
        [*LLAMA[:2], *({key: event[key] for key in event if key != "item_id"} for event in LLAMA[2:7]), *LLAMA[7:]],
    ],
    ids=[
        "no item added",
        "deltas alone",
        "no item done",
        "not created",
        "completed alone",
        "text before its message",
        "a message done twice",
        "completed twice",
        "text after its message",
        "text under another id",
        "text under another id alone",
        "text before its part",
        "text that is empty when it is done",
        "text without an id",
    ],
)
async def test_missing_repeated_or_reordered_events_lose_no_text(events: list[dict[str, Any]]) -> None:
    turn = await turn_over(sse(*events))
    assert not turn.errors
    assert turn.text == TEXT
    assert len(turn.reloaded) == 1


COMPLETED = LLAMA[-1]
EMPTY = COMPLETED | {"response": COMPLETED["response"] | {"output": []}}


async def test_an_unfinished_message_is_kept_and_reported_as_broken_off() -> None:
    turn = await turn_over(sse(*LLAMA[:5], EMPTY))
    [error] = turn.errors
    assert error["message"] == BROKEN_OFF
    assert turn.text == TEXT


async def test_a_completed_event_without_a_response_keeps_the_text() -> None:
    turn = await turn_over(sse(*LLAMA[:-1], {"type": "response.completed"}))
    assert [error["message"] for error in turn.errors] == [BROKEN_OFF]
    assert turn.text == TEXT


async def test_a_tool_call_without_the_optional_item_id_is_executed() -> None:
    @function_tool
    def roll() -> str:
        """Roll a die."""
        return "four"

    call = {"type": "function_call", "call_id": "c_1", "name": "roll", "arguments": "{}", "status": "completed"}
    tool_call = sse(
        LLAMA[0],
        {"type": "response.output_item.added", "item": call},
        {"type": "response.output_item.done", "item": call},
        COMPLETED | {"response": COMPLETED["response"] | {"output": [call]}},
    )
    turn = await turn_over(tool_call, sse(*LLAMA), tools=[roll])
    assert not turn.errors
    assert turn.text == TEXT


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


def thoughts(turn: Turn) -> list[str]:
    """Return the reasoning that a reload shows."""
    workflows = [item["workflow"] for item in turn.reloaded if item["type"] == "workflow"]
    return [task["content"] for workflow in workflows for task in workflow["tasks"]]


async def test_raw_reasoning_is_shown_and_stored() -> None:
    turn = await turn_over(sse(LLAMA[0], *reasoning(RAW_THOUGHT, RAW_THOUGHT), *LLAMA[1:]))
    assert not turn.errors
    assert thoughts(turn) == ["Six by six." * 2]
    assert turn.text == TEXT


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
async def test_reasoning_over_chat_completions_is_shown_and_stored(field: str) -> None:
    chunks = [chunk({"role": "assistant", field: "Six "}), chunk({field: "by six."}), chunk({"content": TEXT})]
    turn = await turn_over(b"".join([*chunks, chunk({}, finish="stop"), DONE]), api="chat_completions")
    assert not turn.errors
    assert thoughts(turn) == ["Six by six."]
    assert turn.text == TEXT


async def test_empty_reasoning_leaves_no_item() -> None:
    turn = await turn_over(sse(LLAMA[0], *reasoning(), *LLAMA[1:]))
    assert not turn.errors
    assert [item["type"] for item in turn.reloaded] == ["assistant_message"]


IMAGE = {"type": "image_generation_call", "id": "ig_1", "status": "failed", "result": None}
IMAGE_EVENTS = [
    {"type": "response.output_item.added", "item": IMAGE | {"status": "in_progress"}, "output_index": 0},
    {"type": "response.output_item.done", "item": IMAGE, "output_index": 0},
]


@pytest.mark.parametrize("result", [None, "", "not base64!"])
async def test_a_failed_image_leaves_no_unfinished_item(result: str | None) -> None:
    failed = IMAGE_EVENTS[1] | {"item": IMAGE | {"result": result}}
    turn = await turn_over(sse(LLAMA[0], IMAGE_EVENTS[0], failed, *LLAMA[1:]))
    assert not turn.errors
    assert [item["type"] for item in turn.reloaded] == ["assistant_message"]


BLANK = {"id": "msg_1", "role": "assistant", "type": "message", "status": "completed"}


def message_with(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the events of a response with one message that consists of these parts."""
    item = BLANK | {"content": list(parts)}
    done = {"type": "response.output_item.done", "item": item}
    return [*LLAMA[:2], done, COMPLETED | {"response": COMPLETED["response"] | {"output": [item]}}]


@pytest.mark.parametrize(
    ("events", "explanation"),
    [
        ([LLAMA[0], EMPTY], NO_ANSWER),
        ([EMPTY], NO_ANSWER),
        (message_with(), NO_ANSWER),
        (message_with({"type": "output_text", "text": "  \n", "annotations": []}), NO_ANSWER),
        ([LLAMA[0], *reasoning(), EMPTY], NO_ANSWER),
        ([LLAMA[0], *reasoning(RAW_THOUGHT), EMPTY], ONLY_REASONING),
        ([LLAMA[0], *reasoning(RAW_THOUGHT, done=False), EMPTY], ONLY_REASONING),
    ],
    ids=["no output", "nothing else", "no part", "blank", "silent reasoning", "only reasoning", "unfinished reasoning"],
)
async def test_an_answer_without_text_is_explained(
    events: list[dict[str, Any]], explanation: str, caplog: pytest.LogCaptureFixture
) -> None:
    turn = await turn_over(sse(*events))
    [error] = turn.errors
    assert (error["message"], error["allow_retry"]) == (explanation, True)
    assert not turn.text
    name = "only reasoning" if explanation == ONLY_REASONING else "empty"
    logged = events_page.rows("Answers without text")[name]["log"]
    [record] = [record for record in caplog.records if record.message == logged]
    assert vars(record)["has_reasoning"] is (explanation == ONLY_REASONING)
    assert all(item["workflow"]["summary"] for item in turn.reloaded), "reasoning must be kept and finished"


async def test_a_chat_completion_without_text_is_explained() -> None:
    turn = await turn_over(chunk({"role": "assistant", "content": ""}, finish="stop") + DONE, api="chat_completions")
    assert [error["message"] for error in turn.errors] == [NO_ANSWER]
    assert not turn.reloaded


REFUSAL = "I can't help with that."


async def test_a_refusal_becomes_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "lambda_src")
    part = {"type": "response.content_part.added", "item_id": "msg_1", "part": {"type": "refusal", "refusal": ""}}
    delta = {"type": "response.refusal.delta", "item_id": "msg_1", "delta": REFUSAL}
    events = message_with({"type": "refusal", "refusal": REFUSAL})
    turn = await turn_over(sse(*events[:2], part, delta, *events[2:]))
    assert not turn.errors
    assert events_page.rows("Answers without text")["a refusal"]["log"] in [record.message for record in caplog.records]
    assert turn.text == REFUSAL
    assert len(turn.reloaded) == 1


async def test_a_refusal_over_chat_completions_becomes_the_answer() -> None:
    chunks = [chunk({"role": "assistant", "refusal": REFUSAL}), chunk({}, finish="stop"), DONE]
    turn = await turn_over(b"".join(chunks), api="chat_completions")
    assert not turn.errors
    assert turn.text == REFUSAL
    assert len(turn.reloaded) == 1


@pytest.mark.parametrize(
    ("name", "sentence"), [("empty", NO_ANSWER), ("only reasoning", ONLY_REASONING), ("broken off", BROKEN_OFF)]
)
def test_the_messages_for_answers_without_text_are_documented(name: str, sentence: str) -> None:
    row = events_page.rows("Answers without text")[name]
    assert (row["user reads"], row["retry"]) == (sentence, "yes")


@pytest.mark.parametrize("end", [b"", b"data: [DONE]\n\n"], ids=["cut", "done"])
async def test_a_chat_completion_without_a_finish_reason_is_reported_as_broken_off(end: bytes) -> None:
    turn = await turn_over(chunk({"role": "assistant", "content": TEXT}) + end, api="chat_completions")
    [error] = turn.errors
    assert (error["message"], error["allow_retry"]) == (BROKEN_OFF, True)
    assert turn.text == TEXT


async def test_a_response_that_ends_without_completed_is_reported_as_broken_off() -> None:
    turn = await turn_over(sse(*LLAMA[:5]))
    [error] = turn.errors
    assert (error["message"], error["allow_retry"]) == (BROKEN_OFF, True)
    assert turn.text == TEXT
