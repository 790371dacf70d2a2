"""The operators' page in a browser: the inbox, taking, answering, returning and closing, and who may do so."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from lambda_src.languages import SHIPPED
from tests.languages.pseudo import CODE, MARK, write_pseudo_language
from tests.web.chat_page import ChatPage, json_response
from tests.web.conftest import GUESTS, PEOPLE, STAFFED, make_dev, served_in_process, token_of
from tests.web.operator_page import OperatorPage, operator_tab, sign_in_operator
from tests.web.scenes import ORDER
from tests.web.test_access import serious
from tests.web.test_sign_in import Issuer

pytestmark = pytest.mark.xdist_group("browser")


class Customer:
    """A user's page, and the id of that user."""

    def __init__(self, tab: Page, url: str) -> None:
        token = token_of()
        self.id = str(jwt.decode(token, options={"verify_signature": False})["sub"])
        tab.add_init_script(f"sessionStorage.getItem('chat.token') ?? sessionStorage.setItem('chat.token', '{token}')")
        self.chat = ChatPage(tab, url)

    def wait_for_person(self, words: str = "hello") -> None:
        """Write a message, then ask for a person."""
        self.chat.open().ask(words)
        self.chat.button("Talk to a person").click()
        expect(self.chat.page.get_by_text("Waiting for a person.")).to_be_visible()


@pytest.fixture
def customer(tab: Page, staffed: str) -> Customer:
    return Customer(tab, staffed)


@pytest.fixture
def operator(browser: Browser, staffed: str) -> Iterator[OperatorPage]:
    with operator_tab(browser, staffed) as page:
        yield page


def test_an_operator_takes_answers_and_returns(customer: Customer, operator: OperatorPage) -> None:
    customer.wait_for_person("my order is late")
    operator.open().choose(customer.id)
    expect(operator.page.get_by_role("heading", level=1)).not_to_be_empty()
    expect(operator.who).to_contain_text("Waiting for a person since")
    expect(operator.page.locator(".bubble").first).to_have_text("my order is late")
    expect(operator.text).to_be_disabled()
    operator.button("Take").click()
    expect(operator.who).to_have_text("You have this conversation.")
    expect(operator.text).to_be_focused()
    expect(operator.page.get_by_role("heading", name="Yours")).to_be_visible()
    operator.page.get_by_label("Your name, as users see it").fill("Olga")
    operator.say("I am looking.")
    expect(customer.chat.answer).to_have_text("Olga: I am looking.")
    customer.chat.say("thank you")
    expect(operator.page.locator(".bubble").last).to_have_text("thank you")
    operator.button("Return to the assistant").click()
    expect(operator.who).to_have_text("The assistant answers here.")
    expect(customer.chat.button("Talk to a person")).to_be_visible()
    customer.chat.ask("back to you")
    expect(operator.page.locator("article.is-assistant_message").last).to_contain_text("back to you")


def test_a_closed_conversation_is_closed_for_both(customer: Customer, operator: OperatorPage) -> None:
    customer.wait_for_person()
    operator.open().take(customer.id)
    operator.button("Close").click()
    operator.page.get_by_role("dialog").get_by_role("button", name="Close").click()
    expect(operator.who).to_have_text("This conversation is closed.")
    expect(operator.text).to_be_disabled()
    expect(customer.chat.hint).to_have_text("This chat is closed. Start a new one.")
    operator.page.get_by_label("State").select_option("Closed")
    expect(operator.rows(customer.id)).to_have_count(1)


def test_of_two_operators_one_takes_a_thread(
    customer: Customer, operator: OperatorPage, browser: Browser, staffed: str
) -> None:
    customer.wait_for_person()
    with operator_tab(browser, staffed) as late:
        late.page.route(re.compile(r"threads/.*order="), lambda route: route.continue_())
        late.open().choose(customer.id)
        expect(late.button("Take")).to_be_visible()
        late.page.route(re.compile(r"/operator/threads/[^?]*\?"), lambda route: None)  # it learns nothing new
        operator.open().take(customer.id)
        late.button("Take").click()
        expect(late.notice).to_contain_text("Somebody else has this conversation.")
        late.page.unroute_all(behavior="ignoreErrors")
        late.page.reload()
        expect(late.who).to_contain_text("has this conversation.")
        expect(late.button("Take")).to_be_hidden()
        expect(late.text).to_be_disabled()


