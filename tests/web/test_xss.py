"""XSS: no text of a model, a user or a title becomes a script, an unsafe element, or a request to another site."""

import json

import pytest
from playwright.sync_api import Page, Route, expect

from tests.web.chat_page import ChatPage, assistant, json_response
from tests.web.xss_payloads import PAYLOADS

pytestmark = pytest.mark.xdist_group("browser")

SUSPECT = """(root) => {
  const tags = /^(script|iframe|object|embed|style|link|meta|base|form|img|video|audio|math)$/i;
  const runs = /^(on.*|style|srcdoc|formaction)$/i;
  const names = /^(href|src|action|data)$/i;
  const isBad = ({ name, value }) => runs.test(name) || (names.test(name) && !/^(https?:|mailto:|tel:)/i.test(value));
  return [...root.querySelectorAll("*")].flatMap((element) => [
    ...(tags.test(element.tagName) ? [element.outerHTML] : []),
    ...[...element.attributes].filter(isBad).map(({ name, value }) => `${name}=${value}`),
  ]);
}"""
CLICK_ALL = """() => {
  for (const link of document.querySelectorAll("chat-markdown a")) {
    link.target = "";
    link.addEventListener("click", (event) => { if (/^http/.test(link.href)) event.preventDefault(); });
    link.click();
    link.focus();
  }
}"""


@pytest.fixture
def trap(chat: ChatPage) -> ChatPage:
    """The page, which detects when a payload runs."""
    chat.page.add_init_script("window.hacked = () => { window.was_hacked = true; };")
    return chat


def assert_nothing_ran(page: Page, where: str) -> None:
    """Check that no payload ran, and that nothing within `where` could run one."""
    for element in page.locator(where).all():
        assert element.evaluate(SUSPECT) == []
    assert page.evaluate("window.was_hacked") is None


def test_there_are_at_least_a_hundred_payloads() -> None:
    assert len(set(PAYLOADS)) >= 100
    assert all("hacked()" in payload or "aGFja2Vk" in payload or "oYWNrZWQ" in payload for payload in PAYLOADS)


def test_no_answer_runs_a_script(trap: ChatPage) -> None:
    foreign_urls: list[str] = []
    trap.page.on(
        "request", lambda request: None if request.url.startswith(trap.url) else foreign_urls.append(request.url)
    )
    trap.show_thread([assistant(payload, f"msg_{number}") for number, payload in enumerate(PAYLOADS)])
    expect(trap.answers).to_have_count(len(PAYLOADS))
    trap.page.evaluate(CLICK_ALL)
    trap.page.wait_for_timeout(500)  # enough for anything that loads or animates
    assert_nothing_ran(trap.page, "chat-markdown")
    assert [url for url in foreign_urls if not url.startswith(("data:", "blob:"))] == []


def test_no_answer_runs_a_script_while_it_is_written(echo: ChatPage) -> None:
    echo.page.add_init_script("window.hacked = () => { window.was_hacked = true; };")
    echo.open()
    for part in range(0, len(PAYLOADS), 34):  # a message has a maximum length
        echo.ask("\n\n".join(PAYLOADS[part : part + 34]))
        assert_nothing_ran(echo.page, "chat-markdown")


def test_no_title_label_or_name_runs_a_script(trap: ChatPage) -> None:
    payload = '"><img src=x onerror=hacked()><script>hacked()</script>'
    source = {"type": "url", "title": payload, "url": "javascript:hacked()"}
    button = {"type": "Button", "label": payload, "onClickAction": {"type": payload}}
    trap.respond_with(
        "threads.list",
        json_response(
            {
                "data": [
                    {
                        "id": "thr_x",
                        "title": payload,
                        "created_at": "2026-01-01T00:00:00Z",
                        "status": {"type": "locked", "reason": payload},
                    }
                ],
                "has_more": False,
            }
        ),
    )
    content = [
        {"type": "output_text", "text": "x", "annotations": [{"type": "annotation", "source": source, "index": 0}]}
    ]
    trap.show_thread(
        [
            {
                "id": "u",
                "type": "user_message",
                "content": [{"type": "input_text", "text": payload}],
                "attachments": [{"id": "f", "type": "file", "name": payload, "mime_type": "x"}],
            },
            {"id": "a", "type": "assistant_message", "content": content},
            {
                "id": "t",
                "type": "task",
                "task": {"type": "web_search", "title": payload, "queries": [payload], "sources": [source]},
            },
            {
                "id": "w",
                "type": "widget",
                "widget": {
                    "type": "Card",
                    "children": [
                        button,
                        {"type": "Markdown", "value": payload},
                        {"type": "Text", "value": payload},
                        {"type": "Image", "src": "javascript:hacked()", "alt": payload},
                        {"type": "Icon", "name": payload},
                    ],
                },
            },
            {
                "id": "s",
                "type": "structured_input",
                "status": "pending",
                "inputs": [{"id": payload, "type": "freeform", "question": payload}],
            },
            {
                "id": "c",
                "type": "client_tool_call",
                "status": "pending",
                "call_id": "c",
                "name": payload,
                "arguments": {},
            },
            {
                "id": "k",
                "type": "client_tool_call",
                "status": "pending",
                "call_id": "c",
                "name": "constructor",
                "arguments": {},
            },
        ]
    )
    expect(trap.page.get_by_text(payload).first).to_be_visible()
    trap.page.wait_for_timeout(300)  # as above
    assert trap.page.evaluate("window.was_hacked") is None
    assert (
        trap.page.evaluate(
            "document.querySelectorAll('article script, article iframe, a[href^=javascript], nav img').length"
        )
        == 0
    )


def test_the_content_security_policy_alone_would_stop_a_script(chat: ChatPage) -> None:
    """The second line of defense is the policy that the page is sent with."""

    def inject_script(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(
            response=answer,
            body=answer.text().replace(
                "<body>",
                "<body><script>window.was_hacked = true</script><img src=x onerror='window.was_hacked = true'>",
            ),
        )

    messages: list[str] = []
    context = chat.page.context
    page = context.new_page()
    page.on("console", lambda message: messages.append(message.text))
    page.route(chat.url, inject_script)
    ChatPage(page, chat.url).open()
    assert page.evaluate("window.was_hacked") is None
    assert any("Content Security Policy" in message for message in messages), json.dumps(messages)
