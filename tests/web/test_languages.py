"""The page in other languages: German, Japanese, and a pseudo-language that is long and runs from right to left."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from lambda_src.languages import SHIPPED
from tests.languages.pseudo import CODE, MARK, write_pseudo_language
from tests.web.chat_page import json_response
from tests.web.chatkit_cdn import with_cdn
from tests.web.conftest import GUESTS, served_in_process
from tests.web.test_access import serious

pytestmark = pytest.mark.xdist_group("browser")

QUOTA = GUESTS | {"CHAT_GUEST_QUOTAS": '{"messages_per_day": 1}'}


@pytest.fixture(scope="module")
def worded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server for guests, who may send one message a day, that also has the pseudo-language."""
    folder = tmp_path_factory.mktemp("languages")
    write_pseudo_language(folder)
    with served_in_process(QUOTA, languages=(SHIPPED, folder)) as url:
        yield url


def open_in(browser: Browser, url: str, locale: str, *, phone: bool = False) -> Page:
    """The page in a browser that prefers `locale`."""
    size = {"width": 360, "height": 740} if phone else {"width": 1280, "height": 860}
    context = browser.new_context(locale=locale, viewport=size, reduced_motion="reduce")  # type: ignore[arg-type] # a dict
    page = context.new_page()
    page.goto(url)
    expect(page.locator("#message")).to_be_visible()
    return page


def ask(page: Page) -> None:
    """Send a message. Return when the answer is complete."""
    page.locator("#message").fill("hello")
    page.keyboard.press("Enter")
    expect(page.locator("article.is-assistant_message .actions button").first).to_be_attached(timeout=20_000)


def ask_once_too_often(page: Page) -> None:
    """Send another message, which the quota refuses."""
    page.locator("#message").fill("again")
    page.keyboard.press("Enter")
    expect(page.locator(".notice.danger")).to_be_visible()


def hidden_overflow(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
@pytest.mark.parametrize(
    ("locale", "code", "sends"), [("de-AT", "de", "Senden"), ("ja", "ja", "送信"), (CODE, CODE, f"{MARK}Send~~{MARK}")]
)
def test_the_page_is_in_the_language_of_the_browser(
    browser: Browser, worded: str, locale: str, code: str, sends: str, phone: bool
) -> None:
    page = open_in(browser, worded, locale, phone=phone)
    html = page.locator("html")
    expect(html).to_have_attribute("lang", code)
    expect(html).to_have_attribute("dir", "rtl" if code == CODE else "ltr")
    expect(page.locator(".send")).to_have_attribute("aria-label", sends)
    assert serious(page) == []
    assert hidden_overflow(page) <= 0
    ask(page)
    ask_once_too_often(page)
    assert serious(page) == []
    assert hidden_overflow(page) <= 0
    if phone:
        page.locator("header button").first.click()
        expect(page.locator("chat-threads")).to_be_in_viewport()
        assert serious(page) == []
    page.context.close()


WORDS = """() => {
  const texts = [];
  const nodes = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (nodes.nextNode()) {
    const { parentElement: parent, data } = nodes.currentNode;
    if (!parent.closest("script, noscript, style, option, .bubble, chat-markdown, .chosen")) texts.push(data);
  }
  for (const element of document.querySelectorAll("[aria-label], [title], [placeholder], [alt]"))
    for (const name of ["aria-label", "title", "placeholder", "alt"]) texts.push(element.getAttribute(name) ?? "");
  return texts.map((text) => text.trim()).filter((text) => /[A-Za-z]{2}/.test(text));
}"""


def test_no_text_of_the_page_is_outside_the_tables(browser: Browser, worded: str) -> None:
    page = open_in(browser, worded, CODE)
    ask(page)
    ask_once_too_often(page)
    unmarked = [text for text in page.evaluate(WORDS) if MARK not in text and text != "hello"]
    assert unmarked == []
    page.context.close()


def test_a_chosen_language_is_kept_and_the_server_answers_in_it(browser: Browser, worded: str) -> None:
    page = open_in(browser, worded, "en-US")
    page.get_by_label("Language").select_option("de")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page.get_by_label("Sprache")).to_have_value("de")
    page.reload()
    expect(page.locator("#message")).to_have_attribute("placeholder", "Schreibe eine Nachricht")
    for words in ("hello", "again"):
        page.locator("#message").fill(words)
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Senden", exact=True)).to_be_visible(timeout=20_000)
    expect(page.locator(".notice.danger")).to_contain_text("Du hast die heutige Höchstzahl an Nachrichten erreicht.")
    page.context.close()


def test_the_language_of_the_address_wins_and_an_unknown_one_is_ignored(browser: Browser, worded: str) -> None:
    page = open_in(browser, f"{worded}?lang=ja", "de")
    expect(page.locator("html")).to_have_attribute("lang", "ja")
    page.goto(worded)
    expect(page.locator("html")).to_have_attribute("lang", "ja")
    page.context.close()
    page = open_in(browser, f"{worded}?lang=tlh", "de")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    page.context.close()


def test_another_language_needs_no_further_request(browser: Browser, worded: str) -> None:
    context = browser.new_context(locale="fr")
    page = context.new_page()
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url.removeprefix(worded)))
    page.goto(worded)
    expect(page.locator("#message")).to_have_attribute("placeholder", "Écrivez un message")
    assert [url for url in requested if not url.startswith(("auth/", "chatkit"))] == ["", requested[1]]
    assert requested[1].startswith("static/main-")
    context.close()


def test_months_are_in_the_language_of_the_page(browser: Browser, worded: str) -> None:
    context = browser.new_context(locale="de")
    page = context.new_page()
    thread = {"id": "thr_x", "title": "Alt", "created_at": "2025-05-01T00:00:00Z", "status": {"type": "active"}}
    page.route(
        "**/chatkit",
        lambda route: (
            route.fulfill(**json_response({"data": [thread], "has_more": False}))
            if (route.request.post_data_json or {}).get("type") == "threads.list"
            else route.fallback()
        ),
    )
    page.goto(worded)
    expect(page.get_by_role("heading", name=re.compile("Mai 2025"))).to_be_visible()
    context.close()


def test_chatkit_gets_the_language_of_the_page(tab: Page, worded: str) -> None:
    with served_in_process(GUESTS | {"CHAT_DOMAIN_KEY": "domain_pk_test"}) as url:
        chatkit = with_cdn(tab)
        tab.goto(f"{url}?lang=ja")
        expect(chatkit.element).to_be_visible()
        assert chatkit.options["locale"] == "ja"
        with tab.expect_request("**/chatkit") as sent:
            chatkit.element.evaluate("chat => chat.ask('threads.list', { limit: 1 })")
        assert sent.value.headers["accept-language"] == "ja"
        assert chatkit.options["startScreen"]["greeting"] == "何をお手伝いしましょうか?"