def test_who_loses_the_role_sees_nothing_any_more(customer: Customer, operator: OperatorPage) -> None:
    customer.wait_for_person("a secret")
    operator.open().take(customer.id)
    user = str(
        jwt.decode(operator.page.evaluate("sessionStorage.getItem('chat.token')"), options={"verify_signature": False})[
            "sub"
        ]
    )
    plain = token_of(sub=user)
    operator.page.evaluate("token => sessionStorage.setItem('chat.token', token)", plain)
    operator.page.add_init_script(f"sessionStorage.setItem('chat.token', '{plain}')")
    operator.page.reload()
    expect(operator.notice).to_contain_text("You are not signed in as an operator of this assistant.")
    expect(operator.page.get_by_text("a secret")).to_have_count(0)
    expect(customer.chat.page.get_by_text("Waiting for a person.")).to_be_visible()


def test_a_role_that_is_lost_while_a_thread_is_open_clears_the_screen(
    customer: Customer, operator: OperatorPage
) -> None:
    customer.wait_for_person("a secret")
    operator.open().take(customer.id)
    operator.text.fill("a draft")
    refusal = json_response({"error": "http_error", "message": "Not Found"}, 404)
    operator.page.route("**/operator/**", lambda route: route.fulfill(**refusal))
    expect(operator.notice).to_contain_text("You are not signed in as an operator of this assistant.")
    expect(operator.page.get_by_text("a secret")).to_have_count(0)
    expect(operator.rows(customer.id)).to_have_count(0)
    expect(operator.text).to_be_hidden()
    expect(operator.text).to_have_value("")
    operator.page.unroute("**/operator/**")
    operator.button("Try again").click()
    expect(operator.rows(customer.id)).to_have_count(1)
    expect(operator.notice).to_have_count(0)


def test_the_keyboard_is_enough(customer: Customer, operator: OperatorPage) -> None:
    customer.wait_for_person()
    operator.open().rows(customer.id).focus()
    operator.page.keyboard.press("Enter")
    expect(operator.button("Take")).to_be_focused()
    operator.page.keyboard.press("Enter")
    expect(operator.text).to_be_focused()
    operator.page.keyboard.type("I am here.")
    operator.page.keyboard.press("Enter")
    expect(customer.chat.answer).to_have_text("Support: I am here.")
    customer.chat.say("good")
    expect(operator.page.locator("[aria-live]")).to_have_text("The user wrote: good")
    expect(operator.text).to_be_focused()


def test_a_matter_that_was_closed_meanwhile_is_taken_only_on_purpose(
    customer: Customer, operator: OperatorPage, browser: Browser, staffed: str
) -> None:
    customer.chat.open().ask("hello")
    customer.chat.button("Bad answer").click()
    operator.open().choose(customer.id)
    expect(operator.button("Take")).to_be_visible()
    with operator_tab(browser, staffed) as other:
        other.open().choose(customer.id)
        with other.page.expect_response(re.compile("/close$")):
            other.button("Close").click()
    operator.button("Take").click()
    expect(operator.notice).to_contain_text("This is closed already.")
    operator.button("Take").click()
    expect(operator.who).to_have_text("You have this conversation.")


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_is_in_the_operators_language_from_right_to_left(browser: Browser, tmp_path: Path, width: int) -> None:
    write_pseudo_language(tmp_path)
    with served_in_process(STAFFED, languages=(SHIPPED, tmp_path)) as url:
        context = browser.new_context(locale=CODE, viewport={"width": width, "height": 740}, reduced_motion="reduce")
        page = context.new_page()
        sign_in_operator(page)
        users = browser.new_context()
        customer = Customer(users.new_page(), url)
        customer.wait_for_person()
        page.goto(f"{url}operator")
        expect(page.locator("html")).to_have_attribute("dir", "rtl")
        if width < 768:
            page.locator("header button").click()
        page.locator("operator-inbox button", has_text=customer.id[:10]).click()
        page.locator(".desk .primary").click()
        expect(page.locator(".people")).to_contain_text(f"{MARK}You~ have~~")
        page.locator("#message").fill("hello")
        page.keyboard.press("Enter")
        expect(page.locator("article.is-assistant_message")).to_have_count(2)
        assert serious(page) == []
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        texts = page.locator("button, option, label, h1, h2, .people, .hint").all_inner_texts()
        marked = [text for text in texts if text.strip() and MARK not in text and re.search("[a-z]{3,}", text)]
        assert set(marked) <= {"English", "Deutsch", "Español", "Français", "Pseudo", "hello"}
        context.close()
        users.close()


def test_an_operator_can_choose_another_language(browser: Browser, staffed: str) -> None:
    with operator_tab(browser, staffed) as operator:
        operator.open().page.get_by_label("Language").select_option("de")
        expect(operator.page.get_by_role("navigation", name="Posteingang")).to_be_visible()


