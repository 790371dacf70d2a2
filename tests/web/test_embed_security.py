"""Who may embed the chat and talk to it: origins, forged messages, tokens of the site's user, and denied storage."""

import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.web.chat_page import ChatPage
from tests.web.conftest import GUESTS, HOSTED, PEOPLE, served_in_process
from tests.web.embedding import STRICT, Bubble, Site, site
from tests.web.test_sign_in import KEY
from tests.web.test_sign_out import senders

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.xdist_group("browser")

FORGE = """
setInterval(() => {
  const chat = parent.document.querySelector("chat-embed")?.shadowRoot.querySelector("iframe");
  if (!chat) return;
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = ({ data }) => parent.stolen.push(data);
  chat.contentWindow.postMessage({ type: "chat-embed" }, "*", [port2]);
  parent.forged += 1;
}, 1);
"""
GREET = """
self.answers = [];
addEventListener("message", ({ ports }) => {
  answers.push("port");
  ports[0].onmessage = ({ data }) => answers.push(data);
  ports[0].postMessage({ type: "token", id: 0, renew: false });
});
parent.postMessage({ type: "chat-embed" }, "*");
"""
DENIED = """
const get = () => { throw new DOMException("denied", "SecurityError"); };
if (self !== top) {
  for (const name of ["sessionStorage", "localStorage"]) Object.defineProperty(self, name, { get, configurable: true });
}
"""
PATIENT = """
const real = setTimeout;
window.setTimeout = (then, ms, ...given) => real(then, ms >= 10_000 ? 1e9 : ms, ...given); // nobody gives up waiting
"""


def token_of(person: str) -> str:
    """A token for a user of the site, as its own server would sign it."""
    claims = {"sub": person, "client_id": "page", "exp": int(time.time()) + 3600, "jti": uuid.uuid4().hex}
    return jwt.encode(claims, KEY)


@pytest.fixture(scope="module")
def shop() -> Iterator[Site]:
    """A site that the stages allow."""
    with site() as running:
        yield running


@pytest.fixture(scope="module")
def stage(shop: Site) -> Iterator[str]:
    """A stage that admits guests and the site's users."""
    with served_in_process(HOSTED | GUESTS | {"CHAT_CORS_ORIGINS": shop.origin}) as url:
        yield url


@pytest.fixture
def bubble(tab: Page, shop: Site, stage: str) -> Bubble:
    """The bubble on a page of the shop with a strict content security policy."""
    tab.goto(shop.show(stage))
    return Bubble(tab, name="Chat")


@pytest.fixture
def person() -> str:
    """The ID of a new user of the site."""
    return f"ada-{uuid.uuid4().hex}"


def test_a_site_that_the_stage_does_not_name_gets_no_bubble_and_cannot_frame_the_page(
    browser: Browser, stage: str
) -> None:
    page = browser.new_page()
    lines: list[str] = []
    page.on("console", lambda line: lines.append(line.text))
    with site() as stranger:
        page.goto(stranger.show(stage, html="<iframe src='STAGE?embed'></iframe>", policy=""))
        expect(page.locator("iframe")).to_be_visible()
        assert page.locator("chat-embed").count() == 0
        [warning] = [line for line in lines if line.startswith("ChatEmbed")]
        assert f"Add {stranger.origin} to cors_origins" in warning
        assert any("frame-ancestors" in line for line in lines)
        assert stage not in [frame.url for frame in page.frames]
    page.close()


def test_only_the_window_around_the_frame_can_answer_its_greeting(tab: Page, shop: Site, stage: str) -> None:
    shop.serve_script("/forge.js", FORGE)
    shop.show(stage, path="/frame", tag='<script src="/forge.js"></script>', policy="")
    tab.add_init_script("self.stolen = []; self.forged = 0;")
    tab.goto(shop.show(stage, html="<iframe src='/frame'></iframe>", policy=""))
    bubble = Bubble(tab, name="Chat")
    bubble.button.click()
    bubble.chat.ask("hello")
    assert bubble.call("forged > 10 && stolen.length === 0")
    bubble.chat.button("Close the chat").click()
    expect(bubble.panel).to_be_hidden()


