"""The page with a domain key: OpenAI's ChatKit where it comes, our own client where it does not, without a reload."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Dialog, Page, Request, expect

from tests.web.chat_page import ChatPage
from tests.web.chatkit_cdn import CDN, SCRIPT, ChatKit, with_cdn, without_cdn
from tests.web.conftest import GUESTS, served

KEY = "domain_pk_test"


@pytest.fixture(scope="module")
def keyed() -> Iterator[str]:
    """A stage with a domain key, for guests."""
    with served({**GUESTS, "CHAT_DOMAIN_KEY": KEY}) as url:
        yield url


@pytest.fixture
def chatkit(tab: Page, keyed: str) -> ChatKit:
    """ChatKit in the page of that stage."""
    chatkit = with_cdn(tab)
    tab.goto(keyed)
    expect(chatkit.element).to_be_visible()
    return chatkit


def posted(tab: Page, path: str) -> list[Request]:
    """The POSTs to `path` from now on."""
    seen: list[Request] = []
    tab.on(
        "request",
        lambda request: seen.append(request) if request.url.endswith(path) and request.method == "POST" else None,
    )
    return seen


def kept_answer(chatkit: ChatKit) -> str:
    """The assistant's message in the thread, once it is stored."""
    text: str = chatkit.element.evaluate("""async (chat) => {
        for (let tries = 0; tries < 500; tries++) {
            const { data } = await chat.ask("items.list", { thread_id: chat.threadId });
            const answer = data.find((item) => item.type === "assistant_message");
            if (answer) return answer.content[0].text;
        }
        return "";
    }""")
    return text


def test_chatkit_is_told_what_the_stage_offers(chatkit: ChatKit, keyed: str) -> None:
    options = chatkit.options
    assert options["api"] == {"url": f"{keyed}chatkit", "domainKey": KEY, "uploadStrategy": {"type": "two_phase"}}
    assert options["history"] == {"enabled": True, "showDelete": True, "showRename": True}
    assert options["threadItemActions"] == {"feedback": True, "retry": True}
    assert options["composer"]["dictation"] == {"enabled": False}  # nobody has a model's key here
    assert options["composer"]["attachments"]["enabled"] is False  # nor a bucket
    assert options["theme"] == "light"
    box = chatkit.element.bounding_box()
    assert box is not None
    assert (box["width"], box["height"]) == (1280, 860)


def test_a_turn_carries_the_guests_token_and_its_id_and_stands_in_the_address(chatkit: ChatKit, tab: Page) -> None:
    seen = posted(tab, "/chatkit")
    events = chatkit.say("hello")
    assert "".join(event["update"]["delta"] for event in events if "delta" in event.get("update", {})) == "hello"
    headers = seen[0].headers
    assert headers["authorization"].startswith("Bearer ey")
    assert len(headers["x-chat-turn"]) == 32
    assert tab.url.endswith("#thread=" + events[0]["thread"]["id"])


def test_stop_reaches_the_server_and_what_was_said_stays(chatkit: ChatKit, tab: Page) -> None:
    with tab.expect_response("**/chatkit/stop") as stopped:
        chatkit.element.evaluate("""async (chat) => {
            const turn = chat.say("slowly " + "word ".repeat(200));
            while (!chat.seen.events.some((event) => event.update?.delta)) await new Promise(requestAnimationFrame);
            chat.stop();
            await turn;
        }""")
    assert set(stopped.value.request.post_data_json or {}) == {"turn_id"}
    assert stopped.value.json() == {"stopped": True}
    answer = kept_answer(chatkit)
    assert answer.startswith("slowly word")
    assert answer.count("word") < 200


def test_an_answer_survives_a_reload(chatkit: ChatKit, tab: Page) -> None:
    chatkit.element.evaluate("""async (chat) => {
        chat.say("slowly " + "word ".repeat(30));
        while (!chat.seen.events.some((event) => event.update?.delta)) await new Promise(requestAnimationFrame);
    }""")
    thread = chatkit.element.evaluate("chat => chat.threadId")
    stops = posted(tab, "/chatkit/stop")
    tab.reload()
    expect(chatkit.element).to_be_visible()
    assert chatkit.options["initialThread"] == thread
    chatkit.element.evaluate("(chat, id) => chat.load(id)", thread)
    expect(chatkit.element).to_have_attribute("data-updates", "1")
    assert kept_answer(chatkit).count("word") == 30
    assert not stops


