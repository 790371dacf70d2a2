"""Tool calls on the page: shown while they run, one folded line afterwards, arguments and results on request."""

import re
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.web.chat_page import ChatPage, assistant
from tests.web.test_access import serious
from tests.web.test_showcase import STREAM, lines_of

pytestmark = pytest.mark.xdist_group("browser")

THREAD = {"id": "thr_x", "created_at": "2026-01-01T00:00:00Z", "status": {"type": "active"}}
DETAILS = "Arguments\n\n```\norder_id: 17\n```\n\nResult\n\n```\n![x](https://evil.example/x.png)\n```"


def task(title: str, state: str, content: str | None = None) -> dict[str, Any]:
    return {"type": "custom", "title": title, "status_indicator": state, "content": content}


def item(*tasks: dict[str, Any], summary: str | None = None) -> dict[str, Any]:
    """An activity item; ended if it has a summary."""
    workflow = {"type": "custom", "tasks": tasks, "expanded": False, "summary": summary and {"title": summary}}
    at = {"thread_id": "thr_x", "created_at": "2026-01-01T00:00:00Z"}
    return {"id": "activity-wf_1", "type": "workflow", "workflow": workflow, **at}


def activity(chat: ChatPage) -> Locator:
    return chat.page.locator(".workflow")


def test_a_call_of_the_agents_tool_is_a_line_above_the_answer_and_stays(chat: ChatPage) -> None:
    chat.open().ask("show progress")
    expect(activity(chat)).to_have_text("Show progress")
    expect(activity(chat).locator("summary")).to_have_count(0)  # there is nothing to unfold
    chat.page.reload()
    expect(activity(chat)).to_have_text("Show progress")
    expect(chat.answers).to_have_count(1)


def test_a_running_call_is_named_and_its_line_is_folded_when_the_answer_begins(chat: ChatPage) -> None:
    begun = [
        {"type": "thread.created", "thread": THREAD},
        {"type": "stream_options", "stream_options": {"allow_cancel": True}},
        {"type": "thread.item.added", "item": item(task("Look up the order", "complete"), task("Count", "loading"))},
    ]
    chat.page.add_init_script(script=STREAM % lines_of(begun))
    chat.open().say("where is it?")
    expect(activity(chat).locator("summary")).to_have_text("Count ...")
    expect(activity(chat).locator("li")).to_have_text(["Look up the order", "Count"])
    expect(activity(chat).locator("li .spinner")).to_have_count(1)
    assert serious(chat.page) == []
    activity(chat).locator("summary").focus()
    ended = item(task("Look up the order", "complete"), task("Count", "complete"), summary="Look up the order, Count")
    chat.page.evaluate(f"sendEvents({lines_of([{'type': 'thread.item.done', 'item': ended}])})")
    expect(activity(chat).locator("summary")).to_have_text("Look up the order, Count")
    expect(activity(chat).locator("summary")).to_be_focused()
    expect(activity(chat).locator("li").first).to_be_hidden()
    expect(activity(chat).locator(".spinner")).to_have_count(0)
    chat.page.evaluate("finishStream()")
    expect(activity(chat).locator("li").first).to_be_hidden()


def test_each_of_several_tools_that_run_is_shown_as_running(chat: ChatPage) -> None:
    own = {**item(task("Own step", "loading")), "id": "wf_own"}
    later = {**item(task("Count", "loading")), "id": "activity-wf_2"}
    card = {"type": "Card", "children": [{"type": "Text", "value": "Socks"}]}
    begun = [
        {"type": "thread.created", "thread": THREAD},
        {"type": "stream_options", "stream_options": {"allow_cancel": True}},
        {"type": "thread.item.added", "item": item(task("Look up the order", "complete"), task("Count", "loading"))},
        {"type": "thread.item.done", "item": item(task("Look up the order", "complete"), summary="Look up the order")},
        {"type": "thread.item.done", "item": {"id": "wid", "type": "widget", "widget": card}},
        {"type": "thread.item.added", "item": own},
        {"type": "thread.item.added", "item": later},
    ]
    chat.page.add_init_script(script=STREAM % lines_of(begun))
    chat.open().say("where is it?")
    expect(activity(chat)).to_have_text([re.compile("^Look up the order$"), "Own step ...Own step", "Count ...Count"])
    expect(activity(chat).locator("summary .spinner")).to_have_count(2)
    chat.page.evaluate("finishStream()")
    expect(activity(chat).locator(".spinner")).to_have_count(0)


def test_200_tasks_are_one_folded_line(chat: ChatPage) -> None:
    tasks = [task(f"Step {number}", "complete", f"Result\n\n```\nyes {'word ' * 99}\n```") for number in range(200)]
    chat.show_thread([item(*tasks, summary="Step 0, Step 1, Step 2 +197"), assistant("Done.")])
    expect(activity(chat).locator("li").first).to_be_hidden()
    expect(chat.answer).to_be_in_viewport()
    activity(chat).locator("> summary").click()
    activity(chat).locator("li summary").last.click()
    expect(activity(chat).locator("li").last.get_by_text("yes")).to_be_visible()
    assert activity(chat).evaluate("fold => fold.scrollWidth <= fold.clientWidth"), "long lines scroll in their block"


def test_arguments_and_results_are_code_that_opens_on_request(chat: ChatPage) -> None:
    requests: list[str] = []
    chat.page.on("request", lambda request: requests.append(request.url))
    chat.show_thread(
        [item(task("Look up the order", "complete", DETAILS), summary="Look up the order"), assistant("Here.")]
    )
    fold = activity(chat)
    expect(fold.get_by_text("order_id: 17")).to_be_hidden()
    fold.locator("> summary").click()
    expect(fold.get_by_text("order_id: 17")).to_be_hidden()
    fold.locator("li summary").click()
    expect(fold.get_by_text("order_id: 17")).to_be_visible()
    expect(fold.get_by_text("![x](https://evil.example/x.png)")).to_be_visible()
    expect(fold.locator("img")).to_have_count(0)
    assert not [url for url in requests if "evil" in url]
    assert serious(chat.page) == []
