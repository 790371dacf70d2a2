"""Sign-in in the page: guests, and users of a fake issuer in the browser's network, with the code flow and PKCE."""

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

from tests.web.chat_page import ChatPage, json_response
from tests.web.conftest import GUESTS, ISSUER, PEOPLE, served_in_process

pytestmark = pytest.mark.xdist_group("browser")

KEY = "not-looked-at-" * 3


class Issuer:
    """A fake OpenID issuer in a browser's network, with a single new user. It verifies PKCE (RFC 7636)."""

    def __init__(self, tab: Page, *, lasts_s: int = 3600, url: str = ISSUER) -> None:
        self.url = url
        self.lasts_s, self.refreshed, self.authorization = lasts_s, 0, {}  # type: ignore[var-annotated]
        self.refusal: str | None = None
        self.opaque = False  # whether access tokens are opaque instead of JWTs
        self.exchanged: dict[str, str] = {}
        self.ends_at: str | None = None  # the URL of end_session_endpoint
        self.ended: dict[str, str] = {}
        self.revokes_at: str | None = None  # the URL of revocation_endpoint
        self.revoked: list[dict[str, str]] = []
        self.person = f"ada-{uuid.uuid4().hex}"
        self.claims: dict[str, str] = {}  # in each token, besides the usual ones
        tab.route(f"https://{urlsplit(url).netloc}/**", self.respond)

    def respond(self, route: Route) -> None:
        """Serve discovery, a sign-in page that asks no questions, sign-out, revocation and tokens."""
        url = urlsplit(route.request.url)
        cors = {"access-control-allow-origin": "*"}
        match url.path.removeprefix(urlsplit(self.url).path):
            case "/.well-known/openid-configuration":
                metadata = {"authorization_endpoint": f"{self.url}/authorize", "token_endpoint": f"{self.url}/token"}
                metadata |= {} if self.ends_at is None else {"end_session_endpoint": self.ends_at}
                metadata |= {} if self.revokes_at is None else {"revocation_endpoint": self.revokes_at}
                route.fulfill(status=200, headers=cors, content_type="application/json", body=json.dumps(metadata))
            case "/authorize":
                self.authorization = {name: values[0] for name, values in parse_qs(url.query).items()}
                result = (
                    {"code": "one-time"} if self.refusal is None else {"error": "no", "error_description": self.refusal}
                )
                back = urlencode(result | {"state": self.authorization["state"]})
                route.fulfill(status=302, headers={"location": f"{self.authorization['redirect_uri']}?{back}"})
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
                form = {name: values[0] for name, values in parse_qs(route.request.post_data or "").items()}
                self.exchanged = form
                status = 200 if self.accepts(form) else 400
                claims = {
                    "sub": self.person,
                    "client_id": "page",
                    "exp": int(time.time()) + self.lasts_s,
                    "jti": str(time.time()),
                    **self.claims,
                }
                token = {"access_token": jwt.encode(claims, KEY), "refresh_token": "again"}
                if self.opaque:
                    token["access_token"] = "opaque"
                token["id_token"] = jwt.encode(claims | {"aud": "page"}, KEY)
                route.fulfill(status=status, headers=cors, content_type="application/json", body=json.dumps(token))

    def accepts(self, form: dict[str, str]) -> bool:
        """Whether the token request is valid."""
        if form["grant_type"] == "refresh_token":
            self.refreshed += 1
            return form["refresh_token"] == "again"
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        return (form["code"], challenge) == ("one-time", self.authorization["code_challenge"])


@pytest.fixture
def person(tab: Page, people: str) -> ChatPage:
    """The page of a server whose users sign in."""
    return ChatPage(tab, people)


def test_a_guest_chats_without_signing_in_and_stays_the_same_guest_after_a_reload(guest: ChatPage) -> None:
    guest.open().ask("hello")
    guest.page.reload()
    expect(guest.threads).to_have_count(1)
    assert guest.page.evaluate("Object.keys(localStorage)") == []


