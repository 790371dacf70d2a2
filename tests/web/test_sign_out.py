"""Who comes after somebody in the same tab: nothing of the one before is seen, sent or written as theirs."""

import json
from typing import Any

import jwt
import pytest
from playwright.sync_api import Browser, Page, Request, Route, expect

from tests.web.chat_page import ChatPage, json_answer
from tests.web.conftest import ISSUER, PEOPLE, served_here
from tests.web.test_sign_in import Issuer

COGNITO = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbC"

pytestmark = pytest.mark.xdist_group("browser")


def senders(tab: Page) -> list[tuple[str, str | None]]:
    """Each of ChatKit's requests from now on: its type, and whose token it carries."""
    seen: list[tuple[str, str | None]] = []

    def note(request: Request) -> None:
        if request.method == "POST" and request.url.endswith("/chatkit"):
            token = request.headers.get("authorization", "").removeprefix("Bearer ")
            claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False}) if token else {}
            seen.append((json.loads(request.post_data or "{}")["type"], claims.get("sub")))

    tab.on("request", note)
    return seen


def ada(tab: Page, url: str) -> ChatPage:
    """The page, once Ada is signed in."""
    Issuer(tab)
    page = ChatPage(tab, url)
    page.open().button("Sign in").first.click()
    expect(page.button("Sign out")).to_be_visible()
    return page


def test_what_is_said_after_signing_out_of_an_empty_chat_is_not_the_last_ones(tab: Page, visitors: str) -> None:
    page = ada(tab, visitors)
    expect(tab.get_by_text("Your chats will appear here.")).to_be_visible()
    seen = senders(tab)
    page.button("Sign out").click()
    expect(page.button("Sign in")).to_be_visible()
    page.ask("a secret of the next person")
    said = [sub for kind, sub in seen if kind == "threads.create"]
    assert len(said) == 1
    assert said[0] is not None
    assert not said[0].startswith("ada")


def signed_in(tab: Page, url: str, issuer: Issuer) -> ChatPage:
    """The page, once somebody of this issuer is signed in."""
    page = ChatPage(tab, url)
    page.open().button("Sign in").first.click()
    expect(page.button("Sign out")).to_be_visible()
    return page


def test_signing_out_ends_the_issuers_session_and_comes_back(tab: Page, people: str) -> None:
    issuer = Issuer(tab)
    issuer.ends_at = f"{ISSUER}/logout"
    page = signed_in(tab, people, issuer)
    with tab.expect_request("**/logout?*"):
        page.button("Sign out").click()
    expect(page.notice).to_contain_text("Sign in to chat.")
    assert issuer.ended.pop("id_token_hint").count(".") == 2
    assert issuer.ended == {"client_id": "page", "post_logout_redirect_uri": people}
    expect(tab).to_have_url(people)


def test_signing_out_revokes_the_refresh_token_and_then_ends_the_session(tab: Page, people: str) -> None:
    issuer = Issuer(tab)
    issuer.ends_at, issuer.revokes_at = f"{ISSUER}/logout", f"{ISSUER}/revoke"
    page = signed_in(tab, people, issuer)
    with tab.expect_request("**/revoke"), tab.expect_request("**/logout?*"):
        page.button("Sign out").click()
    expect(page.notice).to_contain_text("Sign in to chat.")
    assert issuer.revoked == [{"token": "again", "token_type_hint": "refresh_token", "client_id": "page"}]


def test_a_revocation_that_fails_does_not_keep_the_session(tab: Page, people: str) -> None:
    issuer = Issuer(tab)
    issuer.ends_at, issuer.revokes_at = f"{ISSUER}/logout", f"{ISSUER}/revoke"
    page = signed_in(tab, people, issuer)
    tab.route(f"{ISSUER}/revoke", lambda route: route.abort())
    with tab.expect_request("**/logout?*"):
        page.button("Sign out").click()
    expect(page.notice).to_contain_text("Sign in to chat.")


TOKENS = "https://tokens.test"


def revoked_on_another_host(tab: Page, **env: str) -> list[dict[str, str]]:
    """What a page with these settings revokes at an issuer whose revocation endpoint is on the host of TOKENS."""
    issuer = Issuer(tab)
    issuer.ends_at, issuer.revokes_at = f"{ISSUER}/logout", f"{TOKENS}/revoke"
    tab.route(f"{TOKENS}/**", issuer.answer)
    with served_here(PEOPLE | env) as url:
        page = signed_in(tab, url, issuer)
        with tab.expect_request("**/logout?*"):
            page.button("Sign out").click()
        expect(page.notice).to_contain_text("Sign in to chat.")
    return issuer.revoked


def test_a_revocation_endpoint_on_the_host_of_the_sign_in_url_is_called(tab: Page) -> None:
    (form,) = revoked_on_another_host(tab, CHAT_AUTH_SIGN_IN_URL=f"{TOKENS}/")
    assert form["token"] == "again"


def test_a_revocation_endpoint_on_a_host_that_no_setting_names_is_blocked_and_people_are_signed_out(
    browser: Browser,
) -> None:
    with browser.new_context() as context:  # in `tab`, a violation of the policy fails the test
        tab = context.new_page()
        blocked: list[str] = []
        tab.on("console", lambda message: blocked.append(message.text))
        assert revoked_on_another_host(tab) == []
    assert any("Content Security Policy" in text and f"{TOKENS}/revoke" in text for text in blocked)