def test_only_the_frame_of_the_chat_is_greeted(tab: Page, shop: Site, stage: str) -> None:
    tab.goto(shop.show(stage, html="<iframe name='other' src='STAGEembed.js'></iframe>"))
    bubble = Bubble(tab, name="Chat")
    bubble.button.click()
    expect(bubble.chat.text).to_be_focused()
    other = tab.frame("other")
    assert other is not None
    other.evaluate("parent.postMessage({ type: 'chat-embed' }, '*')")  # of the stage's origin, but of another window
    bubble.call("postMessage({ type: 'chat-embed' }, '*')")  # of the site's own window
    bubble.chat.button("Close the chat").click()  # still arrives
    expect(bubble.panel).to_be_hidden()


def test_a_frame_that_has_gone_to_another_origin_gets_no_token(tab: Page, shop: Site, stage: str, person: str) -> None:
    shop.serve_script("/greet.js", GREET)
    elsewhere = shop.show(stage, path="/elsewhere", tag='<script src="/greet.js"></script>', policy="")
    tab.goto(shop.show(stage, policy=""))
    bubble = Bubble(tab, name="Chat")
    bubble.call(f"ChatEmbed.identify('{token_of(person)}')")
    bubble.button.click()
    expect(bubble.chat.text).to_be_visible()
    frame = tab.frame(url=re.compile(re.escape(stage)))
    assert frame is not None
    frame.goto(elsewhere)
    bubble.call("new Promise((resolve) => setTimeout(resolve))")  # after the message of the frame
    assert frame.evaluate("answers") == []


def test_the_site_names_its_user_by_a_token(bubble: Bubble, person: str) -> None:
    requests = senders(bubble.page)
    bubble.call(f"ChatEmbed.identify('{token_of(person)}')")
    bubble.button.click()
    bubble.chat.ask("hello")
    assert {sender for _, sender in requests} == {person}
    assert token_of(person)[:20] not in str(bubble.frame.locator("body").evaluate("() => ({ ...sessionStorage })"))


def test_the_code_in_the_docs_names_the_user(tab: Page, shop: Site, stage: str, person: str) -> None:
    page = (ROOT / "docs" / "how-to" / "embed.md").read_text(encoding="utf-8")
    [_, html] = re.findall(r"```html\n(.*?)```", page, re.DOTALL)
    shop.pages["/chat-token"] = (token_of(person).encode(), {"content-type": "text/plain"})
    tab.goto(shop.show(stage, tag="", html=html.replace("https://chat.example.com/", stage), policy=""))
    requests = senders(tab)
    bubble = Bubble(tab, name="Chat")
    bubble.button.click()
    bubble.chat.ask("hello")
    assert {sender for _, sender in requests} == {person}


def test_a_refused_token_is_renewed_by_the_site(bubble: Bubble, person: str) -> None:
    old, new = token_of(person), token_of(person)

    def refuse_the_old_one(route: Route) -> None:
        if route.request.headers.get("authorization") == f"Bearer {old}":
            route.fulfill(status=401, json={"error": "unauthorized", "message": "Sign in first."})
        else:
            route.fallback()

    bubble.page.route("**/chatkit", refuse_the_old_one)
    bubble.call(
        f"""() => {{
          window.asked = [];
          ChatEmbed.identify(async (how) => {{ asked.push(how); return how.renew ? '{new}' : '{old}'; }});
        }}"""
    )
    bubble.button.click()
    bubble.chat.ask("hello")
    assert bubble.call("asked") == [{"renew": False}, {"renew": True}]


def test_a_guests_chats_go_to_the_user_that_the_site_names(bubble: Bubble, person: str) -> None:
    bubble.button.click()
    bubble.chat.ask("hello")
    requests = senders(bubble.page)
    bubble.call(f"ChatEmbed.identify(() => '{token_of(person)}')")
    expect(bubble.chat.user_messages).to_have_text("hello")
    bubble.chat.ask("again")
    assert requests[-1] == ("threads.add_user_message", person)


