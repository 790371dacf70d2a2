"""The chat as a bubble on another site (embed.js): layout, keyboard, screen readers, phones, aggressive styles."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from infra.bundle import toolchain
from tests.web.chatkit_cdn import with_cdn
from tests.web.conftest import GUESTS, HOSTED, TWO_ASSISTANTS, served_in_process, token_of
from tests.web.embedding import TAG, Bubble, Site, site
from tests.web.examples import ROOT, VITE, run
from tests.web.test_access import serious
from tests.web.test_brand import ACCENT
from tests.web.test_people import Desk

pytestmark = pytest.mark.xdist_group("browser")

MOST_BYTES = 5_000  # of embed.js as it is sent
LOOK = {"title": "Shop help", "greeting": "How can we help?", "accent": ACCENT}
THEME = """<link rel="stylesheet" href="/theme.css">
<div id="page" class="hfeed site"><header><h1>A shop</h1></header><p>Words.</p></div>"""
THEME_CSS = """
html { font-size: 62.5%; }
* { all: unset !important; }
body * { max-width: 100% !important; transition: all 5s !important; }
iframe, button { width: auto !important; max-width: 50px !important; height: auto !important; opacity: .2 !important; }
button, div, span { position: static !important; display: none !important; text-transform: uppercase !important; }
chat-embed, :empty { display: none !important; visibility: hidden !important; }
"""


REACT = """
import { useEffect, useState } from "react";
import { createRoot } from "react-dom/client";

function Shop() {
  const [view, setView] = useState("Lanterns");
  useEffect(() => {
    if (document.querySelector("script[src='STAGEembed.js']")) return;
    document.head.append(Object.assign(document.createElement("script"), { src: "STAGEembed.js" }));
  }, []);
  return <><h1>{view}</h1><button onClick={() => setView("Boxes")}>Boxes</button></>;
}

