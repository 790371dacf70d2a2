"""Sign-in with a certified OpenID provider over HTTPS: renewal, sign-out, key rotation and opaque tokens."""

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

# The page renews tokens in their last minute: such a token is renewed before the second request, and then not again.
SHORT_S = 5


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """The certificate of the provider."""
    return Certificate.create(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def browser(browser: Browser, chromium: str, certificate: Certificate) -> Iterator[Browser]:
    """A browser that trusts the certificate."""
    flags = [*CHROMIUM_FLAGS, f"--ignore-certificate-errors-spki-list={certificate.spki}"]
    trusting = browser.browser_type.launch(executable_path=chromium, args=flags)
    yield trusting
    trusting.close()


@contextmanager
def chat_with(certificate: Certificate, *, lifetime_s: int = 3600, **env: str) -> Iterator[tuple[str, Provider]]:
    """Run a chat whose users sign in at a provider; yield its URL and the provider. `env` has additional settings."""
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


class RequestLog:
    """Records what a tab sends from now on."""

    def __init__(self, tab: Page, issuer: str) -> None:
        self.tokens: list[str] = []  # in requests to the chat, without repetitions
        self.to_issuer: list[tuple[str, dict[str, str]]] = []  # path, form
        self._issuer = issuer
        tab.on("request", self._record)

    def _record(self, request: Request) -> None:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token and token not in self.tokens:
            self.tokens.append(token)
        if request.method == "POST" and request.url.startswith(self._issuer):
            path = request.url.removeprefix(self._issuer)
            self.to_issuer.append((path, dict(parse_qsl(request.post_data or ""))))

    def forms(self, path: str) -> list[dict[str, str]]:
        """The forms posted to this path of the provider."""
        return [form for posted, form in self.to_issuer if posted == path]


def signed_in(tab: Page, url: str) -> ChatPage:
    """The page after Ada has entered her password at the provider and consented."""
    page = ChatPage(tab, url)
    page.open().button("Sign in").first.click()
    enter_password(tab)
    return page


def enter_password(tab: Page) -> None:
    """Sign in at the provider with a password, and consent."""
    tab.get_by_placeholder("Enter any login").fill("ada")
    tab.get_by_placeholder("and password").fill("secret")
    tab.get_by_role("button", name="Sign-in").click()
    tab.get_by_role("button", name="Continue").click()


def test_users_stay_signed_in_past_their_access_tokens_until_they_sign_out_everywhere(
    tab: Page, certificate: Certificate
) -> None:
    with chat_with(certificate, lifetime_s=SHORT_S, CHAT_AUTH_RESOURCE=RESOURCE) as (url, running):
        log = RequestLog(tab, running.issuer)
        page = signed_in(tab, url)
        page.ask("one")
        page.ask("two")
        first, second, *_ = [jwt.decode(token, options={"verify_signature": False}) for token in log.tokens]
        assert (first["aud"], first["iss"], first["sub"]) == (AUDIENCE, running.issuer, "ada")
        assert second["sub"] == "ada"
        assert second["jti"] != first["jti"]
        code, renewal, *_ = log.forms("/token")
        assert (code["grant_type"], code["resource"]) == ("authorization_code", RESOURCE)
        assert (renewal["grant_type"], renewal["resource"]) == ("refresh_token", RESOURCE)

        page.button("Sign out").click()
        tab.get_by_role("button", name="Yes, sign me out").click()
        expect(page.notice).to_contain_text("Sign in to chat.")
        expect(tab).to_have_url(url)
        (revocation,) = log.forms("/token/revocation")
        with httpx2.Client(verify=ssl.create_default_context(cafile=certificate.authority), trust_env=False) as http:
            form = {"grant_type": "refresh_token", "refresh_token": revocation["token"], "client_id": "page"}
            refused = http.post(f"{running.issuer}/token", data=form)
        assert refused.json()["error"] == "invalid_grant"
        page.button("Sign in").first.click()
        enter_password(tab)
        expect(page.button("Sign out")).to_be_visible()


def test_a_new_signing_key_does_not_sign_users_out(tab: Page, certificate: Certificate) -> None:
    with chat_with(certificate, lifetime_s=SHORT_S, CHAT_AUTH_RESOURCE=RESOURCE) as (url, running):
        with tab.expect_response(f"{url}chatkit"):  # the thread list, with a token signed by the first key
            page = signed_in(tab, url)
        running.rotate()
        log = RequestLog(tab, running.issuer)
        page.ask("hello")
        expect(page.answers).to_have_count(1)
        expect(page.button("Sign out")).to_be_visible()
        assert {jwt.get_unverified_header(token)["kid"] for token in log.tokens} == {"key-2"}


def test_an_opaque_access_token_is_refused(tab: Page, certificate: Certificate) -> None:
    with chat_with(certificate) as (url, _):
        page = signed_in(tab, url)
        expect(tab.get_by_text("Contact the operator of this chat.")).to_be_visible()
        expect(page.button("Sign out")).to_have_count(0)
