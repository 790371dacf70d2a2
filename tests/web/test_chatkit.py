"""The page with a domain key: OpenAI's ChatKit if it loads, otherwise our own client, without a reload."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Dialog, Page, Request, expect

from tests.web.chat_page import ChatPage
from tests.web.chatkit_cdn import CDN, SCRIPT, ChatKit, with_cdn, without_cdn
from tests.web.conftest import GUESTS, served

KEY = "domain_pk_test"
OPTIONS = {  # of ChatKitOptions in @openai/chatkit 1.9.0
    *("api", "locale", "theme", "frameTitle", "initialThread", "onClientTool", "header", "history", "startScreen"),
    *("threadItemActions", "composer", "disclaimer", "entities", "commands", "widgets", "thread"),
}


@pytest.fixture(scope="module")
def keyed() -> Iterator[str]:
    """A server with a domain key that admits guests."""
    with served({**GUESTS, "CHAT_DOMAIN_KEY": KEY}) as url:
        yield url


@pytest.fixture
def chatkit(tab: Page, keyed: str) -> ChatKit:
    """ChatKit in the page of that server."""
    chatkit = with_cdn(tab)
    tab.goto(keyed)
    expect(chatkit.element).to_be_visible()
    return chatkit


def posted(tab: Page, path: str) -> list[Request]:
    """A list that grows with each POST to `path` from now on."""
    requests: list[Request] = []
    tab.on(
        "request",
        lambda request: requests.append(request) if request.url.endswith(path) and request.method == "POST" else None,
    )
    return requests


def stored_answer(chatkit: ChatKit) -> str:
    """Wait until the assistant's message is stored, and return its text."""
    text: str = chatkit.element.evaluate("""async (chat) => {
        for (let tries = 0; tries < 500; tries++) {
            const { data } = await chat.ask("items.list", { thread_id: chat.threadId });
            const answer = data.find((item) => item.type === "assistant_message");
            if (answer) return answer.content[0].text;
        }
        return "";
    }""")
    return text


def test_chatkit_gets_options_that_match_the_stage(chatkit: ChatKit, tab: Page, keyed: str) -> None:
    options = chatkit.options
    assert options["api"] == {"url": f"{keyed}chatkit", "domainKey": KEY, "uploadStrategy": {"type": "two_phase"}}
    assert options["history"] == {"enabled": True, "showDelete": True, "showRename": True}
    assert options["threadItemActions"] == {"feedback": True, "retry": True}
    assert options["composer"]["dictation"] == {"enabled": False}  # there is no model key
    assert options["composer"]["attachments"]["enabled"] is False  # there is no bucket
    assert options["theme"] == "light"
    assert options["locale"] == tab.evaluate("document.documentElement.lang")
    assert options["commands"] == {"enabled": True}
    assert options["frameTitle"] == "Chat"
    box = chatkit.element.bounding_box()
    assert box is not None
    assert (box["width"], box["height"]) == (1280, 860)


def test_a_turn_is_sent_with_the_guests_token_and_a_turn_id_and_its_thread_is_in_the_url(
    chatkit: ChatKit, tab: Page
) -> None:
    posts = posted(tab, "/chatkit")
    events = chatkit.say("hello")
    assert "".join(event["update"]["delta"] for event in events if "delta" in event.get("update", {})) == "hello"
    headers = posts[0].headers
    assert headers["authorization"].startswith("Bearer ey")
    assert len(headers["x-chat-turn"]) == 32
    assert tab.url.endswith("#thread=" + events[0]["thread"]["id"])


def test_stop_reaches_the_server_and_the_partial_answer_is_kept(chatkit: ChatKit, tab: Page) -> None:
    with tab.expect_response("**/chatkit/stop") as stopped:
        chatkit.element.evaluate("""async (chat) => {
            const turn = chat.say("slowly " + "word ".repeat(200));
            while (!chat.received.events.some((event) => event.update?.delta)) await new Promise(requestAnimationFrame);
            chat.stop();
            await turn;
        }""")
    assert set(stopped.value.request.post_data_json or {}) == {"turn_id"}
    assert stopped.value.json() == {"stopped": True}
    answer = stored_answer(chatkit)
    assert answer.startswith("slowly word")
    assert answer.count("word") < 200


def test_an_answer_survives_a_reload(chatkit: ChatKit, tab: Page) -> None:
    chatkit.element.evaluate("""async (chat) => {
        chat.say("slowly " + "word ".repeat(30));
        while (!chat.received.events.some((event) => event.update?.delta)) await new Promise(requestAnimationFrame);
    }""")
    thread = chatkit.element.evaluate("chat => chat.threadId")
    stops = posted(tab, "/chatkit/stop")
    tab.reload()
    expect(chatkit.element).to_be_visible()
    assert chatkit.options["initialThread"] == thread
    chatkit.element.evaluate("(chat, id) => chat.load(id)", thread)
    expect(chatkit.element).to_have_attribute("data-updates", "1")
    assert stored_answer(chatkit).count("word") == 30
    assert not stops


