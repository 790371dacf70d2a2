"""What goes wrong on the way, and what the user can do about it."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.web.chat_page import ChatPage, json_answer
from tests.web.conftest import HOSTED, served_here, sign_in

pytestmark = pytest.mark.xdist_group("browser")

LONG = "slowly " + " ".join(f"w{number}" for number in range(60))


@pytest.fixture(scope="module")
def sparing() -> Iterator[str]:
    """A server where one may say one thing a minute."""
    with served_here(HOSTED | {"CHAT_QUOTAS": '{"messages_per_minute": 1}'}) as url:
        yield url


BREAKS_OFF = """let tries = 0; const real = window.fetch; window.fetch = async (url, init) => {
  if (!String(init?.body).includes("threads.create")) return real(url, init);
  tries += 1;
  if (tries === 2) throw new TypeError("network is gone");
  const answer = await real(url, init);
  if (tries > 1) return answer;
  let bytes = 0;
  const body = answer.body.pipeThrough(new TransformStream({ transform(chunk, stream) {
    bytes += chunk.length;
    if (bytes < 3000) stream.enqueue(chunk);
    else stream.error(new TypeError("network error"));
  } }));
  return new Response(body, { status: answer.status, headers: answer.headers });
};"""


def test_a_network_that_breaks_off_in_mid_answer_loses_and_repeats_nothing(echo: ChatPage) -> None:
    echo.page.add_init_script(BREAKS_OFF)
    echo.open().say(LONG)
    expect(echo.page.locator(".progress")).to_have_text("Connecting again ...")
    echo.ended()
    expect(echo.answer).to_have_text(LONG)
    expect(echo.said).to_have_count(1)
    echo.page.reload()
    expect(echo.answer).to_have_text(LONG)
    expect(echo.said).to_have_count(1)


def test_a_network_that_is_gone_says_so_and_the_same_can_be_tried_again(echo: ChatPage) -> None:
    echo.open().ask("one")
    echo.page.add_init_script(
        "window.setTimeout = new Proxy(setTimeout, { apply: (real, me, [go, ms]) => real(go, Math.min(ms ?? 0, 20)) })"
    )
    echo.page.reload()
    expect(echo.answers).to_have_count(1)
    echo.page.route("**/chatkit", lambda route: route.abort())
    echo.say("two")
    expect(echo.notice).to_contain_text("The connection was lost.")
    echo.page.unroute("**/chatkit")
    echo.button("Try again").click()
    echo.ended()
    expect(echo.answers).to_have_count(2)
    expect(echo.said).to_have_text(["one", "two"])


def test_a_server_that_fails_for_a_moment_is_asked_again(echo: ChatPage) -> None:
    echo.answering("threads.create", json_answer({"error": "unavailable", "message": "Not now."}, 503))
    echo.open().ask("hello")
    expect(echo.answer).to_have_text("hello")
    expect(echo.said).to_have_count(1)


def test_a_function_whose_processes_are_all_busy_is_asked_again(echo: ChatPage) -> None:
    busy = {"status": 429, "body": '{"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded"}'}
    echo.answering("threads.list", busy)
    echo.answering("threads.create", busy)
    echo.open()
    expect(echo.page.get_by_text("Your chats will appear here.")).to_be_visible()
    echo.ask("hello")
    expect(echo.answer).to_have_text("hello")


def test_a_slow_network_shows_the_words_at_once_and_that_it_works(echo: ChatPage) -> None:
    echo.open()
    session = echo.page.context.new_cdp_session(echo.page)
    session.send("Network.enable")
    session.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 2000, "downloadThroughput": 4000, "uploadThroughput": 4000},
    )
    echo.say("hello")
    expect(echo.said).to_have_text("hello")
    expect(echo.page.locator(".progress")).to_be_visible()
    echo.ended()
    expect(echo.answer).to_have_text("hello")


def test_a_limit_says_when_it_ends_and_waits_as_long(tab: Page, sparing: str) -> None:
    sign_in(tab)
    chat = ChatPage(tab, sparing).open()
    chat.ask("one")
    chat.say("two")
    expect(chat.notice).to_have_attribute("role", "alert")
    again = chat.notice.get_by_role("button")
    expect(again).to_contain_text("Try again in")
    expect(again).to_be_disabled()
    expect(chat.said).to_have_text(["one", "two"])  # what was written is not lost


def test_after_the_wait_of_a_limit_the_same_is_sent(echo: ChatPage) -> None:
    limit = json_answer({"error": "quota", "message": "One message at a time."}, 429, retry_after="1")
    echo.answering("threads.create", limit)
    echo.open().say("hello")
    expect(echo.notice).to_contain_text("One message at a time.")
    echo.button("Try again").click()
    echo.ended()
    expect(echo.answer).to_have_text("hello")
    expect(echo.said).to_have_count(1)
    expect(echo.notice).to_have_count(0)


def test_an_error_of_the_assistant_offers_another_try(echo: ChatPage) -> None:
    echo.open().ask("hello")
    lines = 'data: {"type":"error","code":"stream.error","message":"The model is away.","allow_retry":true}\n\n'
    stream = {"status": 200, "headers": {"content-type": "text/event-stream"}, "body": lines}
    echo.answering("threads.retry_after_item", stream)
    echo.button("Answer again").click()
    expect(echo.notice).to_contain_text("The model is away.")
    echo.button("Try again").click()
    echo.ended()
    expect(echo.answer).to_have_text("hello")


def test_a_list_that_cannot_be_read_says_so(echo: ChatPage) -> None:
    echo.answering("threads.list", json_answer({"error": "internal", "message": "Something went wrong here."}, 500))
    echo.open()
    expect(echo.page.get_by_text("Something went wrong here.")).to_be_visible()
    echo.button("Try again").click()
    expect(echo.page.get_by_text("Your chats will appear here.")).to_be_visible()