def test_when_cloudfront_signs_requests_every_post_has_the_hash_of_its_body(tab: Page) -> None:
    sent: list[Request] = []
    tab.on("request", lambda request: sent.append(request))
    with served_in_process(GUESTS | {"CHAT_TOKEN_HEADER": "x-chat-authorization"}) as url:
        ChatPage(tab, url).open().ask("hello")
    posts = [request for request in sent if request.method == "POST"]
    assert {urlsplit(request.url).path for request in posts} == {"/auth/guest", "/chatkit"}
    for request in posts:
        digest = hashlib.sha256(request.post_data_buffer or b"").hexdigest()
        assert request.headers["x-amz-content-sha256"] == digest
        assert "authorization" not in request.headers


def test_the_page_sends_the_sites_captcha_for_a_new_guest(tab: Page, guests: str) -> None:
    tab.add_init_script("window.chatCaptcha = async () => 'solved'")
    with tab.expect_request("**/auth/guest") as sent:
        ChatPage(tab, guests).open().ask("hello")
    assert sent.value.post_data_json == {"captcha": "solved"}


def test_another_tab_is_another_guest(guest: ChatPage, guests: str) -> None:
    guest.open().ask("hello")
    other = ChatPage(guest.page.context.new_page(), guests).open()
    expect(other.page.get_by_text("Your chats will appear here.")).to_be_visible()


def test_users_sign_in_at_the_issuer_and_return_to_the_page(person: ChatPage) -> None:
    issuer = Issuer(person.page)
    person.open()
    expect(person.notice).to_contain_text("Sign in")
    person.button("Sign in").first.click()
    expect(person.button("Sign out")).to_be_visible()
    assert issuer.authorization["code_challenge_method"] == "S256"
    assert issuer.authorization["response_type"] == "code"
    assert (issuer.authorization["client_id"], issuer.authorization["audience"], issuer.authorization["scope"]) == (
        "page",
        "chat",
        "openid",
    )
    assert "code=" not in person.page.url
    person.ask("hello")
    expect(person.answer).to_have_text("hello")
    assert person.page.evaluate("Object.keys(localStorage)") == []
    assert "refresh" not in person.page.evaluate("JSON.stringify({...sessionStorage})")


def test_an_opaque_access_token_is_refused_and_the_console_names_the_setting_to_change(person: ChatPage) -> None:
    Issuer(person.page).opaque = True
    with person.page.expect_console_message(lambda message: "settings.auth_resource" in message.text):
        person.open().button("Sign in").first.click()
    expect(person.page.get_by_text("Contact the operator of this chat.")).to_be_visible()
    expect(person.button("Sign out")).to_have_count(0)
    assert person.page.evaluate("sessionStorage.getItem('chat.token')") is None


def test_a_token_that_the_server_cannot_check_yet_is_retried_without_signing_the_user_out(person: ChatPage) -> None:
    Issuer(person.page)
    person.open().button("Sign in").first.click()
    expect(person.button("Sign out")).to_be_visible()
    token = person.page.evaluate("sessionStorage.getItem('chat.token')")
    sent: list[Request] = []
    person.page.on("request", lambda request: sent.append(request))
    not_yet = {"error": "sign_in_unavailable", "message": "Your sign-in cannot be checked yet."}
    person.respond_with("threads.create", json_response(not_yet, 503, retry_after="1"))
    person.ask("hello")
    expect(person.answer).to_have_text("hello")
    expect(person.button("Sign out")).to_be_visible()
    messages = [request for request in sent if "threads.create" in (request.post_data or "")]
    assert [request.headers["authorization"] for request in messages] == [f"Bearer {token}"] * 2


@pytest.mark.parametrize(("url", "prompt"), [(ISSUER, "consent"), ("https://login.microsoftonline.com/t/v2.0", None)])
def test_requesting_refresh_tokens_requires_consent(tab: Page, url: str, prompt: str | None) -> None:
    env = {"CHAT_AUTH_ISSUER": f"{url}/" if url == ISSUER else url, "CHAT_AUTH_SCOPE": "openid offline_access"}
    issuer = Issuer(tab, url=url)
    with served_in_process(PEOPLE | env) as address:
        page = ChatPage(tab, address)
        page.open().button("Sign in").first.click()
        expect(page.button("Sign out")).to_be_visible()
    assert issuer.authorization.get("prompt") == prompt