def test_another_user_of_the_site_sees_nothing_of_the_one_before(
    bubble: Bubble, shop: Site, stage: str, person: str
) -> None:
    bubble.call(f"ChatEmbed.identify('{token_of(person)}')")
    bubble.button.click()
    bubble.chat.ask("hello")
    bubble.chat.text.fill("draft")
    for identity in (f"'{token_of('bob')}'", "null"):
        bubble.call(f"ChatEmbed.identify({identity})")
        expect(bubble.chat.user_messages).to_have_count(0)
        expect(bubble.chat.text).to_have_value("")
        bubble.chat.text.fill("another draft")
    bubble.page.goto(shop.show(stage, path="/next"))
    expect(bubble.chat.text).to_have_value("another draft")
    expect(bubble.chat.user_messages).to_have_count(0)


def test_a_site_that_names_its_user_late_keeps_the_users_thread(
    bubble: Bubble, shop: Site, stage: str, person: str
) -> None:
    bubble.call(f"ChatEmbed.identify('{token_of(person)}')")
    bubble.button.click()
    bubble.chat.ask("hello")
    bubble.page.add_init_script(PATIENT)
    bubble.page.goto(shop.show(stage, path="/next"))
    expect(bubble.frame.locator("chat-app .loading")).to_be_visible()
    bubble.call(f"ChatEmbed.identify('{token_of(person)}')")
    expect(bubble.chat.user_messages).to_have_text("hello")


def test_users_who_are_not_signed_in_on_the_site_learn_that_they_must_be(tab: Page, shop: Site, person: str) -> None:
    with served_in_process(HOSTED | {"CHAT_CORS_ORIGINS": shop.origin}) as url:
        tab.goto(shop.show(url))
        bubble = Bubble(tab, name="Chat")
        bubble.button.click()
        expect(bubble.chat.notice).to_contain_text("Sign in on this site to use the chat.")
        bubble.call(f"ChatEmbed.identify('{token_of(person)}')")
        expect(bubble.chat.notice).to_have_count(0)
        bubble.chat.ask("hello")


def test_a_function_that_fails_leaves_a_guest_and_a_wrong_identity_is_an_error(bubble: Bubble) -> None:
    warnings: list[str] = []
    bubble.page.on("console", lambda line: warnings.append(line.text) if line.type == "warning" else None)
    bubble.call("ChatEmbed.identify(() => { throw new Error('no session'); })")
    bubble.button.click()
    bubble.chat.ask("hello")
    assert "identify() failed" in warnings[0]
    message = "() => { try { ChatEmbed.identify({ token: 1 }); } catch (error) { return error.message; } }"
    assert bubble.call(message) == "ChatEmbed.identify takes a token, a function that returns one, or null."


def test_people_sign_in_at_an_issuer_in_a_new_tab(tab: Page, shop: Site) -> None:
    with served_in_process(PEOPLE | {"CHAT_CORS_ORIGINS": shop.origin}) as url:
        tab.goto(shop.show(url))
        bubble = Bubble(tab, name="Chat")
        bubble.button.click()
        with tab.context.expect_page() as opened:
            bubble.chat.notice.get_by_role("button", name="Sign in").click()
        expect(opened.value).to_have_url(url)
        assert opened.value.evaluate("opener") is None


def test_a_browser_that_denies_storage_in_frames_still_chats(tab: Page, shop: Site, stage: str) -> None:
    tab.add_init_script(DENIED)
    tab.goto(shop.show(stage))
    bubble = Bubble(tab, name="Chat")
    bubble.button.click()
    bubble.chat.ask("hello")
    bubble.chat.ask("again")
    expect(bubble.chat.user_messages).to_have_text(["hello", "again"])


def test_a_site_may_also_show_the_page_in_a_frame_of_its_own(tab: Page, shop: Site, stage: str) -> None:
    policy = STRICT + "; style-src 'unsafe-inline'"
    tab.goto(shop.show(stage, tag="", html="<iframe src='STAGE' width='800' height='600'></iframe>", policy=policy))
    chat = ChatPage(tab.frame_locator("iframe"), stage)  # type: ignore[arg-type] # locates as a page does
    chat.ask("hello")
    expect(chat.button("Close the chat")).to_have_count(0)
