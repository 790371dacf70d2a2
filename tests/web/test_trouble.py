"""Network and server errors in the page: reconnecting, retries, slow networks, rate limits and error messages."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.web.chat_page import ChatPage, json_response
from tests.web.conftest import HOSTED, served_in_process, sign_in

pytestmark = pytest.mark.xdist_group("browser")

LONG = "slowly " + " ".join(f"w{number}" for number in range(60))


@pytest.fixture(scope="module")
def rate_limited() -> Iterator[str]:
    """A server that allows one message per minute."""
    with served_in_process(HOSTED | {"CHAT_QUOTAS": '{"messages_per_minute": 1}'}) as url:
        yield url


BREAK_CONNECTION = """let tries = 0; const real = window.fetch; window.fetch = async (url, init) => {
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


def test_a_connection_lost_in_mid_answer_loses_and_repeats_nothing(echo: ChatPage) -> None:
    echo.page.add_init_script(BREAK_CONNECTION)
    echo.open().say(LONG)
    expect(echo.page.locator(".progress")).to_have_text("Connecting again ...")
    echo.wait_until_done()
    expect(echo.answer).to_have_text(LONG)
    expect(echo.user_messages).to_have_count(1)
    echo.page.reload()
    expect(echo.answer).to_have_text(LONG)
    expect(echo.user_messages).to_have_count(1)


def test_a_lost_network_is_reported_and_the_message_can_be_retried(echo: ChatPage) -> None:
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
    echo.wait_until_done()
    expect(echo.answers).to_have_count(2)
    expect(echo.user_messages).to_have_text(["one", "two"])


def test_a_request_is_retried_after_a_temporary_server_error(echo: ChatPage) -> None:
    echo.respond_with("threads.create", json_response({"error": "unavailable", "message": "Not now."}, 503))
    echo.open().ask("hello")
    expect(echo.answer).to_have_text("hello")
    expect(echo.user_messages).to_have_count(1)


def test_a_request_is_retried_if_all_processes_are_busy(echo: ChatPage) -> None:
    busy = {"status": 429, "body": '{"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded"}'}
    echo.respond_with("threads.list", busy)
    echo.respond_with("threads.create", busy)
    echo.open()
    expect(echo.page.get_by_text("Your chats will appear here.")).to_be_visible()
    echo.ask("hello")
    expect(echo.answer).to_have_text("hello")


def test_on_a_slow_network_the_message_and_progress_are_shown_at_once(echo: ChatPage) -> None:
    echo.open()
    session = echo.page.context.new_cdp_session(echo.page)
    session.send("Network.enable")
    session.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 2000, "downloadThroughput": 4000, "uploadThroughput": 4000},
    )
    echo.say("hello")
    expect(echo.user_messages).to_have_text("hello")
    expect(echo.page.locator(".progress")).to_be_visible()
    echo.wait_until_done()
    expect(echo.answer).to_have_text("hello")


def test_a_rate_limit_shows_a_countdown_until_the_message_can_be_retried(tab: Page, rate_limited: str) -> None:
    sign_in(tab)
    chat = ChatPage(tab, rate_limited).open()
    chat.ask("one")
    chat.say("two")
    expect(chat.notice).to_have_attribute("role", "alert")
    retry = chat.notice.get_by_role("button")
    expect(retry).to_contain_text("Try again in")
    expect(retry).to_be_disabled()
    expect(chat.user_messages).to_have_text(["one", "two"])  # the text is not lost


def test_after_a_rate_limit_the_same_message_is_sent(echo: ChatPage) -> None:
    limit = json_response({"error": "quota", "message": "One message at a time."}, 429, retry_after="1")
    echo.respond_with("threads.create", limit)
    echo.open().say("hello")
    expect(echo.notice).to_contain_text("One message at a time.")
    echo.button("Try again").click()
    echo.wait_until_done()
    expect(echo.answer).to_have_text("hello")
    expect(echo.user_messages).to_have_count(1)
    expect(echo.notice).to_have_count(0)


def test_an_error_of_the_model_offers_a_retry(echo: ChatPage) -> None:
    echo.open().ask("hello")
    lines = 'data: {"type":"error","code":"stream.error","message":"The model is away.","allow_retry":true}\n\n'
    stream = {"status": 200, "headers": {"content-type": "text/event-stream"}, "body": lines}
    echo.respond_with("threads.retry_after_item", stream)
    echo.button("Answer again").click()
    expect(echo.notice).to_contain_text("The model is away.")
    echo.button("Try again").click()
    echo.wait_until_done()
    expect(echo.answer).to_have_text("hello")


def test_a_thread_list_that_cannot_be_loaded_is_reported(echo: ChatPage) -> None:
    echo.respond_with(
        "threads.list", json_response({"error": "internal", "message": "Something went wrong here."}, 500)
    )
    echo.open()
    expect(echo.page.get_by_text("Something went wrong here.")).to_be_visible()
    echo.button("Try again").click()
    expect(echo.page.get_by_text("Your chats will appear here.")).to_be_visible()
