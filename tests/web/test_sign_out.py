"""Sign-out in the page: the next user of a tab sees nothing of the previous one; sessions end, tokens are revoked."""

import json
from typing import Any

import jwt
import pytest
from playwright.sync_api import Browser, Page, Request, Route, expect

from tests.web.chat_page import ChatPage, json_response
from tests.web.conftest import ISSUER, PEOPLE, served_in_process
from tests.web.test_sign_in import Issuer

COGNITO = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbC"

pytestmark = pytest.mark.xdist_group("browser")


def senders(tab: Page) -> list[tuple[str, str | None]]:
    """A list that grows with each ChatKit request from now on: its type, and the subject of its token."""
    requests: list[tuple[str, str | None]] = []

    def record(request: Request) -> None:
        if request.method == "POST" and request.url.endswith("/chatkit"):
            token = request.headers.get("authorization", "").removeprefix("Bearer ")
            claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False}) if token else {}
            requests.append((json.loads(request.post_data or "{}")["type"], claims.get("sub")))

    tab.on("request", record)
    return requests


def ada(tab: Page, url: str) -> ChatPage:
    """The page after Ada has signed in."""
    Issuer(tab)
    page = ChatPage(tab, url)
    page.open().button("Sign in").first.click()
    expect(page.button("Sign out")).to_be_visible()
    return page


def test_a_message_after_signing_out_does_not_belong_to_the_previous_user(tab: Page, visitors: str) -> None:
    page = ada(tab, visitors)
    expect(tab.get_by_text("Your chats will appear here.")).to_be_visible()
    requests = senders(tab)
    page.button("Sign out").click()
    expect(page.button("Sign in")).to_be_visible()
    page.ask("a secret of the next person")
    subjects = [sub for kind, sub in requests if kind == "threads.create"]
    assert len(subjects) == 1
    assert subjects[0] is not None
    assert not subjects[0].startswith("ada")


def signed_in(tab: Page, url: str, issuer: Issuer) -> ChatPage:
    """The page after a user of this issuer has signed in."""
    page = ChatPage(tab, url)
    page.open().button("Sign in").first.click()
    expect(page.button("Sign out")).to_be_visible()
    return page


def test_signing_out_ends_the_issuers_session_and_returns_to_the_page(tab: Page, people: str) -> None:
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


def test_if_revocation_fails_the_session_still_ends(tab: Page, people: str) -> None:
    issuer = Issuer(tab)
    issuer.ends_at, issuer.revokes_at = f"{ISSUER}/logout", f"{ISSUER}/revoke"
    page = signed_in(tab, people, issuer)
    tab.route(f"{ISSUER}/revoke", lambda route: route.abort())
    with tab.expect_request("**/logout?*"):
        page.button("Sign out").click()
    expect(page.notice).to_contain_text("Sign in to chat.")


TOKENS = "https://tokens.test"


def revoked_on_another_host(tab: Page, **env: str) -> list[dict[str, str]]:
    """Sign out with an issuer whose revocation endpoint is on another host (TOKENS); return the revoked tokens."""
    issuer = Issuer(tab)
    issuer.ends_at, issuer.revokes_at = f"{ISSUER}/logout", f"{TOKENS}/revoke"
    tab.route(f"{TOKENS}/**", issuer.respond)
    with served_in_process(PEOPLE | env) as url:
        page = signed_in(tab, url, issuer)
        with tab.expect_request("**/logout?*"):
            page.button("Sign out").click()
        expect(page.notice).to_contain_text("Sign in to chat.")
    return issuer.revoked


def test_a_revocation_endpoint_on_the_host_of_the_sign_in_url_is_called(tab: Page) -> None:
    (form,) = revoked_on_another_host(tab, CHAT_AUTH_SIGN_IN_URL=f"{TOKENS}/")
    assert form["token"] == "again"


def test_a_revocation_endpoint_on_an_unconfigured_host_is_blocked_and_the_user_is_still_signed_out(
    browser: Browser,
) -> None:
    with browser.new_context() as context:  # not `tab`, because a policy violation there fails the test
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


def test_after_a_reload_the_issuer_gets_the_client_id_but_no_id_token(tab: Page, people: str) -> None:
    issuer = Issuer(tab)
    issuer.ends_at = f"{ISSUER}/logout?theme=ours"
    page = signed_in(tab, people, issuer)
    tab.reload()
    with tab.expect_request("**/logout?*"):
        page.button("Sign out").click()
    expect(page.notice).to_contain_text("Sign in to chat.")
    assert issuer.ended == {"client_id": "page", "post_logout_redirect_uri": people, "theme": "ours"}