def test_chatkit_follows_the_color_scheme_of_the_system_and_of_the_user(chatkit: ChatKit, tab: Page) -> None:
    tab.emulate_media(color_scheme="dark")
    expect(chatkit.element).to_have_attribute("data-color-scheme", "dark")
    chatkit.element.evaluate("chat => chat.options.header.rightAction.onClick()")
    expect(chatkit.element).to_have_attribute("data-color-scheme", "light")


def test_actions_of_widgets_and_clicks_on_entities_reach_the_page(chatkit: ChatKit) -> None:
    heard = chatkit.element.evaluate(
        """async ({ options }) => {
          const heard = [];
          for (const name of ["chat-action", "chat-entity"])
            document.addEventListener(name, ({ detail }) => heard.push([name, detail]), { once: true });
          await options.widgets.onAction({ type: "open", payload: { id: 7 } }, { id: "wid_1" });
          options.entities.onClick({ id: "order-7", title: "Order 7" });
          return heard;
        }"""
    )
    assert heard == [
        ["chat-action", {"type": "open", "payload": {"id": 7}, "item": {"id": "wid_1"}}],
        ["chat-entity", {"id": "order-7", "title": "Order 7"}],
    ]


def test_every_option_of_chatkit_is_passed(chatkit: ChatKit) -> None:
    names = set(chatkit.element.evaluate("chat => Object.keys(chat.options)"))
    assert names | {"disclaimer"} == OPTIONS  # a stage without a disclaimer has none: test_brand.py


def test_a_client_tool_asks_the_user_first(chatkit: ChatKit, tab: Page) -> None:
    tab.evaluate("navigator.clipboard.writeText('kept')")
    questions: list[str] = []
    answers = iter([True, False])

    def decide(dialog: Dialog) -> None:
        questions.append(dialog.message)
        if next(answers):
            dialog.accept()
        else:
            dialog.dismiss()

    tab.on("dialog", decide)
    call = "chat => chat.options.onClientTool({ name: 'read_clipboard', params: {} })"
    assert chatkit.element.evaluate(call) == {"text": "kept"}
    assert chatkit.element.evaluate(call) == {"error": "The user refused."}
    assert "clipboard" in questions[0]
    unknown = "chat => chat.options.onClientTool({ name: 'rm', params: {} })"
    assert chatkit.element.evaluate(unknown) == {"error": "This page has no such tool."}


# Without ChatKit


def our_client_works(page: ChatPage) -> None:
    """Chat once, and check that our own client is used."""
    expect(page.text).to_be_enabled()
    page.ask("hello")
    expect(page.answer).to_have_text("hello")
    expect(page.page.locator("openai-chatkit")).to_have_count(0)


def test_if_the_script_cannot_be_loaded_our_own_client_is_used_at_once(tab: Page, keyed: str) -> None:
    requested = without_cdn(tab)
    tab.goto(keyed)
    our_client_works(ChatPage(tab, keyed))
    assert requested == [SCRIPT]


def test_if_the_script_hangs_our_own_client_is_used_after_three_seconds(tab: Page, keyed: str) -> None:
    tab.route(f"{CDN}/**", lambda route: None)  # neither fulfilled nor aborted
    console: list[str] = []
    tab.on("console", lambda message: console.append(message.text))
    tab.clock.install(time=0)
    tab.clock.pause_at(1_000)  # so that the page's clock does not depend on the test's
    tab.goto(keyed, wait_until="commit")
    expect(tab.get_by_text("Loading ...")).to_be_visible()
    tab.clock.run_for(2_900)
    expect(tab.get_by_label("Message", exact=True)).to_have_count(0)
    tab.clock.run_for(200)
    tab.clock.resume()
    our_client_works(ChatPage(tab, keyed))
    assert "did not come from cdn.platform.openai.com within 3 s" in console[0]


def test_if_chatkit_rejects_its_options_our_own_client_is_used(tab: Page, keyed: str) -> None:
    fussy = "customElements.define('openai-chatkit', class extends HTMLElement { setOptions() {throw Error('No.'); } })"
    tab.route(SCRIPT, lambda route: route.fulfill(body=fussy, content_type="text/javascript"))
    tab.goto(keyed)
    our_client_works(ChatPage(tab, keyed))


def test_if_openai_does_not_know_the_domain_our_own_client_continues_the_thread(chatkit: ChatKit, tab: Page) -> None:
    console: list[str] = []
    tab.on("console", lambda message: console.append(message.text))
    chatkit.say("hello")
    chatkit.element.evaluate("chat => chat.giveUp()")
    page = ChatPage(tab, tab.url)
    expect(page.user_messages).to_have_text(["hello"])
    page.ask("again")
    expect(page.answers).to_have_count(2)
    assert "OpenAI's list of domains" in console[0]


def test_without_a_domain_key_nothing_is_requested_from_openai(guest: ChatPage) -> None:
    requested = without_cdn(guest.page)
    guest.open()
    our_client_works(guest)
    assert requested == []
