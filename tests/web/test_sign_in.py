"""Who is signed in: guests, and people of an issuer (played in the browser's network), by code and PKCE."""

import base64
import hashlib
import json
import time
import uuid
from collections.abc import Callable
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
import pytest
from playwright.sync_api import Page, Request, Route, expect

from tests.web.chat_page import ChatPage, json_answer
from tests.web.conftest import GUESTS, ISSUER, PEOPLE, served_here

pytestmark = pytest.mark.xdist_group("browser")

KEY = "not-looked-at-" * 3


class Issuer:
    """An OpenID issuer for one browser: everybody is one new person. Checks what RFC 7636 asks of it."""

    def __init__(self, tab: Page, *, lasts_s: int = 3600, url: str = ISSUER) -> None:
        self.url = url
        self.lasts_s, self.refreshed, self.asked = lasts_s, 0, {}  # type: ignore[var-annotated]
        self.refuses: str | None = None
        self.opaque = False  # whether its access tokens are no JWTs
        self.exchanged: dict[str, str] = {}
        self.ends_at: str | None = None  # the address of its end_session_endpoint
        self.ended: dict[str, str] = {}
        self.revokes_at: str | None = None  # the address of its revocation_endpoint
        self.revoked: list[dict[str, str]] = []
        self.person = f"ada-{uuid.uuid4().hex}"
        tab.route(f"https://{urlsplit(url).netloc}/**", self.answer)

    def answer(self, route: Route) -> None:
        """Discovery, the sign-in page (which asks nothing), tokens."""
        url = urlsplit(route.request.url)
        cors = {"access-control-allow-origin": "*"}
        match url.path.removeprefix(urlsplit(self.url).path):
            case "/.well-known/openid-configuration":
                found = {"authorization_endpoint": f"{self.url}/authorize", "token_endpoint": f"{self.url}/token"}
                found |= {} if self.ends_at is None else {"end_session_endpoint": self.ends_at}
                found |= {} if self.revokes_at is None else {"revocation_endpoint": self.revokes_at}
                route.fulfill(status=200, headers=cors, content_type="application/json", body=json.dumps(found))
            case "/authorize":
                self.asked = {name: values[0] for name, values in parse_qs(url.query).items()}
                told = (
                    {"code": "one-time"} if self.refuses is None else {"error": "no", "error_description": self.refuses}
                )
                back = urlencode(told | {"state": self.asked["state"]})
                route.fulfill(status=302, headers={"location": f"{self.asked['redirect_uri']}?{back}"})
            case "/logout":
                self.ended = {name: values[0] for name, values in parse_qs(url.query).items()}
                back = self.ended.get("post_logout_redirect_uri") or self.ended["logout_uri"]
                route.fulfill(status=302, headers={"location": back})
            case "/revoke":
                self.revoked.append(
                    {name: values[0] for name, values in parse_qs(route.request.post_data or "").items()}
                )
                route.fulfill(status=200, headers=cors)
            case "/token":
                told = {name: values[0] for name, values in parse_qs(route.request.post_data or "").items()}
                self.exchanged = told
                status = 200 if self.takes(told) else 400
                claims = {
                    "sub": self.person,
                    "client_id": "page",
                    "exp": int(time.time()) + self.lasts_s,
                    "jti": str(time.time()),
                }
                token = {"access_token": jwt.encode(claims, KEY), "refresh_token": "again"}
                if self.opaque:
                    token["access_token"] = "opaque"
                token["id_token"] = jwt.encode(claims | {"aud": "page"}, KEY)
                route.fulfill(status=status, headers=cors, content_type="application/json", body=json.dumps(token))

    def takes(self, told: dict[str, str]) -> bool:
        """Whether the request for a token is as it must be."""
        if told["grant_type"] == "refresh_token":
            self.refreshed += 1
            return told["refresh_token"] == "again"
        digest = hashlib.sha256(told["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        return (told["code"], challenge) == ("one-time", self.asked["code_challenge"])


@pytest.fixture
def person(tab: Page, people: str) -> ChatPage:
    """The page of a server whose users sign in."""
    return ChatPage(tab, people)


def test_a_guest_chats_without_a_question_and_is_the_same_after_a_reload(guest: ChatPage) -> None:
    guest.open().ask("hello")
    guest.page.reload()
    expect(guest.threads).to_have_count(1)
    assert guest.page.evaluate("Object.keys(localStorage)") == []


def test_where_cloudfront_signs_every_post_says_the_hash_of_its_body(tab: Page) -> None:
    sent: list[Request] = []
    tab.on("request", lambda request: sent.append(request))
    with served_here(GUESTS | {"CHAT_TOKEN_HEADER": "x-chat-authorization"}) as url:
        ChatPage(tab, url).open().ask("hello")
    posts = [request for request in sent if request.method == "POST"]
    assert {urlsplit(request.url).path for request in posts} == {"/auth/guest", "/chatkit"}
    for request in posts:
        digest = hashlib.sha256(request.post_data_buffer or b"").hexdigest()
        assert request.headers["x-amz-content-sha256"] == digest
        assert "authorization" not in request.headers


def test_the_page_sends_the_captcha_of_the_site_for_a_new_guest(tab: Page, guests: str) -> None:
    tab.add_init_script("window.chatCaptcha = async () => 'solved'")
    with tab.expect_request("**/auth/guest") as sent:
        ChatPage(tab, guests).open().ask("hello")
    assert sent.value.post_data_json == {"captcha": "solved"}


def test_another_tab_is_another_guest(guest: ChatPage, guests: str) -> None:
    guest.open().ask("hello")
    other = ChatPage(guest.page.context.new_page(), guests).open()
    expect(other.page.get_by_text("Your chats will appear here.")).to_be_visible()


def test_people_sign_in_at_the_issuer_and_come_back(person: ChatPage) -> None:
    issuer = Issuer(person.page)
    person.open()
    expect(person.notice).to_contain_text("Sign in")
    person.button("Sign in").first.click()
    expect(person.button("Sign out")).to_be_visible()
    assert issuer.asked["code_challenge_method"] == "S256"
    assert issuer.asked["response_type"] == "code"
    assert (issuer.asked["client_id"], issuer.asked["audience"], issuer.asked["scope"]) == ("page", "chat", "openid")
    assert "code=" not in person.page.url
    person.ask("hello")
    expect(person.answer).to_have_text("hello")
    assert person.page.evaluate("Object.keys(localStorage)") == []
    assert "refresh" not in person.page.evaluate("JSON.stringify({...sessionStorage})")


def test_an_access_token_that_is_no_jwt_signs_nobody_in_and_the_page_says_what_to_change(person: ChatPage) -> None:
    Issuer(person.page).opaque = True
    person.open().button("Sign in").first.click()
    expect(person.page.get_by_text("set auth.audience or settings.auth_resource")).to_be_visible()
    expect(person.button("Sign out")).to_have_count(0)
    assert person.page.evaluate("sessionStorage.getItem('chat.token')") is None


def test_a_token_that_the_server_cannot_check_yet_is_sent_again_and_signs_nobody_out(person: ChatPage) -> None:
    Issuer(person.page)
    person.open().button("Sign in").first.click()
    expect(person.button("Sign out")).to_be_visible()
    token = person.page.evaluate("sessionStorage.getItem('chat.token')")
    sent: list[Request] = []
    person.page.on("request", lambda request: sent.append(request))
    not_yet = {"error": "sign_in_unavailable", "message": "Your sign-in cannot be checked yet."}
    person.answering("threads.create", json_answer(not_yet, 503, retry_after="1"))
    person.ask("hello")
    expect(person.answer).to_have_text("hello")
    expect(person.button("Sign out")).to_be_visible()
    messages = [request for request in sent if "threads.create" in (request.post_data or "")]
    assert [request.headers["authorization"] for request in messages] == [f"Bearer {token}"] * 2


@pytest.mark.parametrize(("url", "prompt"), [(ISSUER, "consent"), ("https://login.microsoftonline.com/t/v2.0", None)])
def test_where_refresh_tokens_are_wanted_people_are_asked_for_consent(tab: Page, url: str, prompt: str | None) -> None:
    env = {"CHAT_AUTH_ISSUER": f"{url}/" if url == ISSUER else url, "CHAT_AUTH_SCOPE": "openid offline_access"}
    issuer = Issuer(tab, url=url)
    with served_here(PEOPLE | env) as address:
        page = ChatPage(tab, address)
        page.open().button("Sign in").first.click()
        expect(page.button("Sign out")).to_be_visible()
    assert issuer.asked.get("prompt") == prompt


def test_a_resource_takes_the_place_of_the_audience_in_both_requests(tab: Page) -> None:
    issuer = Issuer(tab)
    with served_here(PEOPLE | {"CHAT_AUTH_RESOURCE": "https://chat.example.com/"}) as address:
        page = ChatPage(tab, address)
        page.open().button("Sign in").first.click()
        expect(page.button("Sign out")).to_be_visible()
    assert (issuer.asked["resource"], issuer.exchanged["resource"]) == ("https://chat.example.com/",) * 2
    assert "audience" not in issuer.asked


def test_who_comes_back_with_the_answer_to_another_question_is_not_signed_in(person: ChatPage) -> None:
    Issuer(person.page)
    person.page.goto(f"{person.url}?code=stolen&state=another")
    expect(person.page.locator(".notice").first).to_contain_text("Sign in")
    expect(person.page.get_by_text("This sign-in was begun elsewhere.")).to_be_visible()
    expect(person.button("Sign out")).to_have_count(0)


LINKED = "Your session ended. [Sign in here](https://evil.example/)"


def test_a_sign_in_that_was_not_finished_says_why_in_plain_text(person: ChatPage) -> None:
    issuer = Issuer(person.page)
    issuer.refuses = LINKED
    person.open().button("Sign in").first.click()
    expect(person.page.get_by_text(LINKED)).to_be_visible()
    expect(person.page.locator(".notice a")).to_have_count(0)


def test_a_link_cannot_put_words_into_the_page(person: ChatPage) -> None:
    person.page.goto(f"{person.url}?{urlencode({'error': 'x', 'error_description': LINKED, 'state': ''})}")
    expect(person.page.get_by_text("This sign-in was begun elsewhere.")).to_be_visible()
    expect(person.page.get_by_text("Your session ended.")).to_have_count(0)


def test_signing_out_leaves_nothing(person: ChatPage) -> None:
    Issuer(person.page)
    person.open().button("Sign in").first.click()
    person.ask("hello")
    person.button("Sign out").click()
    expect(person.said).to_have_count(0)
    expect(person.threads).to_have_count(0)
    assert person.page.evaluate("sessionStorage.getItem('chat.token')") is None


def test_a_guest_who_signs_in_keeps_the_chats(tab: Page, visitors: str) -> None:
    Issuer(tab)
    page = ChatPage(tab, visitors)
    page.open().ask("hello")
    page.button("Sign in").first.click()
    expect(page.button("Sign out")).to_be_visible()
    expect(page.threads).to_have_count(1)
    page.ask("more")
    expect(page.said).to_have_text(["hello", "more"])


def test_chats_that_cannot_be_taken_along_are_told(tab: Page, visitors: str) -> None:
    Issuer(tab)
    tab.route("**/chatkit/adopt", lambda route: route.fulfill(status=422, body="{}"))
    page = ChatPage(tab, visitors)
    page.open().ask("hello")
    page.button("Sign in").first.click()
    expect(page.page.get_by_text("The chats from before could not be taken along.")).to_be_visible()
    expect(page.button("Sign out")).to_be_visible()


def test_chats_that_did_not_come_along_for_want_of_a_network_can_be_asked_for_again(tab: Page, visitors: str) -> None:
    Issuer(tab)
    page = ChatPage(tab, visitors)
    page.open().ask("hello")
    tab.route("**/chatkit/adopt", lambda route: route.abort())
    page.button("Sign in").first.click()
    expect(tab.get_by_text("The chats from before have not come along yet.")).to_be_visible()
    tab.reload()  # it is not forgotten meanwhile
    expect(tab.get_by_text("The chats from before have not come along yet.")).to_be_visible()
    expect(page.threads).to_have_count(0)
    tab.unroute("**/chatkit/adopt")
    page.button("Try again").click()
    expect(page.threads).to_have_count(1)
    expect(page.said).to_have_text("hello")
    assert tab.evaluate("sessionStorage.getItem('chat.token.before')") is None


def test_a_token_that_is_refused_in_mid_session_is_renewed_unseen(person: ChatPage) -> None:
    issuer = Issuer(person.page)
    person.open().button("Sign in").first.click()
    person.ask("one")
    person.answering(
        "threads.add_user_message", json_answer({"error": "unauthorized", "message": "Sign in first."}, 401)
    )
    person.ask("two")
    expect(person.answer).to_have_text("two")
    assert issuer.refreshed == 1


def test_a_renewal_that_failed_for_want_of_a_network_is_repeated_when_the_old_token_is_refused(
    person: ChatPage,
) -> None:
    issuer = Issuer(person.page, lasts_s=30)
    person.open().button("Sign in").first.click()
    expect(person.button("Sign out")).to_be_visible()
    expect(person.page.get_by_text("Your chats will appear here.")).to_be_visible()
    person.page.route(f"{ISSUER}/token", lambda route: route.abort(), times=1)
    person.answering("threads.create", json_answer({"error": "unauthorized", "message": "Sign in first."}, 401))
    person.ask("one")
    expect(person.answer).to_have_text("one")
    assert issuer.refreshed == 1


def test_who_is_no_longer_signed_in_is_told_and_loses_no_word(person: ChatPage) -> None:
    Issuer(person.page)
    person.open().button("Sign in").first.click()
    person.ask("one")
    refused = json_answer({"error": "unauthorized", "message": "Sign in first."}, 401)
    person.answering("threads.add_user_message", refused, refused)
    person.say("two")
    expect(person.notice).to_contain_text("no longer signed in")
    expect(person.said).to_have_text(["one", "two"])
    person.button("Sign in again").click()
    expect(person.button("Sign out")).to_be_visible()
    expect(person.said).to_have_text(["one"])  # the thread it was in
    expect(person.text).to_have_value("two")


def signing_in(person: ChatPage) -> Callable[[], None]:
    """Sign in, and be back at the page while the issuer makes the token; a call lets it."""
    Issuer(person.page)
    held: list[Route] = []
    person.page.route(f"{ISSUER}/token", lambda route: held.append(route))
    person.open()
    with person.page.expect_request(f"{ISSUER}/token"):
        person.button("Sign in").first.click()
    return lambda: held[0].fallback()


def test_what_is_sent_while_signing_in_is_sent_once_it_is_done(person: ChatPage) -> None:
    go_on = signing_in(person)
    person.text.fill("one")
    person.text.press("Enter")
    person.text.press("Enter")
    expect(person.text).to_have_value("one")
    go_on()
    expect(person.answer).to_have_text("one")
    person.ended()
    expect(person.said).to_have_text(["one"])
    expect(person.threads).to_have_count(1)


def test_what_is_written_further_while_signing_in_is_not_sent_unasked(person: ChatPage) -> None:
    go_on = signing_in(person)
    person.text.press_sequentially("one")
    person.text.press("Enter")
    person.text.press_sequentially(" more")
    go_on()
    expect(person.button("Sign out")).to_be_visible()
    expect(person.page.get_by_text("Your chats will appear here.")).to_be_visible()
    expect(person.text).to_have_value("one more")
    person.text.press("Enter")
    person.ended()
    expect(person.said).to_have_text(["one more"])


def test_a_guest_whose_token_has_ended_becomes_another(guest: ChatPage) -> None:
    guest.open().ask("one")
    refused = json_answer({"error": "unauthorized", "message": "Sign in first."}, 401)
    guest.answering("threads.add_user_message", refused, refused)
    guest.say("two")
    guest.button("Continue as a new guest").click()
    expect(guest.page.get_by_text("Your chats will appear here.")).to_be_visible()
    expect(guest.text).to_have_value("two")
    guest.text.press("Enter")
    guest.ended()
    expect(guest.answer).to_have_text("two")