def test_a_resource_replaces_the_audience_in_both_requests(tab: Page) -> None:
    issuer = Issuer(tab)
    with served_in_process(PEOPLE | {"CHAT_AUTH_RESOURCE": "https://chat.example.com/"}) as address:
        page = ChatPage(tab, address)
        page.open().button("Sign in").first.click()
        expect(page.button("Sign out")).to_be_visible()
    assert (issuer.authorization["resource"], issuer.exchanged["resource"]) == ("https://chat.example.com/",) * 2
    assert "audience" not in issuer.authorization


def test_a_response_with_a_foreign_state_does_not_sign_in(person: ChatPage) -> None:
    Issuer(person.page)
    person.page.goto(f"{person.url}?code=stolen&state=another")
    expect(person.page.locator(".notice").first).to_contain_text("Sign in")
    expect(person.page.get_by_text("This sign-in was started in another tab or browser.")).to_be_visible()
    expect(person.button("Sign out")).to_have_count(0)


LINKED = "Your session ended. [Sign in here](https://evil.example/)"


def test_a_failed_sign_in_shows_the_reason_as_plain_text(person: ChatPage) -> None:
    issuer = Issuer(person.page)
    issuer.refusal = LINKED
    person.open().button("Sign in").first.click()
    expect(person.page.get_by_text(LINKED)).to_be_visible()
    expect(person.page.locator(".notice a")).to_have_count(0)


def test_a_link_cannot_inject_text_into_the_page(person: ChatPage) -> None:
    person.page.goto(f"{person.url}?{urlencode({'error': 'x', 'error_description': LINKED, 'state': ''})}")
    expect(person.page.get_by_text("This sign-in was started in another tab or browser.")).to_be_visible()
    expect(person.page.get_by_text("Your session ended.")).to_have_count(0)


def test_signing_out_leaves_nothing(person: ChatPage) -> None:
    Issuer(person.page)
    person.open().button("Sign in").first.click()
    person.ask("hello")
    person.button("Sign out").click()
    expect(person.user_messages).to_have_count(0)
    expect(person.threads).to_have_count(0)
    assert person.page.evaluate("sessionStorage.getItem('chat.token')") is None


def test_a_guest_who_signs_in_keeps_their_chats(tab: Page, visitors: str) -> None:
    Issuer(tab)
    page = ChatPage(tab, visitors)
    page.open().ask("hello")
    page.button("Sign in").first.click()
    expect(page.button("Sign out")).to_be_visible()
    expect(page.threads).to_have_count(1)
    page.ask("more")
    expect(page.user_messages).to_have_text(["hello", "more"])


def test_if_the_guests_chats_cannot_be_transferred_the_page_says_so(tab: Page, visitors: str) -> None:
    Issuer(tab)
    tab.route("**/chatkit/link", lambda route: route.fulfill(status=422, body="{}"))
    page = ChatPage(tab, visitors)
    page.open().ask("hello")
    page.button("Sign in").first.click()
    expect(page.page.get_by_text("The chats from before could not be taken along.")).to_be_visible()
    expect(page.button("Sign out")).to_be_visible()


def test_a_transfer_of_chats_that_failed_without_network_can_be_retried(tab: Page, visitors: str) -> None:
    Issuer(tab)
    page = ChatPage(tab, visitors)
    page.open().ask("hello")
    tab.route("**/chatkit/link", lambda route: route.abort())
    page.button("Sign in").first.click()
    expect(tab.get_by_text("The chats from before have not come along yet.")).to_be_visible()
    tab.reload()  # a reload does not forget it
    expect(tab.get_by_text("The chats from before have not come along yet.")).to_be_visible()
    expect(page.threads).to_have_count(0)
    tab.unroute("**/chatkit/link")
    page.button("Try again").click()
    expect(page.threads).to_have_count(1)
    expect(page.user_messages).to_have_text("hello")
    assert tab.evaluate("sessionStorage.getItem('chat.token.before')") is None


