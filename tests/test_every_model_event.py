"""Every class of the openai library's stream events goes through the whole app once, as docs/events.md says."""

import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from lambda_src.model_client import CLASSES
from tests import events_page
from tests.model_api import sse
from tests.test_model_events import LLAMA, TEXT, turn_over

ENDS = ("response.completed", "response.incomplete", "response.failed", "error")
SECRET = "canary-of-the-vendor"


def example_of(model: type[BaseModel]) -> dict[str, Any]:
    """The smallest event that its class accepts; each text in it is a canary, but for the ids that must match."""
    return {name: _example(field.annotation, name) for name, field in model.model_fields.items() if field.is_required()}


def _example(kind: Any, name: str) -> Any:
    origin = get_origin(kind)
    if origin is Annotated:
        return _example(get_args(kind)[0], name)
    if origin is Literal:
        return get_args(kind)[0]
    if origin in (Union, types.UnionType):
        return _example(next(one for one in get_args(kind) if one is not type(None)), name)
    if origin is list:
        return []
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return example_of(kind)
    if kind is str:
        return "msg_1" if name in ("item_id", "id") else SECRET
    plain: dict[Any, Any] = {bool: False, int: 0, float: 0.0}
    return plain.get(kind, {})


@pytest.fixture(params=["whole", "bare"])
def event(request: pytest.FixtureRequest, kind: str) -> dict[str, Any]:
    """An event of the type, with all that its class requires or with nothing but its type."""
    return example_of(CLASSES[kind]) if request.param == "whole" else {"type": kind}


def test_every_event_of_the_library_is_on_the_page() -> None:
    assert not events_page.unknown("Model events", set(CLASSES))


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if kind not in ENDS])
async def test_an_event_in_the_middle_of_an_answer_becomes_what_the_page_says(kind: str, event: dict[str, Any]) -> None:
    row = events_page.rows("Model events")[kind]
    turn = await turn_over(sse(*LLAMA[:5], event, *LLAMA[5:]))
    assert TEXT in turn.text
    assert len(turn.errors) == len(turn.answer.of("notice")) == 0
    assert (SECRET in turn.answer.body.decode()) <= (row["becomes"] != "")
    assert row["user reads"] == row["retry"] == row["log"] == ""


@pytest.mark.parametrize("kind", [kind for kind in ENDS if kind != "response.completed"])
async def test_an_event_that_ends_an_answer_keeps_its_text_and_is_explained(kind: str, event: dict[str, Any]) -> None:
    turn = await turn_over(sse(*LLAMA[:5], event))
    assert turn.text == TEXT
    assert len(turn.errors) + len(turn.answer.of("notice")) == 1
    assert SECRET not in turn.answer.body.decode()


@pytest.mark.parametrize("kind", CLASSES)
async def test_an_event_alone_ends_in_a_sentence(kind: str, event: dict[str, Any]) -> None:
    """Without a message, without an end."""
    turn = await turn_over(sse(event))
    assert len(turn.errors) + len(turn.answer.of("notice")) == 1
    assert all(text_or_reasoning(item) for item in turn.reloaded)


def text_or_reasoning(item: dict[str, Any]) -> bool:
    """Whether a stored item says something."""
    return bool(item["workflow"]["tasks"]) if item["type"] == "workflow" else bool(item["content"])
