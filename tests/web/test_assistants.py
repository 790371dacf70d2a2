"""Several assistants in the page: the switcher, the address, and what belongs to each of them."""

import pytest
from playwright.sync_api import Page, Request, expect

from tests.web.chat_page import ChatPage
from tests.web.chatkit_cdn import with_cdn
from tests.web.conftest import SALES_PROMPT, TWO_ASSISTANTS, served_in_process
from tests.web.test_access import serious
from tests.web.test_sign_in import Issuer

pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture
def shop(tab: Page, two_assistants: str) -> ChatPage:
    return ChatPage(tab, two_assistants).open()


def choose(chat: ChatPage, label: str) -> None:
    """Choose an assistant as a user does."""
    chat.page.get_by_label("Assistant", exact=True).select_option(label=label)


def test_each_assistant_has_its_own_greeting_prompts_models_and_threads(shop: ChatPage) -> None:
    expect(shop.page.get_by_role("heading", name="How can we help?")).to_be_visible()
    expect(shop.page.get_by_label("Model")).to_be_visible()
    shop.ask("for help")
    choose(shop, "Sales")
    expect(shop.page.get_by_role("heading", name="What may we sell you?")).to_be_visible()
    expect(shop.page.locator(".prompt")).to_have_text(["Prices"])
    expect(shop.page.get_by_label("Model")).to_be_hidden()
    expect(shop.page.get_by_text("Your chats will appear here.")).to_be_visible()
    shop.ask("for sales")
    expect(shop.threads).to_have_text(["for sales"])
    choose(shop, "Help")
    expect(shop.threads).to_have_text(["for help"])
    expect(shop.page.locator(".prompt")).to_have_text(["Orders"])


def test_the_address_keeps_the_choice(shop: ChatPage) -> None:
    choose(shop, "Sales")
    assert shop.page.url == f"{shop.url}?assistant=sales"
    shop.ask("for sales")
    shop.page.reload()
    expect(shop.user_messages).to_have_text("for sales")
    expect(shop.threads).to_have_text(["for sales"])
    expect(shop.page.get_by_label("Assistant", exact=True)).to_have_value("Sales")
    choose(shop, "Help")
    assert shop.page.url == shop.url
    shop.page.go_back()
    expect(shop.user_messages).to_have_text("for sales")
    expect(shop.page.get_by_label("Assistant", exact=True)).to_have_value("Sales")


@pytest.mark.parametrize("name", ["nobody", "<script>", ""])
def test_an_unknown_name_in_the_address_is_the_first_assistant(tab: Page, two_assistants: str, name: str) -> None:
    chat = ChatPage(tab, f"{two_assistants}?assistant={name}").open()
    expect(chat.page.get_by_role("heading", name="How can we help?")).to_be_visible()
    chat.ask("hello")
    expect(chat.answer).to_have_text("hello")
    expect(chat.page.locator(".notice")).to_have_count(0)


def test_an_answer_continues_while_another_assistant_is_shown(shop: ChatPage) -> None:
    text = "slowly " + " ".join(f"w{number}" for number in range(40))
    shop.say(text)
    shop.wait_until_writing(3)
    choose(shop, "Sales")
    expect(shop.page.get_by_text("Your chats will appear here.")).to_be_visible()
    choose(shop, "Help")
    shop.threads.first.get_by_role("button").first.click()
    expect(shop.answer).to_have_text(text)
    choose(shop, "Sales")
    expect(shop.page.get_by_text("Your chats will appear here.")).to_be_visible()


def test_a_guests_chats_with_every_assistant_come_along_at_sign_in(shop: ChatPage) -> None:
    Issuer(shop.page)
    shop.ask("for help")
    choose(shop, "Sales")
    shop.ask("for sales")
    shop.button("Sign in").first.click()
    expect(shop.button("Sign out")).to_be_visible()
    assert "assistant=sales" in shop.page.url
    expect(shop.threads).to_have_text(["for sales"])
    choose(shop, "Help")
    expect(shop.threads).to_have_text(["for help"])


@pytest.mark.parametrize("colors", ["light", "dark"])
def test_axe_reports_nothing_serious_with_a_switcher(shop: ChatPage, colors: str) -> None:
    shop.page.emulate_media(color_scheme="dark" if colors == "dark" else "light")
    assert serious(shop.page) == []


def test_without_several_assistants_there_is_no_switcher(echo: ChatPage) -> None:
    expect(echo.open().page.get_by_label("Assistant", exact=True)).to_have_count(0)


def test_chatkit_gets_the_url_greeting_and_prompts_of_the_chosen_assistant(tab: Page) -> None:
    with served_in_process(TWO_ASSISTANTS | {"CHAT_DOMAIN_KEY": "domain_pk_test"}) as url:
        chatkit = with_cdn(tab)
        tab.goto(f"{url}?assistant=sales")
        expect(chatkit.element).to_be_visible()
        options = chatkit.options
        assert options["api"]["url"] == f"{url}chatkit/sales"
        assert options["startScreen"] == {"greeting": "What may we sell you?", "prompts": [SALES_PROMPT]}
        sent: list[Request] = []
        tab.on("request", lambda request: sent.append(request))
        chatkit.say("hello")
        assert any(request.url == f"{url}chatkit/sales" for request in sent)
        tab.get_by_label("Assistant", exact=True).select_option(label="Help")
        tab.wait_for_url(url)
        expect(chatkit.element).to_be_visible()
        assert chatkit.options["api"]["url"] == f"{url}chatkit"