def test_after_a_reload_there_is_no_refresh_token_to_revoke(tab: Page, people: str) -> None:
    issuer = Issuer(tab)
    issuer.ends_at, issuer.revokes_at = f"{ISSUER}/logout", f"{ISSUER}/revoke"
    page = signed_in(tab, people, issuer)
    tab.reload()
    with tab.expect_request("**/logout?*"):
        page.button("Sign out").click()
    expect(page.notice).to_contain_text("Sign in to chat.")
    assert issuer.revoked == []


def test_after_a_reload_the_issuer_is_told_the_client_alone(tab: Page, people: str) -> None:
    issuer = Issuer(tab)
    issuer.ends_at = f"{ISSUER}/logout?theme=ours"
    page = signed_in(tab, people, issuer)
    tab.reload()
    with tab.expect_request("**/logout?*"):
        page.button("Sign out").click()
    expect(page.notice).to_contain_text("Sign in to chat.")
    assert issuer.ended == {"client_id": "page", "post_logout_redirect_uri": people, "theme": "ours"}


@pytest.mark.parametrize("ends_at", [None, "javascript:alert(1)", "http://issuer.test/logout", "not a URL"])
def test_an_issuer_that_offers_no_end_of_session_is_not_visited(tab: Page, visitors: str, ends_at: str | None) -> None:
    issuer = Issuer(tab)
    issuer.ends_at = ends_at
    page = signed_in(tab, visitors, issuer)
    with tab.expect_response("**/.well-known/openid-configuration"):
        page.button("Sign out").click()
    expect(page.button("Sign in")).to_be_visible()
    assert issuer.ended == {}
    assert tab.url == visitors


def test_an_issuer_that_is_down_does_not_keep_anybody_signed_in(tab: Page, visitors: str) -> None:
    page = signed_in(tab, visitors, Issuer(tab))
    tab.route(f"{ISSUER}/**", lambda route: route.abort())
    page.button("Sign out").click()
    expect(page.button("Sign in")).to_be_visible()
    page.ask("hello as a guest")


@pytest.mark.parametrize("ends_at", [None, f"{COGNITO}/logout"])
def test_cognito_is_told_where_to_come_back_in_its_own_words(tab: Page, ends_at: str | None) -> None:
    issuer = Issuer(tab, url=COGNITO)
    issuer.ends_at = ends_at
    with served_here(PEOPLE | {"CHAT_AUTH_ISSUER": COGNITO}) as url:
        page = signed_in(tab, url, issuer)
        with tab.expect_request("**/logout?*"):
            page.button("Sign out").click()
        expect(page.notice).to_contain_text("Sign in to chat.")
        expect(tab).to_have_url(url)
    assert issuer.ended == {"client_id": "page", "logout_uri": url}


def test_a_draft_leaves_with_who_wrote_it(tab: Page, visitors: str) -> None:
    page = ada(tab, visitors)
    page.text.fill("half a thought")
    page.button("Sign out").click()
    expect(page.text).to_have_value("")
    assert "half a thought" not in tab.evaluate("JSON.stringify({...sessionStorage})")


def test_an_answer_that_goes_on_after_signing_out_shows_its_title_to_nobody(tab: Page, visitors: str) -> None:
    page = ada(tab, visitors)
    page.say("slowly my private matter " + "word " * 60)
    page.writing(3)
    with tab.expect_event("requestfinished", lambda request: "threads.create" in (request.post_data or "")):
        page.button("Sign out").click()
    tab.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    expect(tab.get_by_text("Your chats will appear here.")).to_be_visible()
    expect(page.threads).to_have_count(0)
    assert page.thread_id is None


def test_a_list_that_is_asked_for_and_comes_after_signing_out_shows_nobody_anything(tab: Page, people: str) -> None:
    page = ada(tab, people)
    page.ask("my private matter")
    held: list[Route] = []

    def hold(route: Route) -> None:
        if (route.request.post_data_json or {}).get("type") == "threads.list":
            held.append(route)
        else:
            route.fallback()

    tab.route("**/chatkit", hold)
    tab.reload()
    expect(page.said).to_have_count(1)
    page.button("Sign out").click()
    with tab.expect_response("**/chatkit"):
        held[0].continue_()
    tab.evaluate("new Promise(requestAnimationFrame)")
    expect(page.threads).to_have_count(0)


def test_where_one_must_sign_in_nothing_can_be_written_after_signing_out(tab: Page, people: str) -> None:
    page = ada(tab, people)
    page.ask("hello")
    seen = senders(tab)
    page.button("Sign out").click()
    expect(page.notice).to_contain_text("Sign in to chat.")
    expect(page.text).to_be_disabled()
    page.button("New chat").first.click()
    expect(page.text).to_be_disabled()
    tab.evaluate("location.hash = 'thread=thr_x'")
    expect(page.text).to_be_disabled()
    expect(tab.get_by_text("You are not signed in.")).to_be_visible()
    assert seen == []


def test_a_token_that_is_renewed_while_one_signs_out_signs_nobody_in(tab: Page, visitors: str) -> None:
    page = ada(tab, visitors)
    page.ask("hello")
    held: list[Route] = []
    tab.route(f"{ISSUER}/token", lambda route: held.append(route))
    page.answering("threads.add_user_message", json_answer({"error": "unauthorized", "message": "Sign in first."}, 401))
    with tab.expect_request(f"{ISSUER}/token"):
        page.say("more")
    page.button("Sign out").click()
    expect(tab.get_by_text("Your chats will appear here.")).to_be_visible()
    with tab.expect_response(f"{ISSUER}/token"):
        held[0].fallback()
    page.ask("a secret of the next person")
    expect(page.button("Sign in")).to_be_visible()
    assert tab.evaluate("sessionStorage.getItem('chat.token.kind')") == "guest"
