"""Widgets in our own client: every kind of component that ChatKit has is drawn, with its layout and without markup."""

import base64
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from chatkit import widgets
from playwright.sync_api import expect

from tests.web.chat_page import ChatPage
from tests.web.test_attachments import PNG

pytestmark = pytest.mark.xdist_group("browser")

ROOT = Path(__file__).parents[2]
ONLY_IN_TYPESCRIPT = {"Table", "Table.Row", "Table.Cell"}  # @openai/chatkit 1.9.0; DynamicWidgetComponent in Python


def kinds_of_chatkit() -> set[str]:
    """The types of all widget components in ChatKit's package for Python."""
    components = [
        part
        for _, part in inspect.getmembers(widgets, inspect.isclass)
        if issubclass(part, widgets.WidgetComponentBase)
    ]
    defaults = {part.model_fields["type"].default for part in components}
    return {kind for kind in defaults if isinstance(kind, str)} | ONLY_IN_TYPESCRIPT


def kinds_drawn() -> set[str]:
    """The keys of KINDS in web/src/widgets.js."""
    source = (ROOT / "web" / "src" / "widgets.js").read_text(encoding="utf-8")
    table = source.split("const KINDS = {\n")[1].split("\n};\n")[0]
    return set(re.findall(r'^  "?([A-Z][A-Za-z.]*)"?(?::|\()', table, re.MULTILINE))


def test_every_kind_of_component_is_drawn() -> None:
    assert kinds_drawn() == kinds_of_chatkit()


def test_the_docs_name_every_kind_that_is_drawn_otherwise_than_by_chatkit() -> None:
    page = (ROOT / "docs" / "reference" / "page.md").read_text(encoding="utf-8")
    [listed] = re.findall(r"^\| widget \| .*?\n\n", page, re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"^\| `([A-Z]\w+)`", listed, re.MULTILINE))
    assert named == {"Chart", "Icon", "Transition"}
    assert named <= kinds_drawn()


PIXEL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"


def text(value: str) -> dict[str, Any]:
    return {"type": "Text", "value": value}


EVERY_KIND: dict[str, Any] = {
    "type": "Card",
    "status": {"text": "A status", "icon": "check"},
    "children": [
        {"type": "Basic", "children": [text("in Basic")]},
        {"type": "Box", "background": "surface-secondary", "border": 2, "padding": 2, "children": [text("in Box")]},
        {"type": "Row", "border": {"bottom": {"size": 3, "style": "dashed"}}, "children": [text("in Row")]},
        {"type": "Col", "background": {"light": "#ffeedd", "dark": "#332211"}, "children": [text("in Col")]},
        {"type": "Transition", "children": text("in Transition")},
        {
            "type": "Form",
            "children": [
                {"type": "Input", "name": "given"},
                {"type": "Label", "value": "A label", "fieldName": "given"},
            ],
        },
        {"type": "ListView", "children": [{"type": "ListViewItem", "children": [text("in ListView")]}]},
        {"type": "Title", "value": "A title"},
        {"type": "Caption", "value": "A caption"},
        {"type": "Markdown", "value": "Some **bold** words"},
        {"type": "Badge", "label": "A badge"},
        {"type": "Divider", "size": 3, "color": "#00ff00", "spacing": 5},
        {"type": "Spacer"},
        {"type": "Icon", "name": "no-such-icon"},
        {"type": "Image", "src": PIXEL, "alt": "A picture", "size": 40},
        {"type": "Button", "label": "A button"},
        {"type": "Textarea", "name": "story"},
        {"type": "Select", "name": "size", "options": [{"value": "s", "label": "Small"}]},
        {"type": "DatePicker", "name": "day"},
        {"type": "Checkbox", "name": "agree", "label": "Agree"},
        {"type": "RadioGroup", "name": "color", "options": [{"value": "r", "label": "Red"}]},
        {
            "type": "Table",
            "children": [{"type": "Table.Row", "children": [{"type": "Table.Cell", "children": [text("in Cell")]}]}],
        },
        {
            "type": "Chart",
            "data": [{"day": "Mon", "sold": 4}],
            "series": [{"type": "bar", "dataKey": "sold", "label": "Sold"}],
            "xAxis": "day",
        },
        {"type": "Hologram", "children": [text("in what nobody knows")]},
    ],
}


def kinds_in(component: Any) -> set[str]:
    children = component.get("children") or []
    inner = children if isinstance(children, list) else [children]
    return {component["type"]}.union(*(kinds_in(child) for child in inner))


def test_a_widget_of_every_kind_is_drawn_in_light_and_dark(echo: ChatPage) -> None:
    assert kinds_in(EVERY_KIND) - {"Hologram"} == kinds_of_chatkit()
    echo.show_thread([{"id": "w", "type": "widget", "widget": EVERY_KIND}])
    drawn = echo.page.locator(".widget")
    for words in (
        *("A status", "in Basic", "in Box", "in Row", "in Col", "in Transition", "in ListView", "A title", "A caption"),
        *("Some bold words", "A badge", "in Cell", "Mon", "Sold", "in what nobody knows", "A label"),
    ):
        expect(drawn.get_by_text(words, exact=True).first).to_be_visible()
    for role, name in (
        *(("button", "A button"), ("img", "A picture"), ("textbox", "A label"), ("textbox", "story")),
        *(("combobox", "size"), ("checkbox", "Agree"), ("radio", "Red"), ("region", "Figures")),
    ):
        expect(drawn.get_by_role(role, name=name, exact=True)).to_be_visible()  # type: ignore[arg-type] # its literals
    expect(drawn.locator("hr")).to_have_css("border-top", "3px solid rgb(0, 255, 0)")
    expect(drawn.locator("hr")).to_have_css("margin-top", "20px")
    assert drawn.locator("hr").bounding_box()["width"] > 100  # type: ignore[index] # it is visible
    box, row, column = (drawn.locator(f"div:has(> p:text-is('in {kind}'))").last for kind in ("Box", "Row", "Col"))
    expect(box).to_have_css("border-top-width", "2px")
    expect(row).to_have_css("border-bottom-style", "dashed")
    expect(row).to_have_css("border-top-width", "0px")
    expect(column).to_have_css("background-color", "rgb(255, 238, 221)")
    echo.page.emulate_media(color_scheme="dark")
    expect(column).to_have_css("background-color", "rgb(51, 34, 17)")
    assert drawn.get_by_role("img", name="A picture").bounding_box()["width"] == 40  # type: ignore[index] # it is visible