@pytest.mark.parametrize("ends_at", [None, "javascript:alert(1)", "http://issuer.test/logout", "not a URL"])
def test_an_issuer_without_a_valid_end_session_endpoint_is_not_visited(
    tab: Page, visitors: str, ends_at: str | None
) -> None:
    issuer = Issuer(tab)
    issuer.ends_at = ends_at
    page = signed_in(tab, visitors, issuer)
    with tab.expect_response("**/.well-known/openid-configuration"):
        page.button("Sign out").click()
    expect(page.button("Sign in")).to_be_visible()
    assert issuer.ended == {}
    assert tab.url == visitors


def test_users_can_sign_out_while_the_issuer_is_down(tab: Page, visitors: str) -> None:
    page = signed_in(tab, visitors, Issuer(tab))
    tab.route(f"{ISSUER}/**", lambda route: route.abort())
    page.button("Sign out").click()
    expect(page.button("Sign in")).to_be_visible()
    page.ask("hello as a guest")


@pytest.mark.parametrize("ends_at", [None, f"{COGNITO}/logout"])
def test_cognito_gets_its_own_parameter_for_the_return_url(tab: Page, ends_at: str | None) -> None:
    issuer = Issuer(tab, url=COGNITO)
    issuer.ends_at = ends_at
    with served_in_process(PEOPLE | {"CHAT_AUTH_ISSUER": COGNITO}) as url:
        page = signed_in(tab, url, issuer)
        with tab.expect_request("**/logout?*"):
            page.button("Sign out").click()
        expect(page.notice).to_contain_text("Sign in to chat.")
        expect(tab).to_have_url(url)
    assert issuer.ended == {"client_id": "page", "logout_uri": url}


def test_a_draft_is_removed_on_sign_out(tab: Page, visitors: str) -> None:
    page = ada(tab, visitors)
    page.text.fill("half a thought")
    page.button("Sign out").click()
    expect(page.text).to_have_value("")
    assert "half a thought" not in tab.evaluate("JSON.stringify({...sessionStorage})")


def test_an_answer_that_continues_after_signing_out_does_not_show_its_title(tab: Page, visitors: str) -> None:
    page = ada(tab, visitors)
    page.say("slowly my private matter " + "word " * 60)
    page.wait_until_writing(3)
    with tab.expect_event("requestfinished", lambda request: "threads.create" in (request.post_data or "")):
        page.button("Sign out").click()
    tab.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    expect(tab.get_by_text("Your chats will appear here.")).to_be_visible()
    expect(page.threads).to_have_count(0)
    assert page.thread_id is None


def test_a_thread_list_that_arrives_after_signing_out_is_not_shown(tab: Page, people: str) -> None:
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
    expect(page.user_messages).to_have_count(1)
    page.button("Sign out").click()
    with tab.expect_response("**/chatkit"):
        held[0].continue_()
    tab.evaluate("new Promise(requestAnimationFrame)")
    expect(page.threads).to_have_count(0)


def test_if_sign_in_is_required_nothing_can_be_written_after_signing_out(tab: Page, people: str) -> None:
    page = ada(tab, people)
    page.ask("hello")
    requests = senders(tab)
    page.button("Sign out").click()
    expect(page.notice).to_contain_text("Sign in to chat.")
    expect(page.text).to_be_disabled()
    page.button("New chat").first.click()
    expect(page.text).to_be_disabled()
    tab.evaluate("location.hash = 'thread=thr_x'")
    expect(page.text).to_be_disabled()
    expect(tab.get_by_text("You are not signed in.")).to_be_visible()
    assert requests == []


def test_a_token_renewal_during_sign_out_does_not_sign_anyone_in(tab: Page, visitors: str) -> None:
    page = ada(tab, visitors)
    page.ask("hello")
    held: list[Route] = []
    tab.route(f"{ISSUER}/token", lambda route: held.append(route))
    page.respond_with(
        "threads.add_user_message", json_response({"error": "unauthorized", "message": "Sign in first."}, 401)
    )
    with tab.expect_request(f"{ISSUER}/token"):
        page.say("more")
    page.button("Sign out").click()
    expect(tab.get_by_text("Your chats will appear here.")).to_be_visible()
    with tab.expect_response(f"{ISSUER}/token"):
        held[0].fallback()
    page.ask("a secret of the next person")
    expect(page.button("Sign in")).to_be_visible()
    assert tab.evaluate("sessionStorage.getItem('chat.token.kind')") == "guest"
