"""Pictures that a widget names: shown from where the stage allows it, a link from elsewhere, never a broken frame."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Request, expect

from tests.web.chat_page import ChatPage
from tests.web.conftest import HOSTED, served_here, sign_in
from tests.web.test_attachments import PNG

pytestmark = pytest.mark.xdist_group("browser")

DOMAINS = {"CHAT_ALLOWED_IMAGE_DOMAINS": "pictures.test,*.wide.test"}
SHOWN = ["https://pictures.test/a.png", "https://deep.er.wide.test/b.png"]
LINKS = [
    "https://elsewhere.test/c.png",
    "http://pictures.test/d.png",
    "https://pictures.test:8443/e.png",
    "https://pictures.test.elsewhere.test/f.png",
    "https://wide.test/g.png",
    "https://notwide.test/h.png",
]
MADE = "https://elsewhere.test/made.png"
TEXTS = ["javascript:hacked()", "data:image/svg+xml,<svg/>", "i.png", ""]


@pytest.fixture(scope="module")
def showing_some() -> Iterator[str]:
    """A stage that allows pictures of two domains."""
    with served_here(HOSTED | DOMAINS) as url:
        yield url


def test_a_picture_is_shown_or_is_a_link(tab: Page, showing_some: str) -> None:
    asked: list[str] = []

    def note(request: Request) -> None:
        if request.resource_type == "image":
            asked.append(request.url)

    tab.on("request", note)
    for url in (*SHOWN, *LINKS):
        tab.route(url, lambda route: route.fulfill(status=200, content_type="image/png", body=PNG))
    sign_in(tab)
    chat = ChatPage(tab, showing_some)
    pictures = [{"type": "Image", "src": src, "alt": f"at {src}", "size": 40} for src in (*SHOWN, *LINKS, *TEXTS)]
    made = {"id": "g", "type": "generated_image", "image": {"id": "i", "url": MADE}}
    chat.showing([{"id": "w", "type": "widget", "widget": {"type": "Card", "children": pictures}}, made])
    for src in SHOWN:
        picture = tab.get_by_role("img", name=f"at {src}")
        assert picture.evaluate("async image => { await image.decode(); return image.naturalWidth; }") == 1
    for src in LINKS:
        link = tab.get_by_role("link", name=f"at {src}", exact=True)
        expect(link).to_have_attribute("href", src)
        expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")
    expect(tab.get_by_role("link", name="Picture made by the assistant")).to_have_attribute("href", MADE)
    for src in TEXTS:
        expect(tab.locator(".widget span", has_text=f"at {src}").last).to_be_visible()
    expect(tab.locator(".widget img")).to_have_count(len(SHOWN))
    assert [url for url in asked if not url.startswith("data:")] == SHOWN
