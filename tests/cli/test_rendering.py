"""lambda_src/cli/talk/rendering.py: thread items and widgets as text for a terminal."""

from typing import Any

import pytest

from lambda_src.cli.talk import rendering
from lambda_src.dev.showcase.widgets import order_card


def card(*children: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "Card", "children": list(children), **more}


def button(label: str, action: str = "go") -> dict[str, Any]:
    return {"type": "Button", "label": label, "onClickAction": {"type": action}}


@pytest.mark.parametrize("hidden", ["\x1b[31m", "\x07", "\x9b2J", "\r", "\x00", "\u202e", "\u200b", "\ud800"])
def test_control_characters_are_removed(hidden: str) -> None:
    assert not set(hidden) & set(rendering.clean(f"a{hidden}b")) - set("[312mJ")
    assert rendering.clean("über\t日本 👍\n") == "über\t日本 👍\n"


def test_a_widget_is_rendered_as_text_with_numbered_buttons() -> None:
    widget = order_card(17, "open").model_dump(mode="json", exclude_none=True)
    assert rendering.widget_lines(widget, first=3) == ["Order 17", "open", "[3 Ship]", "[4 Cancel]", "[5 Explain]"]
    buttons = rendering.buttons_of({"id": "w", "type": "widget", "widget": widget})
    assert [(button.label, (button.action or {})["type"]) for button in buttons] == [
        ("Ship", "order.ship"),
        ("Cancel", "order.cancel"),
        ("Explain", "order.explain"),
    ]


@pytest.mark.parametrize(
    ("part", "lines"),
    [
        ({"type": "Row", "children": [{"type": "Text", "value": "a"}, {"type": "Badge", "label": "b"}]}, ["a  b"]),
        ({"type": "Col", "children": [{"type": "Text", "value": "a"}, {"type": "Caption", "value": "b"}]}, ["a", "b"]),
        ({"type": "Input", "name": "email", "placeholder": "Your e-mail"}, ["[Your e-mail: ____]"]),
        ({"type": "Divider"}, ["---"]),
        ({"type": "Image", "src": "https://x/y.png", "alt": "a cat"}, ["[image: a cat]"]),
        ({"type": "Chart", "data": [{}, {}]}, ["[chart of 2 rows]"]),
        ({"type": "Transition", "children": {"type": "Text", "value": "only one"}}, ["only one"]),
        ({"type": "Spacer"}, []),
        ({"type": "OfALaterRelease", "children": [{"type": "Text", "value": "inside"}]}, ["inside"]),
    ],
    ids=lambda part: part.get("type") if isinstance(part, dict) else "",
)
def test_every_component_has_a_text_form(part: dict[str, Any], lines: list[str]) -> None:
    assert rendering.widget_lines(card(part)) == lines


def test_everything_clickable_is_numbered_in_the_order_shown() -> None:
    row = {"type": "ListViewItem", "children": [{"type": "Text", "value": "Row"}], "onClickAction": {"type": "open"}}
    widget = card(row, button("Buy", "buy"), confirm={"label": "Yes", "action": {"type": "yes"}})
    assert rendering.widget_lines(widget) == ["[1 Row]", "[2 Buy]", "[3 Yes]"]
    buttons = rendering.buttons_of({"id": "w", "type": "widget", "widget": widget})
    assert [(button.action or {})["type"] for button in buttons] == ["open", "buy", "yes"]


def test_an_answer_lists_each_source_once() -> None:
    source = {"type": "url", "title": "Socks", "url": "https://example.com"}
    part = {"text": "Pairs.", "annotations": [{"source": source}, {"source": source}]}
    assert rendering.answer_of({"content": [part]}) == "Pairs.\n\nSources:\n\n1. Socks (https://example.com)"


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ({"type": "task", "task": {"type": "custom", "title": "Counted", "content": "socks"}}, "- Counted: socks"),
        ({"type": "workflow", "workflow": {"tasks": [{"title": "Look", "status_indicator": "complete"}]}},
         "Steps\n  ✓ Look"),
        ({"type": "workflow", "workflow": {"summary": {"title": "Look"}, "tasks": [
            {"title": "Look", "status_indicator": "complete"}]}}, "✓ Look"),
        ({"type": "workflow", "workflow": {"summary": {"title": "Look"}, "tasks": [
            {"title": "Look", "status_indicator": "complete", "content": "Result\n\n7"}]}},
         "Look\n  ✓ Look\n      Result\n      \n      7"),
        ({"type": "generated_image", "image": {"url": "https://x/i.png"}}, "[image: https://x/i.png]"),
        ({"type": "client_tool_call", "status": "completed", "name": "x"}, None),
        ({"type": "end_of_turn"}, None),
    ],
    ids=lambda item: item["type"] if isinstance(item, dict) else "",
)  # fmt: skip
def test_every_other_item_is_rendered_as_a_line_or_nothing(item: dict[str, Any], text: str | None) -> None:
    assert rendering.note_of(item) == text


def test_the_text_says_what_only_a_page_can_do() -> None:
    call = {"type": "client_tool_call", "status": "pending", "name": "read_clipboard"}
    form = {"type": "structured_input", "inputs": [{"question": "Colour?", "options": [{"value": "red"}]}]}
    assert "asks the page for read_clipboard" in (rendering.note_of(call) or "")
    assert (rendering.note_of(form) or "").startswith("? Colour? (red)\nA form")
