"""docs/reference/widgets.md: it shows every kind of widget that our page draws, with fields that exist, and its example
works.
"""

import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest
from agents import Agent
from chatkit import widgets
from chatkit.icons import IconName

from lambda_src.sdk.testing import AgentChat, calls, says
from tests.web.test_widgets import ONLY_IN_TYPESCRIPT, kinds_drawn, kinds_in
from tests.web.widget_samples import SAMPLES

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "widgets.md"
SECTION = re.compile(r"^### (\S+)\n\n(.*?)(?=^##|\Z)", re.DOTALL | re.MULTILINE)
SECTIONS: dict[str, str] = dict(SECTION.findall(PAGE.read_text("utf-8")))
CLASSES = {
    part.model_fields["type"].default: part
    for _, part in inspect.getmembers(widgets, inspect.isclass)
    if issubclass(part, widgets.WidgetComponentBase)
}


def fields_of(kind: str) -> set[str]:
    """Return the fields that the section of this kind lists, without what the parentheses explain."""
    [listed] = re.findall(r"^Fields: (.*?\.)\n\n", SECTIONS[kind], re.DOTALL | re.MULTILINE)
    return set(re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", listed)))


def test_the_page_lists_each_kind_of_widget_once() -> None:
    listed = re.findall(r"^### (\S+)$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(kinds_drawn())


@pytest.mark.parametrize("kind", SECTIONS)
def test_each_kind_has_a_described_picture_of_its_sample(kind: str) -> None:
    [(alt, path)] = re.findall(r"^!\[(.*?)\]\((.*?)\)$", SECTIONS[kind], re.MULTILINE)
    assert alt
    assert path == f"../images/widgets/{kind}.png"
    assert (PAGE.parent / path).exists(), "make screenshots takes it"
    assert kind in kinds_in(SAMPLES[kind])


def test_no_picture_is_left_of_a_kind_that_no_longer_exists() -> None:
    assert {path.stem for path in (ROOT / "docs" / "images" / "widgets").iterdir()} == set(SECTIONS)


@pytest.mark.parametrize("kind", sorted(SECTIONS.keys() - ONLY_IN_TYPESCRIPT - {"Basic"}))
def test_each_listed_field_exists_in_chatkit(kind: str) -> None:
    assert fields_of(kind) <= CLASSES[kind].model_fields.keys()


@pytest.mark.parametrize("kind", SECTIONS)
def test_our_client_reads_each_listed_field(kind: str) -> None:
    client = (ROOT / "web" / "src" / "widgets.js").read_text("utf-8")
    assert {field for field in fields_of(kind) if not re.search(rf"\b{field}\b", client)} == set()


def test_the_page_lists_the_icons_of_chatkit_that_our_client_has() -> None:
    drawn = (ROOT / "web" / "src" / "dom.js").read_text("utf-8").split("const SIGNS = {\n")[1].split("\n};\n")[0]
    signs = set(re.findall(r'^  "?([a-z-]+)"?:', drawn, re.MULTILINE))
    of_chatkit = {name for part in get_args(IconName) for name in get_args(part) if isinstance(name, str)}
    listed = SECTIONS["Icon"].partition("Our client has ")[2].partition(", and shows")[0]
    assert set(re.findall(r"`(.+?)`", listed)) == signs & of_chatkit


async def test_the_example_shows_an_order_and_replaces_it_after_a_click() -> None:
    [block] = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    example = ModuleType("example")
    exec(compile(block, "widgets.md", "exec"), vars(example))
    chat = AgentChat(lambda: Agent(name="Shop", tools=[example.show_order]), build_actions=lambda: example.actions)
    reply = await chat.say("Where is order 17?", script=[calls("show_order", order_id=17), says("Here it is.")])
    [shown] = reply.widgets
    assert shown["children"][1]["label"] == "paid"
    action = shown["children"][2]["onClickAction"]
    [replaced] = (await chat.press(action["type"], action["payload"])).widgets
    assert replaced["children"][1]["label"] == "shipped"
