"""Sign-in with a certified OpenID provider, on https: what our own fakes of an issuer do not prove."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qsl

import httpx2
import jwt
import pytest
from playwright.sync_api import Browser, Page, Request, expect

from tests.fakes.certificate import Certificate
from tests.web.chat_page import ChatPage
from tests.web.conftest import CHROMIUM_FLAGS, served
from tests.web.examples import free_port
from tests.web.provider import AUDIENCE, RESOURCE, Provider, provider

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]  # `make examples`: npm

SHORT_S = 5  # the page renews a token in its last minute: this one before the second request, and then not again


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """The provider's."""
    return Certificate.made(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def browser(browser: Browser, chromium: str, certificate: Certificate) -> Iterator[Browser]:
    """One that trusts this certificate."""
    flags = [*CHROMIUM_FLAGS, f"--ignore-certificate-errors-spki-list={certificate.spki}"]
    trusting = browser.browser_type.launch(executable_path=chromium, args=flags)
    yield trusting
    trusting.close()


@contextmanager
def chat_with(certificate: Certificate, *, lifetime_s: int = 3600, **env: str) -> Iterator[tuple[str, Provider]]:
    """A chat whose users sign in at a provider: its URL, and the provider. `env` adds to the chat's settings."""
    issuer = f"https://localhost:{free_port()}"
    settings = {
        "CHAT_STORE": "memory",
        "CHAT_AUTH_ISSUER": issuer,
        "CHAT_AUTH_AUDIENCE": AUDIENCE,
        "CHAT_AUTH_CLIENT_ID": "page",
        "CHAT_AUTH_SCOPE": "openid offline_access",
        "SSL_CERT_FILE": str(certificate.authority),
        **env,
    }
    with (
        served(settings, "tests.web.verifying.handler") as url,
        provider(issuer, certificate, page=url, lifetime_s=lifetime_s) as running,
    ):
        yield url, running


class Seen:
    """What a tab sends from now on."""

    def __init__(self, tab: Page, issuer: str) -> None:
        self.tokens: list[str] = []  # that the chat's requests carried, each once
        self.to_issuer: list[tuple[str, dict[str, str]]] = []  # path, form
        self._issuer = issuer
        tab.on("request", self._note)

    def _note(self, request: Request) -> None:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token and token not in self.tokens:
            self.tokens.append(token)
        if request.method == "POST" and request.url.startswith(self._issuer):
            path = request.url.removeprefix(self._issuer)
            self.to_issuer.append((path, dict(parse_qsl(request.post_data or ""))))

    def forms(self, path: str) -> list[dict[str, str]]:
        """The forms that were posted to this path of the provider."""
        return [form for posted, form in self.to_issuer if posted == path]


def signed_in(tab: Page, url: str) -> ChatPage:
    """The page, once Ada has typed her password at the provider and consented."""
    page = ChatPage(tab, url)
    page.open().button("Sign in").first.click()
    with_password(tab)
    return page


def with_password(tab: Page) -> None:
    """Sign in at the provider, which asks for a password, and consent."""
    tab.get_by_placeholder("Enter any login").fill("ada")
    tab.get_by_placeholder("and password").fill("secret")
    tab.get_by_role("button", name="Sign-in").click()
    tab.get_by_role("button", name="Continue").click()


def test_people_stay_signed_in_past_their_access_token_until_they_sign_out_everywhere(
    tab: Page, certificate: Certificate
) -> None:
    with chat_with(certificate, lifetime_s=SHORT_S, CHAT_AUTH_RESOURCE=RESOURCE) as (url, running):
        seen = Seen(tab, running.issuer)
        page = signed_in(tab, url)
        page.ask("one")
        page.ask("two")
        first, second, *_ = [jwt.decode(token, options={"verify_signature": False}) for token in seen.tokens]
        assert (first["aud"], first["iss"], first["sub"]) == (AUDIENCE, running.issuer, "ada")
        assert second["sub"] == "ada"
        assert second["jti"] != first["jti"]
        code, renewal, *_ = seen.forms("/token")
        assert (code["grant_type"], code["resource"]) == ("authorization_code", RESOURCE)
        assert (renewal["grant_type"], renewal["resource"]) == ("refresh_token", RESOURCE)

        page.button("Sign out").click()
        tab.get_by_role("button", name="Yes, sign me out").click()
        expect(page.notice).to_contain_text("Sign in to chat.")
        expect(tab).to_have_url(url)
        (gone,) = seen.forms("/token/revocation")
        with httpx2.Client(verify=ssl.create_default_context(cafile=certificate.authority), trust_env=False) as http:
            form = {"grant_type": "refresh_token", "refresh_token": gone["token"], "client_id": "page"}
            refused = http.post(f"{running.issuer}/token", data=form)
        assert refused.json()["error"] == "invalid_grant"
        page.button("Sign in").first.click()
        with_password(tab)
        expect(page.button("Sign out")).to_be_visible()


def test_a_signing_key_that_is_seconds_old_signs_nobody_out(tab: Page, certificate: Certificate) -> None:
    with chat_with(certificate, lifetime_s=SHORT_S, CHAT_AUTH_RESOURCE=RESOURCE) as (url, running):
        with tab.expect_response(f"{url}chatkit"):  # the list of threads, with a token that the first key signed
            page = signed_in(tab, url)
        running.rotate()
        seen = Seen(tab, running.issuer)
        page.ask("hello")
        expect(page.answers).to_have_count(1)
        expect(page.button("Sign out")).to_be_visible()
        assert {jwt.get_unverified_header(token)["kid"] for token in seen.tokens} == {"key-2"}


def test_an_opaque_access_token_signs_nobody_in_and_the_page_says_what_to_change(
    tab: Page, certificate: Certificate
) -> None:
    with chat_with(certificate) as (url, _):
        page = signed_in(tab, url)
        expect(tab.get_by_text("set auth.audience or settings.auth_resource")).to_be_visible()
        expect(page.button("Sign out")).to_have_count(0)