def test_dark_is_told_to_chatkit_when_the_system_turns_and_when_somebody_chooses(chatkit: ChatKit, tab: Page) -> None:
    tab.emulate_media(color_scheme="dark")
    expect(chatkit.element).to_have_attribute("data-color-scheme", "dark")
    chatkit.element.evaluate("chat => chat.options.header.rightAction.onClick()")
    expect(chatkit.element).to_have_attribute("data-color-scheme", "light")


def test_a_tool_of_the_page_asks_first(chatkit: ChatKit, tab: Page) -> None:
    tab.evaluate("navigator.clipboard.writeText('kept')")
    asked: list[str] = []
    answers = iter([True, False])

    def decide(dialog: Dialog) -> None:
        asked.append(dialog.message)
        if next(answers):
            dialog.accept()
        else:
            dialog.dismiss()

    tab.on("dialog", decide)
    call = "chat => chat.options.onClientTool({ name: 'read_clipboard', params: {} })"
    assert chatkit.element.evaluate(call) == {"text": "kept"}
    assert chatkit.element.evaluate(call) == {"error": "The user refused."}
    assert "clipboard" in asked[0]
    unknown = "chat => chat.options.onClientTool({ name: 'rm', params: {} })"
    assert chatkit.element.evaluate(unknown) == {"error": "This page has no such tool."}


# Without it


def chats(page: ChatPage) -> None:
    """Our own client serves."""
    expect(page.text).to_be_enabled()
    page.ask("hello")
    expect(page.answer).to_have_text("hello")
    expect(page.page.locator("openai-chatkit")).to_have_count(0)


def test_where_the_script_is_refused_our_own_client_serves_at_once(tab: Page, keyed: str) -> None:
    asked = without_cdn(tab)
    tab.goto(keyed)
    chats(ChatPage(tab, keyed))
    assert asked == [SCRIPT]


def test_where_the_script_hangs_our_own_client_serves_after_three_seconds(tab: Page, keyed: str) -> None:
    tab.route(f"{CDN}/**", lambda route: None)  # neither answered nor refused
    said: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.clock.install(time=0)
    tab.clock.pause_at(1_000)  # seconds of the test are not those of the page
    tab.goto(keyed, wait_until="commit")
    expect(tab.get_by_text("Loading ...")).to_be_visible()
    tab.clock.run_for(2_900)
    expect(tab.get_by_label("Message", exact=True)).to_have_count(0)
    tab.clock.run_for(200)
    tab.clock.resume()
    chats(ChatPage(tab, keyed))
    assert "did not come from cdn.platform.openai.com within 3 s" in said[0]


def test_where_chatkit_refuses_its_options_our_own_client_serves(tab: Page, keyed: str) -> None:
    fussy = "customElements.define('openai-chatkit', class extends HTMLElement { setOptions() {throw Error('No.'); } })"
    tab.route(SCRIPT, lambda route: route.fulfill(body=fussy, content_type="text/javascript"))
    tab.goto(keyed)
    chats(ChatPage(tab, keyed))


def test_where_openai_does_not_know_the_domain_our_own_client_goes_on_with_the_thread(
    chatkit: ChatKit, tab: Page
) -> None:
    said: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    chatkit.say("hello")
    chatkit.element.evaluate("chat => chat.giveUp()")
    page = ChatPage(tab, tab.url)
    expect(page.said).to_have_text(["hello"])
    page.ask("again")
    expect(page.answers).to_have_count(2)
    assert "OpenAI's list of domains" in said[0]


def test_without_a_domain_key_openai_is_not_asked(guest: ChatPage) -> None:
    asked = without_cdn(guest.page)
    guest.open()
    chats(guest)
    assert asked == []
