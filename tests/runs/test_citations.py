"""Citations in a model's stream, through the whole app into the store."""

from typing import Any, get_args

import pytest
from openai.types.responses import response_output_text_annotation_added_event as annotation_added_event

from lambda_src.runs.conversion.model_events import CITATIONS
from tests.docs import events_page
from tests.fakes.model_api import sse
from tests.runs.model_streams import FILE, TEXT, URL, Turn, answered, citation_event, file_search, turn_over

CONTAINER_FILE = {
    "type": "container_file_citation",
    "container_id": "cntr_1",
    "file_id": "cfile_1",
    "filename": "odds.csv",
    "start_index": 0,
    "end_index": 5,
}


def assert_cited(turn: Turn, source: dict[str, str]) -> None:
    """The answer has one citation, the same in the stream and in the store, with at least these fields of a source."""
    assert not turn.errors
    updates = [event["update"] for event in turn.answer.of("thread.item.updated")]
    [streamed] = [update["annotation"] for update in updates if update["type"].endswith("annotation_added")]
    [stored] = turn.reloaded[-1]["content"][0]["annotations"]
    assert streamed == stored
    assert {key: stored["source"][key] for key in source} == source
    assert stored["index"] == 5


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
    assert_cited(turn, source)
    assert turn.text == TEXT


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
    assert_cited(turn, source)


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