def test_the_inbox_is_filtered_by_kind(customer: Customer, operator: OperatorPage) -> None:
    customer.chat.open().ask("hello")
    customer.chat.button("Bad answer").click()
    operator.open()
    expect(operator.rows(customer.id)).to_contain_text(["Bad answer"])
    operator.page.get_by_label("Kind").select_option("Asks for a person")
    expect(operator.rows(customer.id)).to_have_count(0)
    operator.page.get_by_label("Kind").select_option("Bad answer")
    operator.choose(customer.id)
    expect(operator.who).to_have_text("The assistant answers here.")
    operator.button("Close").click()
    expect(operator.rows(customer.id)).to_have_count(0)


def test_the_inbox_is_paged(operator: OperatorPage) -> None:
    def matter(number: int) -> dict[str, object]:
        return {
            "id": f"handoff#{number}", "kind": "handoff", "state": "open", "assistant": "", "user": f"user_{number:05}",
            "thread": f"thr_{number}", "cause": None, "operator": None, "opened_at": "2026-01-01T00:00:00Z",
            "changed_at": "2026-01-01T00:00:00Z",
        }  # fmt: skip

    def fulfill(route: Route) -> None:
        query = parse_qs(urlsplit(route.request.url).query)
        if query["state"] == ["taken"]:
            return route.fulfill(**json_response({"matters": [], "after": None, "operator": "me"}))
        first = "after" not in query
        matters = [matter(number) for number in (range(3) if first else range(3, 5))]
        return route.fulfill(
            **json_response({"matters": matters, "after": "handoff#2" if first else None, "operator": "me"})
        )

    operator.page.route("**/operator/inbox?*", fulfill)
    operator.open()
    expect(operator.rows("user_")).to_have_count(3)
    operator.button("Show more").click()
    expect(operator.rows("user_")).to_have_count(5)
    expect(operator.button("Show more")).to_be_hidden()


def test_a_draft_stays_with_its_thread(
    customer: Customer, operator: OperatorPage, browser: Browser, staffed: str
) -> None:
    customer.wait_for_person()
    context = browser.new_context()
    other = Customer(context.new_page(), staffed)
    other.wait_for_person()
    operator.open().take(customer.id)
    operator.text.fill("for the first")
    operator.take(other.id)
    expect(operator.text).to_have_value("")
    operator.choose(customer.id)
    expect(operator.text).to_have_value("for the first")
    context.close()


def test_a_message_that_was_not_sent_is_in_the_box_again(customer: Customer, operator: OperatorPage) -> None:
    customer.wait_for_person()
    operator.open().take(customer.id)
    operator.page.route("**/messages", lambda route: route.abort())
    operator.text.fill("lost")
    operator.text.press("Enter")
    expect(operator.notice).to_contain_text("The connection was lost.")
    expect(operator.text).to_have_value("lost")
    operator.page.unroute("**/messages")
    operator.text.press("Enter")
    expect(customer.chat.answer).to_have_text("Support: lost")


def test_a_user_cannot_be_rated_or_retried_by_an_operator(customer: Customer, operator: OperatorPage) -> None:
    customer.wait_for_person()
    operator.open().choose(customer.id)
    expect(operator.button("Copy the answer")).to_be_attached()
    for name in ("Good answer", "Bad answer", "Answer again", "Edit the message"):
        expect(operator.button(name)).to_have_count(0)


def test_what_only_a_user_may_answer_is_disabled(operator: OperatorPage) -> None:
    inputs: list[dict[str, Any]] = [
        {"id": "q", "type": "multiple_choice", "question": "Pay?", "options": [{"value": "Yes"}], "multiple": False}
    ]
    items: list[dict[str, Any]] = [
        {"id": "w", "type": "widget", "widget": ORDER},
        {"id": "f", "type": "structured_input", "status": "pending", "inputs": inputs},
    ]
    dated = [{"thread_id": "thr_x", "created_at": "2026-01-01T00:00:00Z", **item} for item in items]
    thread = {"id": "thr_x", "created_at": "2026-01-01T00:00:00Z", "status": {"type": "active"}}
    shown = {"thread": thread, "held": None, "items": {"data": dated[::-1], "has_more": False, "after": None}}
    operator.page.route("**/operator/threads/**", lambda route: route.fulfill(**json_response(shown)))
    operator.page.goto(f"{operator.url}#user=u_1&thread=thr_x")
    controls = operator.page.locator("chat-messages article").locator("button, input, textarea, select")
    expect(controls.first).to_be_visible()
    for number in range(controls.count()):
        expect(controls.nth(number)).to_be_disabled()


