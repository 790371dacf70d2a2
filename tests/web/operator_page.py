"""Page object for the operators' page: opens, takes and answers as an operator does, by labels rather than code."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Locator, Page, expect

from tests.web.conftest import script_errors, token_of


class OperatorPage:
    """The operators' page in a tab."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, f"{url}operator"

    def open(self) -> "OperatorPage":
        """Load the page."""
        self.page.goto(self.url)
        expect(self.page.get_by_role("navigation", name="Inbox")).to_be_visible()
        return self

    def rows(self, user: str) -> Locator:
        """The rows of a user in the inbox."""
        return self.page.get_by_role("navigation", name="Inbox").get_by_role("button").filter(has_text=user[:10])

    def choose(self, user: str) -> None:
        """Open the thread of a user from the inbox, which is read anew every ten seconds."""
        self.rows(user).first.click()

    def take(self, user: str) -> None:
        """Open the thread of a user and take it."""
        self.choose(user)
        self.button("Take").click()
        expect(self.who).to_have_text("You have this conversation.")

    @property
    def text(self) -> Locator:
        """The message box."""
        return self.page.get_by_label("Message", exact=True)

    def say(self, words: str) -> None:
        """Answer the user."""
        self.text.fill(words)
        self.text.press("Enter")
        expect(self.text).to_have_value("")

    @property
    def who(self) -> Locator:
        """The line that says who has the thread."""
        return self.page.locator(".desk .people")

    @property
    def notice(self) -> Locator:
        """The newest notice or error."""
        return self.page.locator(".notice").last

    def button(self, name: str | re.Pattern[str]) -> Locator:
        """The button with this accessible name."""
        return self.page.get_by_role("button", name=name, exact=isinstance(name, str))


def sign_in_operator(page: Page) -> None:
    """Sign in a new operator as the surrounding site does."""
    token = token_of(role="operator")
    page.add_init_script(f"sessionStorage.getItem('chat.token') ?? sessionStorage.setItem('chat.token', '{token}')")


@contextmanager
def operator_tab(browser: Browser, url: str) -> Iterator[OperatorPage]:
    """The page of a new operator, in another context. A script error or a violation of its policy fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 860}, reduced_motion="reduce")
    page = context.new_page()
    errors = script_errors(page)
    sign_in_operator(page)
    try:
        yield OperatorPage(page, url)
    finally:
        context.close()
    assert not errors, "\n".join(errors)