const root = createRoot(document.body);
root.render(<Shop />);
window.renderAll = () => {
  root.unmount();
  createRoot(document.body).render(<Shop />); // clears the body first
};
"""


@pytest.fixture(scope="module")
def shop() -> Iterator[Site]:
    """A site that the stage allows."""
    with site() as running:
        yield running


@pytest.fixture(scope="module")
def stage(shop: Site) -> Iterator[str]:
    """A stage with a brand and guests, which the shop may embed."""
    env = GUESTS | {"CHAT_CORS_ORIGINS": shop.origin, "CHAT_PAGE": json.dumps(LOOK)}
    with served_in_process(env) as url:
        yield url


@pytest.fixture
def bubble(tab: Page, shop: Site, stage: str) -> Bubble:
    """The bubble on a page of the shop with a strict content security policy."""
    tab.goto(shop.show(stage))
    return Bubble(tab)


def test_one_line_of_html_puts_the_chat_on_a_site_with_a_strict_policy(bubble: Bubble) -> None:
    button = bubble.page.get_by_role("button", name="Shop help", exact=True)
    expect(button).to_have_attribute("aria-expanded", "false")
    expect(button).to_have_css("background-color", "rgb(107, 33, 168)")
    expect(bubble.host.locator("iframe")).to_have_count(0)  # a site's visitor who does not chat loads nothing
    button.click()
    expect(button).to_have_attribute("aria-expanded", "true")
    expect(bubble.page.get_by_role("dialog", name="Shop help")).to_be_visible()
    bubble.chat.ask("hello")
    expect(bubble.chat.answer).to_have_text("hello")
    expect(bubble.panel).not_to_have_attribute("aria-busy", "true")


def test_axe_reports_nothing_serious_with_the_chat_closed_or_open(bubble: Bubble) -> None:
    assert serious(bubble.page) == []
    bubble.button.click()
    expect(bubble.chat.text).to_be_visible()
    assert serious(bubble.page) == []


def test_the_keyboard_opens_the_chat_and_escape_returns_the_focus(bubble: Bubble) -> None:
    bubble.page.keyboard.press("Tab")
    expect(bubble.button).to_be_focused()
    expect(bubble.button).to_have_css("outline-style", "solid")
    bubble.page.keyboard.press("Enter")
    expect(bubble.chat.text).to_be_focused()
    bubble.page.keyboard.type("draft")
    bubble.page.keyboard.press("Escape")
    expect(bubble.panel).to_be_hidden()
    expect(bubble.button).to_be_focused()
    bubble.page.keyboard.press("Enter")
    expect(bubble.chat.text).to_be_focused()
    expect(bubble.chat.text).to_have_value("draft")


def test_escape_closes_the_list_of_chats_first(bubble: Bubble) -> None:
    bubble.button.click()
    bubble.chat.button("Chats").click()
    bubble.page.keyboard.press("Escape")
    expect(bubble.chat.button("Chats")).to_have_attribute("aria-expanded", "false")
    expect(bubble.panel).to_be_visible()
    bubble.page.keyboard.press("Escape")
    expect(bubble.panel).to_be_hidden()


def test_escape_only_cancels_the_edit_of_a_message_or_a_title(bubble: Bubble) -> None:
    bubble.button.click()
    bubble.chat.ask("hello")
    bubble.chat.button("Edit the message").click()
    bubble.page.keyboard.press("Escape")
    expect(bubble.chat.button("Edit the message")).to_be_focused()
    bubble.chat.button("Chats").click()
    bubble.chat.button("Rename hello").click()
    bubble.page.keyboard.press("Escape")
    expect(bubble.chat.button("hello")).to_be_focused()
    expect(bubble.panel).to_be_visible()


def test_the_site_opens_closes_and_removes_the_chat_and_hears_of_it(bubble: Bubble) -> None:
    bubble.call(
        """() => {
          window.heard = [];
          for (const type of ["open", "close"]) ChatEmbed.addEventListener(type, () => heard.push(type));
        }"""
    )
    bubble.call("ChatEmbed.open(); ChatEmbed.open()")
    expect(bubble.panel).to_be_visible()
    assert bubble.call("ChatEmbed.isOpen") is True
    bubble.call("ChatEmbed.toggle()")
    expect(bubble.panel).to_be_hidden()
    bubble.call("ChatEmbed.toggle(); ChatEmbed.close()")
    assert bubble.call("heard") == ["open", "close", "open", "close"]
    bubble.call("ChatEmbed.destroy()")
    expect(bubble.host).to_have_count(0)
    assert bubble.call("typeof ChatEmbed") == "undefined"


def test_the_focus_returns_to_the_sites_own_button(tab: Page, shop: Site, stage: str) -> None:
    tab.goto(shop.show(stage, html="<button id='help'>Help</button>"))
    bubble = Bubble(tab)
    tab.locator("#help").focus()
    bubble.call("ChatEmbed.open()")
    expect(bubble.chat.text).to_be_focused()
    bubble.chat.button("Close the chat").click()
    expect(tab.locator("#help")).to_be_focused()


def test_answers_that_end_while_the_chat_is_closed_are_unread(bubble: Bubble) -> None:
    bubble.call(
        "() => { window.counts = []; ChatEmbed.addEventListener('unread', (e) => counts.push(e.detail.count)) }"
    )
    bubble.button.click()
    bubble.chat.say("slowly one two three four five six seven eight")
    expect(bubble.chat.answer).to_contain_text("one")
    bubble.call("ChatEmbed.close()")
    expect(bubble.badge).to_have_text("1")
    expect(bubble.button).to_have_accessible_name("Shop help (1)")
    expect(bubble.host.get_by_role("status")).to_have_text("Shop help (1)")
    bubble.button.click()
    expect(bubble.badge).to_be_hidden()
    expect(bubble.button).to_have_accessible_name("Shop help")
    assert bubble.call("counts") == [1, 0]


def test_the_next_page_of_the_site_shows_the_same_thread(bubble: Bubble, shop: Site, stage: str) -> None:
    bubble.button.click()
    bubble.chat.ask("hello")
    bubble.page.goto(shop.show(stage, path="/next"))
    expect(bubble.panel).to_be_visible()
    expect(bubble.chat.user_messages).to_have_text("hello")
    expect(bubble.page.locator("body")).to_be_focused()  # only a user who opens the chat moves the focus
    bubble.call("ChatEmbed.close()")
    bubble.page.goto(shop.show(stage))
    expect(bubble.button).to_be_visible()
    expect(bubble.panel).to_be_hidden()
    bubble.button.click()
    expect(bubble.chat.user_messages).to_have_text("hello")


def test_going_back_leaves_the_sites_page_and_not_a_thread(bubble: Bubble, shop: Site, stage: str) -> None:
    bubble.page.goto(shop.show(stage, path="/next"))
    bubble.button.click()
    bubble.chat.ask("hello")
    bubble.chat.button("New chat").last.click()
    expect(bubble.chat.user_messages).to_have_count(0)
    bubble.page.go_back()
    expect(bubble.page).to_have_url(f"{shop.origin}/")


def test_an_answer_that_ends_after_the_page_was_left_is_unread_on_the_next_one(
    bubble: Bubble, shop: Site, stage: str
) -> None:
    bubble.button.click()
    bubble.chat.say("slowly " + "word " * 40)
    expect(bubble.chat.answer).to_contain_text("word")
    bubble.call("ChatEmbed.close()")
    bubble.page.goto(shop.show(stage, path="/next"))
    expect(bubble.badge).to_have_text("1")


def test_a_persons_answer_is_unread_while_the_chat_is_closed(tab: Page, shop: Site) -> None:
    env = HOSTED | {"CHAT_OPERATORS": "{}", "CHAT_CORS_ORIGINS": shop.origin}
    with served_in_process(env) as url:
        tab.goto(shop.show(url))
        bubble = Bubble(tab)
        token = token_of()
        bubble.call(f"ChatEmbed.identify('{token}')")
        bubble.button.click()
        bubble.chat.ask("hello")
        bubble.chat.button("Talk to a person").click()
        expect(bubble.frame.get_by_text("Waiting for a person.")).to_be_visible()
        thread_id = str(bubble.call("JSON.parse(sessionStorage.getItem(Object.keys(sessionStorage)[0])).thread"))
        bubble.call("ChatEmbed.close()")
        headers = {"authorization": f"Bearer {token_of(role='operator')}"}
        with httpx2.Client(base_url=f"{url}operator/", headers=headers) as client:
            desk = Desk(client)
            desk.do(thread_id, "take")
            desk.do(thread_id, "messages", text="I am here.", author="Olga")
            expect(bubble.badge).to_have_text("1")
            tab.goto(shop.show(url, path="/next"))
            bubble.call(f"ChatEmbed.identify('{token}')")
            expect(bubble.frame.get_by_text("A person answers here.")).to_be_attached()
            desk.do(thread_id, "messages", text="Still here.", author="Olga")
            expect(bubble.badge).to_have_text("2")


def test_a_theme_with_aggressive_styles_changes_nothing(tab: Page, shop: Site, stage: str) -> None:
    shop.pages["/theme.css"] = (THEME_CSS.encode(), {"content-type": "text/css"})
    tab.goto(shop.show(stage, html=THEME, policy=""))
    bubble = Bubble(tab)
    box = bubble.button.bounding_box()
    assert box is not None
    assert (box["width"], box["height"], box["x"]) == (56, 56, 1280 - 20 - 56)
    bubble.button.click()
    expect(bubble.chat.text).to_be_visible()
    expect(bubble.panel).to_have_css("opacity", "1")
    panel, frame = bubble.panel.bounding_box(), bubble.host.locator("iframe").bounding_box()
    assert panel is not None
    assert frame is not None
    assert (panel["width"], panel["height"]) == (400, 680)
    assert frame["width"] == pytest.approx(398)  # without the border


def test_a_page_that_is_rendered_anew_keeps_the_chat(tab: Page, shop: Site, stage: str) -> None:
    tab.goto(shop.show(stage, html="<div id='root'></div>", policy=""))
    bubble = Bubble(tab)
    bubble.button.click()
    bubble.chat.ask("hello")
    for change in (
        "document.body.innerHTML = '<h1>Another view</h1>'",
        "document.body.replaceWith(document.createElement('body'))",
    ):
        bubble.call(change)
        expect(bubble.panel).to_be_visible()
        expect(bubble.chat.user_messages).to_have_text("hello")


@pytest.mark.slow
def test_a_react_app_keeps_the_chat_when_it_renders_again(tab: Page, shop: Site, stage: str, built: Path) -> None:
    folder = VITE.installed()
    (folder / "shop.jsx").write_text(REACT.replace("STAGE", stage))
    esbuild = (ROOT / "web" / "node_modules" / "esbuild" / "lib" / "main.js").as_uri()
    options = {"entryPoints": ["shop.jsx"], "bundle": True, "outfile": "shop.js", "jsx": "automatic"}
    (folder / "shop.mjs").write_text(f'import {{ build }} from "{esbuild}"; await build({json.dumps(options)});')
    run([*toolchain.find_node(), "shop.mjs"], folder)
    shop.serve_script("/shop.js", (folder / "shop.js").read_text(encoding="utf-8"))
    tab.goto(shop.show(stage, tag='<script src="/shop.js" defer></script>', html="", policy=""))
    bubble = Bubble(tab)
    bubble.button.click()
    bubble.chat.ask("hello")
    tab.get_by_role("button", name="Boxes").click()
    expect(tab.get_by_role("heading", name="Boxes")).to_be_visible()
    expect(bubble.chat.user_messages).to_have_text("hello")
    bubble.call("renderAll()")
    expect(bubble.host).to_have_count(1)
    expect(bubble.chat.user_messages).to_have_text("hello")


def test_on_a_phone_the_chat_fills_the_screen_and_closes_inside(browser: Browser, shop: Site, stage: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 780}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(shop.show(stage, tag='<script src="{stage}embed.js" data-open defer></script>'))
    bubble = Bubble(page)
    expect(bubble.panel).to_be_hidden()  # it would cover the page
    bubble.button.tap()
    expect(bubble.chat.text).to_be_visible()
    expect(bubble.chat.text).not_to_be_focused()  # a keyboard would cover half of it
    expect(bubble.button).to_be_hidden()
    expect(bubble.panel).to_have_css("opacity", "1")
    assert bubble.panel.bounding_box() == {"x": 0, "y": 0, "width": 390, "height": 780}
    bubble.chat.button("Close the chat").tap()
    expect(bubble.panel).to_be_hidden()
    expect(bubble.button).to_be_focused()
    context.close()


@pytest.mark.parametrize("width", [1280, 390], ids=["desktop", "phone"])
def test_a_long_question_leaves_the_close_button_in_view(tab: Page, shop: Site, stage: str, width: int) -> None:
    tab.set_viewport_size({"width": width, "height": 780})
    tab.goto(shop.show(stage))
    bubble = Bubble(tab)
    bubble.button.click()
    bubble.chat.ask("Where is my order 4711? It should have come on Monday, and I need it today.")
    expect(bubble.frame.get_by_role("heading", level=1)).to_contain_text("Where is my order 4711?")
    expect(bubble.chat.button("Close the chat")).to_be_in_viewport(ratio=1)
    expect(bubble.chat.button("Send")).to_be_in_viewport(ratio=1)


def test_on_a_phone_a_chat_that_does_not_load_can_be_closed(browser: Browser, shop: Site, stage: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 780}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.route(lambda url: "?embed" in url, lambda route: route.abort())
    page.goto(shop.show(stage))
    bubble = Bubble(page)
    bubble.button.tap()
    expect(bubble.panel).to_be_visible()
    bubble.button.tap()
    expect(bubble.panel).to_be_hidden()
    context.close()


@pytest.mark.parametrize(
    ("direction", "attribute", "left"),
    [
        ("ltr", "", False),
        ("rtl", "", True),
        ("ltr", 'data-position="left"', True),
        ("rtl", 'data-position="right"', False),
    ],
)
def test_the_bubble_is_at_the_end_of_the_line_or_where_the_site_wants_it(
    tab: Page, shop: Site, stage: str, direction: str, attribute: str, left: bool
) -> None:
    tag = f'<script src="{{stage}}embed.js" {attribute} defer></script>'
    tab.goto(shop.show(stage, tag=tag, html=f"<script>document.dir = '{direction}'</script>", policy=""))
    bubble = Bubble(tab)
    bubble.button.click()
    expect(bubble.panel).to_be_visible()
    for element in (bubble.button, bubble.panel):
        box = element.bounding_box()
        assert box is not None
        assert (box["x"] == 20) is left
        assert (box["x"] + box["width"] == 1260) is not left


def test_the_label_is_shown_and_is_the_name_of_the_button(tab: Page, shop: Site, stage: str) -> None:
    tag = '<script src="{stage}embed.js" data-label="Ask &lt;us&gt;" data-open="true" defer></script>'
    tab.goto(shop.show(stage, tag=tag))
    bubble = Bubble(tab)
    expect(bubble.button).to_contain_text("Ask <us>")
    expect(bubble.button).to_have_accessible_name("Ask <us>")
    expect(bubble.panel).to_be_visible()
    expect(tab.locator("body")).to_be_focused()


@pytest.mark.parametrize(
    ("lang", "name"), [("de-AT", "Chat schließen"), ("", "Close the chat"), ("xx", "Close the chat")]
)
def test_the_chat_is_in_the_language_of_the_site(tab: Page, shop: Site, stage: str, lang: str, name: str) -> None:
    tab.goto(shop.show(stage, lang=lang))
    bubble = Bubble(tab)
    bubble.button.click()
    expect(bubble.chat.button(name)).to_be_visible()


def test_each_page_of_a_site_may_choose_an_assistant_for_new_threads(tab: Page, shop: Site) -> None:
    with served_in_process(TWO_ASSISTANTS | {"CHAT_CORS_ORIGINS": shop.origin}) as url:
        tab.goto(shop.show(url, path="/start"))
        tag = '<script src="{stage}embed.js" data-assistant="sales" data-open defer></script>'
        tab.goto(shop.show(url, tag=tag))
        bubble = Bubble(tab)
        picker = bubble.frame.get_by_label("Assistant", exact=True)
        expect(picker.locator("option:checked")).to_have_text("Sales")
        bubble.chat.ask("hello")
        tab.goto(shop.show(url, path="/next"))
        expect(bubble.chat.user_messages).to_have_text("hello")
        expect(picker.locator("option:checked")).to_have_text("Sales")
        bubble.chat.button("Chats").click()
        picker.select_option(label="Help")
        expect(bubble.chat.user_messages).to_have_count(0)
        tab.go_back()
        expect(tab).to_have_url(f"{shop.origin}/")


def test_wrong_attributes_are_reported_and_ignored(tab: Page, shop: Site, stage: str) -> None:
    warnings: list[str] = []
    tab.on("console", lambda line: warnings.append(line.text) if line.type == "warning" else None)
    attributes = f'data-position="top" data-open="yes" data-label="{"x" * 41}"'
    tab.goto(shop.show(stage, tag=f'<script src="{{stage}}embed.js" {attributes} defer></script>'))
    bubble = Bubble(tab)
    expect(bubble.button).to_have_accessible_name("Shop help")
    expect(bubble.panel).to_be_hidden()
    assert [warning.split(",")[0] for warning in warnings] == [
        "ChatEmbed: data-position takes left or right",
        "ChatEmbed: data-open takes true or false",
        "ChatEmbed: data-label takes at most 40 characters",
    ]


def test_a_script_that_is_loaded_twice_draws_one_bubble(tab: Page, shop: Site, stage: str) -> None:
    tab.goto(shop.show(stage, tag=TAG + TAG))
    expect(Bubble(tab).button).to_have_count(1)


def test_the_panel_does_not_move_where_the_user_wants_less_motion(bubble: Bubble) -> None:
    expect(bubble.panel).to_have_css("transition-duration", "0s")  # tests run with reduced motion
    bubble.page.emulate_media(reduced_motion="no-preference")
    expect(bubble.panel).to_have_css("transition-duration", re.compile("0.15s"))


def test_a_chat_that_does_not_load_is_offered_in_a_tab_of_its_own(tab: Page, shop: Site, stage: str) -> None:
    tab.clock.install()
    tab.route(lambda url: "?embed" in url, lambda route: route.abort())
    tab.goto(shop.show(stage))
    bubble = Bubble(tab)
    bubble.button.click()
    tab.clock.fast_forward(20_000)
    expect(bubble.panel.get_by_role("alert")).to_contain_text("The chat did not load.")
    expect(bubble.panel.get_by_role("link", name="Open it in a new tab")).to_have_attribute("href", stage)
    expect(bubble.panel).not_to_have_attribute("aria-busy", "true")


def test_openais_component_works_in_the_panel(tab: Page, shop: Site) -> None:
    env = GUESTS | {"CHAT_CORS_ORIGINS": shop.origin, "CHAT_DOMAIN_KEY": "domain_pk_test"}
    with served_in_process(env) as url:
        with_cdn(tab)
        tab.goto(shop.show(url))
        bubble = Bubble(tab)
        bubble.button.click()
        component = bubble.frame.locator("openai-chatkit")
        expect(component).to_be_visible()
        component.evaluate("chat => chat.say('hello')")
        state = "JSON.parse(sessionStorage.getItem(Object.keys(sessionStorage)[0])).thread"
        assert bubble.call(state) == component.evaluate("chat => chat.threadId")
        component.evaluate("chat => chat.options.header.leftAction.onClick()")
        expect(bubble.panel).to_be_hidden()


def test_make_dev_shows_the_chat_on_a_demo_page(tab: Page, dev: str) -> None:
    tab.goto(f"{dev}embed-demo")
    bubble = Bubble(tab)
    bubble.button.click()
    bubble.chat.ask("hello")
    expect(bubble.chat.answer).to_contain_text("hello")


def test_the_script_is_small(tab: Page, shop: Site, stage: str) -> None:
    with tab.expect_response("**/embed.js") as sent:
        tab.goto(shop.show(stage))
    assert int(sent.value.headers["content-length"]) < MOST_BYTES
    assert sent.value.headers["content-encoding"] == "gzip"