def test_an_operator_opens_a_file_of_the_user(operator: OperatorPage) -> None:
    file = {"id": "atc_1", "type": "file", "name": "plan.pdf", "mime_type": "application/pdf"}
    dated = {"thread_id": "thr_x", "created_at": "2026-01-01T00:00:00Z"}
    message = {"id": "m", "type": "user_message", "content": [], "attachments": [file], "inference_options": {}}
    thread = {"id": "thr_x", "created_at": "2026-01-01T00:00:00Z", "status": {"type": "active"}}
    items = {"data": [message | dated], "has_more": False, "after": None}
    answers = {"thr_x": {"thread": thread, "held": None, "items": items}, "atc_1": {"url": "about:blank#the-file"}}

    def answer(route: Route) -> None:
        route.fulfill(**json_response(answers[urlsplit(route.request.url).path.rpartition("/")[2]]))

    operator.page.route("**/operator/threads/**", answer)
    operator.page.goto(f"{operator.url}#user=u_1&thread=thr_x")
    with operator.page.expect_popup() as opened:
        operator.button("Open plan.pdf PDF").click()
    opened.value.wait_for_url("about:blank#the-file")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible(customer: Customer, operator: OperatorPage, scheme: Literal["light", "dark"]) -> None:
    customer.wait_for_person()
    operator.page.emulate_media(color_scheme=scheme)
    operator.open().take(customer.id)
    operator.say("I am here.")
    expect(operator.page.locator("article.is-assistant_message")).to_have_count(2)
    assert serious(operator.page) == []


def test_an_operator_chooses_among_the_assistants_with_people(browser: Browser) -> None:
    looks = {"assistants": [{"name": "", "label": "Help"}, {"name": "sales", "label": "Sales"}]}
    env = STAFFED | {"CHAT_OPERATORS": '{"assistants": ["", "sales"]}', "CHAT_PAGE": json.dumps(looks)}
    with served_in_process(env) as url, operator_tab(browser, url) as operator:
        operator.open()
        expect(operator.page.get_by_text("Nothing is here.")).to_be_visible()
        choice = operator.page.get_by_label("Assistant", exact=True)
        expect(choice.get_by_role("option")).to_have_text(["Help", "Sales"])
        choice.select_option("Sales")  # these operators answer for the other only
        expect(operator.notice).to_contain_text("You are not signed in as an operator of this assistant.")
        choice.select_option("Help")
        expect(operator.page.get_by_text("Nothing is here.")).to_be_visible()
        expect(operator.notice).to_have_count(0)


def test_an_operator_signs_in_at_the_issuer(tab: Page) -> None:
    issuer = Issuer(tab)
    issuer.claims = {"role": "operator"}
    with served_in_process(PEOPLE | GUESTS | {"CHAT_OPERATORS": "{}"}) as url:
        operator = OperatorPage(tab, url).open()
        expect(operator.notice).to_contain_text("Sign in to answer.")
        operator.button("Sign in").click()
        expect(tab.get_by_text("Nothing is here.")).to_be_visible()
        assert issuer.authorization["redirect_uri"] == operator.url
        operator.button("Sign out").click()
        expect(operator.notice).to_contain_text("Sign in to answer.")


def test_a_stage_without_operators_does_not_have_the_page(hosted: str, tab: Page) -> None:
    page = tab.request.get(f"{hosted}operator")
    unknown = tab.request.get(f"{hosted}nothing")
    assert (page.status, page.body()) == (unknown.status, unknown.body()) == (404, unknown.body())


def test_no_other_site_frames_the_operators_page(tab: Page) -> None:
    with served_in_process(STAFFED | {"CHAT_CORS_ORIGINS": "https://shop.test"}) as url:
        headers = tab.request.get(f"{url}operator").headers
        assert headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "operator_take" not in tab.request.get(url).text()


def test_make_dev_has_an_operator_without_set_up(tab: Page, browser: Browser, tmp_path: Path) -> None:
    with make_dev(tmp_path, "--showcase", "--support") as (url, _):
        chat = ChatPage(tab, url).open()
        chat.ask("hello")
        chat.button("Talk to a person").click()
        expect(tab.get_by_text("Waiting for a person.")).to_be_visible()
        context = browser.new_context()
        operator = OperatorPage(context.new_page(), url).open()
        operator.take("local")
        operator.say("I am here.")
        expect(chat.answer).to_have_text("Support: I am here.")
        context.close()
