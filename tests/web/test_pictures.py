"""Pictures in widgets: displayed from allowed domains, shown as a link or as text otherwise."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Request, expect

from tests.web.chat_page import ChatPage
from tests.web.conftest import HOSTED, served_in_process, sign_in
from tests.web.test_attachments import PNG

pytestmark = pytest.mark.xdist_group("browser")

DOMAINS = {"CHAT_ALLOWED_IMAGE_DOMAINS": "pictures.test,*.wide.test"}
DISPLAYED = ["https://pictures.test/a.png", "https://deep.er.wide.test/b.png"]
LINKS = [
    "https://elsewhere.test/c.png",
    "http://pictures.test/d.png",
    "https://pictures.test:8443/e.png",
    "https://pictures.test.elsewhere.test/f.png",
    "https://wide.test/g.png",
    "https://notwide.test/h.png",
]
GENERATED = "https://elsewhere.test/made.png"
TEXTS = ["javascript:hacked()", "data:image/svg+xml,<svg/>", "i.png", ""]


@pytest.fixture(scope="module")
def with_allowed_domains() -> Iterator[str]:
    """A server that allows pictures from two domains."""
    with served_in_process(HOSTED | DOMAINS) as url:
        yield url


def test_a_picture_is_displayed_or_becomes_a_link_or_text(tab: Page, with_allowed_domains: str) -> None:
    requested: list[str] = []

    def record(request: Request) -> None:
        if request.resource_type == "image":
            requested.append(request.url)

    tab.on("request", record)
    for url in (*DISPLAYED, *LINKS):
        tab.route(url, lambda route: route.fulfill(status=200, content_type="image/png", body=PNG))
    sign_in(tab)
    chat = ChatPage(tab, with_allowed_domains)
    pictures = [{"type": "Image", "src": src, "alt": f"at {src}", "size": 40} for src in (*DISPLAYED, *LINKS, *TEXTS)]
    generated = {"id": "g", "type": "generated_image", "image": {"id": "i", "url": GENERATED}}
    chat.show_thread([{"id": "w", "type": "widget", "widget": {"type": "Card", "children": pictures}}, generated])
    for src in DISPLAYED:
        picture = tab.get_by_role("img", name=f"at {src}")
        assert picture.evaluate("async image => { await image.decode(); return image.naturalWidth; }") == 1
    for src in LINKS:
        link = tab.get_by_role("link", name=f"at {src}", exact=True)
        expect(link).to_have_attribute("href", src)
        expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")
    expect(tab.get_by_role("link", name="Picture made by the assistant")).to_have_attribute("href", GENERATED)
    for src in TEXTS:
        expect(tab.locator(".widget span", has_text=f"at {src}").last).to_be_visible()
    expect(tab.locator(".widget img")).to_have_count(len(DISPLAYED))
    assert [url for url in requested if not url.startswith("data:")] == DISPLAYED