def test_a_token_refused_in_mid_session_is_renewed_silently(person: ChatPage) -> None:
    issuer = Issuer(person.page)
    person.open().button("Sign in").first.click()
    person.ask("one")
    person.respond_with(
        "threads.add_user_message", json_response({"error": "unauthorized", "message": "Sign in first."}, 401)
    )
    person.ask("two")
    expect(person.answer).to_have_text("two")
    assert issuer.refreshed == 1


def test_a_renewal_that_failed_without_network_is_repeated_when_the_old_token_is_refused(
    person: ChatPage,
) -> None:
    issuer = Issuer(person.page, lasts_s=30)
    person.open().button("Sign in").first.click()
    expect(person.button("Sign out")).to_be_visible()
    expect(person.page.get_by_text("Your chats will appear here.")).to_be_visible()
    person.page.route(f"{ISSUER}/token", lambda route: route.abort(), times=1)
    person.respond_with("threads.create", json_response({"error": "unauthorized", "message": "Sign in first."}, 401))
    person.ask("one")
    expect(person.answer).to_have_text("one")
    assert issuer.refreshed == 1


def test_an_expired_session_is_reported_and_no_text_is_lost(person: ChatPage) -> None:
    Issuer(person.page)
    person.open().button("Sign in").first.click()
    person.ask("one")
    refused = json_response({"error": "unauthorized", "message": "Sign in first."}, 401)
    person.respond_with("threads.add_user_message", refused, refused)
    person.say("two")
    expect(person.notice).to_contain_text("no longer signed in")
    expect(person.user_messages).to_have_text(["one", "two"])
    person.button("Sign in again").click()
    expect(person.button("Sign out")).to_be_visible()
    expect(person.user_messages).to_have_text(["one"])  # the thread that was open
    expect(person.text).to_have_value("two")


def signing_in(person: ChatPage) -> Callable[[], None]:
    """Sign in and return to the page before the issuer has responded with a token. Calling the result releases it."""
    Issuer(person.page)
    held: list[Route] = []
    person.page.route(f"{ISSUER}/token", lambda route: held.append(route))
    person.open()
    with person.page.expect_request(f"{ISSUER}/token"):
        person.button("Sign in").first.click()
    return lambda: held[0].fallback()


def test_a_message_sent_during_sign_in_is_sent_once_afterwards(person: ChatPage) -> None:
    release_token = signing_in(person)
    person.text.fill("one")
    person.text.press("Enter")
    person.text.press("Enter")
    expect(person.text).to_have_value("one")
    release_token()
    expect(person.answer).to_have_text("one")
    person.wait_until_done()
    expect(person.user_messages).to_have_text(["one"])
    expect(person.threads).to_have_count(1)


def test_text_typed_after_enter_during_sign_in_is_not_sent_by_itself(person: ChatPage) -> None:
    release_token = signing_in(person)
    person.text.press_sequentially("one")
    person.text.press("Enter")
    person.text.press_sequentially(" more")
    release_token()
    expect(person.button("Sign out")).to_be_visible()
    expect(person.page.get_by_text("Your chats will appear here.")).to_be_visible()
    expect(person.text).to_have_value("one more")
    person.text.press("Enter")
    person.wait_until_done()
    expect(person.user_messages).to_have_text(["one more"])


def test_a_guest_whose_token_has_expired_can_continue_as_a_new_guest(guest: ChatPage) -> None:
    guest.open().ask("one")
    refused = json_response({"error": "unauthorized", "message": "Sign in first."}, 401)
    guest.respond_with("threads.add_user_message", refused, refused)
    guest.say("two")
    guest.button("Continue as a new guest").click()
    expect(guest.page.get_by_text("Your chats will appear here.")).to_be_visible()
    expect(guest.text).to_have_value("two")
    guest.text.press("Enter")
    guest.wait_until_done()
    expect(guest.answer).to_have_text("two")
