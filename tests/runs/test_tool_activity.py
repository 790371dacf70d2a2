"""Tool activity: what a run's tool calls look like in the stream, in the thread and to the model."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from agents import (
    Agent,
    GuardrailFunctionOutput,
    InputGuardrail,
    OutputGuardrail,
    RunContextWrapper,
    StopAtTools,
    Tool,
    function_tool,
)
from agents.testing import ScriptedModel, assistant_message, function_call
from chatkit.agents import AgentContext, ClientToolCall
from chatkit.types import CustomSummary, CustomTask, ThreadStreamEvent, Workflow
from chatkit.widgets import Card, Text
from pydantic import TypeAdapter

from lambda_src.context import RequestContext
from lambda_src.runs.tool_activity import MOST_TASKS
from lambda_src.turns.activity import PREFIX
from tests.apps.chat import Answer, message
from tests.apps.full import FullApp, full_app_without_files, items_of, thread_of
from tests.fakes.model_api import sse
from tests.runs.model_streams import LLAMA, RAW_THOUGHT, Turn, file_search, reasoning, turn_over

InChat = RunContextWrapper[AgentContext[RequestContext]]
EVENTS = TypeAdapter[ThreadStreamEvent](ThreadStreamEvent)


@function_tool
def lookup_order(order_id: int, api_key: str = "") -> dict[str, object]:
    """Look up an order."""
    return {"order_id": order_id, "state": "shipped", "token": "sk-result"}


@function_tool
async def count_socks(chat: InChat) -> str:
    """Count the socks."""
    return "7"


@function_tool
async def work(chat: InChat) -> str:
    """Show steps of its own."""
    await chat.context.start_workflow(Workflow(type="custom", tasks=[]))
    await chat.context.add_workflow_task(CustomTask(title="Own step", status_indicator="loading"))
    await chat.context.update_workflow_task(CustomTask(title="Own step", status_indicator="complete"), task_index=0)
    await chat.context.end_workflow(CustomSummary(title="Own steps"))
    return "worked"


async def stored_kinds(chat: InChat) -> list[str]:
    """Return the types of the items that are stored in the thread by now."""
    page = await chat.context.store.load_thread_items(
        chat.context.thread.id, None, 100, "asc", chat.context.request_context
    )
    return [item.type for item in page.data]


@function_tool
async def wait_for_widget(chat: InChat, order_id: int = 17) -> str:
    """Return once another tool has shown a widget."""
    async with asyncio.timeout(20):
        while "widget" not in await stored_kinds(chat):  # noqa: ASYNC110 - the store announces no item
            await asyncio.sleep(0)
    return "waited"


@function_tool
async def show_widget(chat: InChat) -> str:
    """Show a widget."""
    await chat.context.stream_widget(Card(children=[Text(value="Socks")]))
    return "shown"


@function_tool
async def stream_growing_widget(chat: InChat) -> str:
    """Show a widget that grows faster than it can be read."""

    async def states() -> AsyncGenerator[Card]:
        for length in range(1, 100):
            yield Card(children=[Text(id="text", value="s" * length, streaming=True)])

    await chat.context.stream_widget(states())
    return "shown"


@function_tool
async def ask_page(chat: InChat) -> str:
    """Let the page do something."""
    chat.context.client_tool_call = ClientToolCall(name="read_clipboard", arguments={})
    return "asked"


@function_tool(needs_approval=True)
def refund() -> str:
    """Refund."""
    return "refunded"


@function_tool(failure_error_function=None)
def explode() -> str:
    """Fail, and end the run."""
    raise ValueError("boom")


LOOKUP = function_call("lookup_order", json.dumps({"order_id": 17, "api_key": "sk-argument"}), call_id="c1")


def count(call_id: str) -> Any:
    return function_call("count_socks", "{}", call_id=call_id)


COUNT = count("c2")
SAYS = [assistant_message("It is shipped.")]
WAIT = function_call("wait_for_widget", '{"order_id": 17}', call_id="c3")
SHOW = function_call("show_widget", "{}", call_id="c4")
TOOLS: list[Tool] = [
    lookup_order, count_socks, work, wait_for_widget, show_widget, stream_growing_widget, ask_page, refund, explode,
]  # fmt: skip


@pytest.fixture
def full_app() -> FullApp:
    return full_app_without_files()


async def answered(full_app: FullApp, *script: list[Any], **more: Any) -> Answer:
    """Return the answer to a message that the scripted model answers."""
    chat = full_app.chat(**{"model": ScriptedModel(list(script)), "tools": TOOLS, **more})
    return await chat("threads.create", input=message("where is order 17?"))


def activity(answer: Answer) -> list[dict[str, Any]]:
    """Return the finished activity items in an answer."""
    return [item for item in items_of(answer) if item["id"].startswith(PREFIX)]


def kinds(answer: Answer) -> list[str]:
    """Return the types of the finished items, without the user's message."""
    return [item["type"] for item in items_of(answer)][1:]


def tasks_of(item: dict[str, Any]) -> list[tuple[str, str]]:
    """Return title and state of each task."""
    return [(task["title"], task["status_indicator"]) for task in item["workflow"]["tasks"]]


async def reloaded(full_app: FullApp, answer: Answer) -> list[dict[str, Any]]:
    """Return the items that a reload shows."""
    read = await full_app.chat()("items.list", thread_id=thread_of(answer), order="asc")
    items: list[dict[str, Any]] = read.json["data"]
    return items


async def test_a_call_is_shown_while_it_runs_and_kept_above_the_answer(full_app: FullApp) -> None:
    answer = await answered(full_app, [LOOKUP], SAYS)
    added = next(event["item"] for event in answer.of("thread.item.added") if event["item"]["id"].startswith(PREFIX))
    assert tasks_of(added) == [("Lookup order", "loading")]
    [update] = [event["update"] for event in answer.of("thread.item.updated") if event["item_id"] == added["id"]]
    assert (update["type"], update["task_index"]) == ("workflow.task.updated", 0)
    [item] = activity(answer)
    assert tasks_of(item) == [("Lookup order", "complete")]
    assert item["workflow"]["summary"] == {"title": "Lookup order"}
    assert not item["workflow"]["expanded"]
    assert kinds(answer) == ["workflow", "assistant_message"]
    assert (await reloaded(full_app, answer))[1:] == items_of(answer)[1:]


async def test_all_calls_before_a_message_are_one_item(full_app: FullApp) -> None:
    answer = await answered(
        full_app, [LOOKUP, COUNT], [count("c3")], [assistant_message("One.", item_id="m1"), count("c4")], SAYS
    )
    assert kinds(answer) == ["workflow", "assistant_message", "workflow", "assistant_message"]
    assert [title for title, _ in tasks_of(activity(answer)[0])] == ["Lookup order", "Count socks", "Count socks"]
    assert activity(answer)[0]["workflow"]["summary"] == {"title": "Lookup order, Count socks"}


async def test_the_events_are_those_of_chatkits_protocol(full_app: FullApp) -> None:
    answer = await answered(full_app, [LOOKUP, COUNT], SAYS, tool_activity="full")
    for event in answer.events:
        EVENTS.validate_python(event)
    assert json.loads(EVENTS.validate_python(answer.of("thread.item.done")[1]).model_dump_json(exclude_none=True))


async def test_titles_alone_are_the_default(full_app: FullApp) -> None:
    answer = await answered(full_app, [LOOKUP], SAYS)
    for text in (b"17}", b'shipped"', b"sk-argument", b"sk-result", b"order_id"):
        assert text not in answer.body
    assert "content" not in activity(answer)[0]["workflow"]["tasks"][0]


async def test_full_shows_arguments_and_results_without_secrets(full_app: FullApp) -> None:
    answer = await answered(full_app, [LOOKUP], SAYS, tool_activity="full")
    [task] = activity(answer)[0]["workflow"]["tasks"]
    assert task["content"] == (
        'Arguments\n\n```\norder_id: 17\napi_key: "•••"\n```\n\n'
        'Result\n\n```\norder_id: 17\nstate: "shipped"\ntoken: "•••"\n```'
    )
    assert b"sk-" not in answer.body


async def test_off_shows_nothing(full_app: FullApp) -> None:
    answer = await answered(full_app, [LOOKUP], SAYS, tool_activity="off")
    assert kinds(answer) == ["assistant_message"]
    assert not [event for event in answer.of("thread.item.added") if event["item"]["type"] == "workflow"]


async def test_an_assistants_titles_are_shown_while_its_tools_run(full_app: FullApp) -> None:
    titles = {"lookup_order": "Looking up your order"}
    answer = await answered(full_app, [LOOKUP, COUNT], SAYS, tool_titles=titles)
    assert [title for title, _ in tasks_of(activity(answer)[0])] == ["Looking up your order", "Count socks"]


async def test_the_model_sees_calls_but_no_activity(full_app: FullApp) -> None:
    model = ScriptedModel([[LOOKUP], SAYS, [COUNT], SAYS])
    chat = full_app.chat(model=model, tools=TOOLS, tool_activity="full")
    first = await chat("threads.create", input=message("where is it?"))
    await chat("threads.add_user_message", thread_id=thread_of(first), input=message("and the socks?"))
    assert "Lookup order" not in str(model.calls[2].input)
    assert [part.get("role") for part in model.calls[2].input] == ["user", "assistant", "user"]


@pytest.mark.parametrize("tool_activity", ["names", "off"])
async def test_the_answer_follows_a_widget_that_its_tool_has_streamed(full_app: FullApp, tool_activity: str) -> None:
    call = function_call("stream_growing_widget", "{}", call_id="w")
    answer = await answered(full_app, [call], SAYS, tool_activity=tool_activity)
    assert [kind for kind in kinds(answer) if kind != "workflow"] == ["widget", "assistant_message"]
    stored = [item["type"] for item in await reloaded(full_app, answer)]
    assert [kind for kind in stored if kind != "workflow"] == ["user_message", "widget", "assistant_message"]


async def test_a_tools_own_workflow_is_not_shown_twice(full_app: FullApp) -> None:
    answer = await answered(full_app, [function_call("work", "{}", call_id="w")], SAYS)
    assert kinds(answer) == ["workflow", "assistant_message"]
    assert not activity(answer)
    assert tasks_of(items_of(answer)[1]) == [("Own step", "complete")]
    [removed] = answer.of("thread.item.removed")
    assert removed["item_id"].startswith(PREFIX)
    assert [item["type"] for item in await reloaded(full_app, answer)] == ["user_message", *kinds(answer)]


async def test_calls_before_a_tools_own_workflow_stay_above_it(full_app: FullApp) -> None:
    answer = await answered(full_app, [COUNT], [function_call("work", "{}", call_id="w")], SAYS)
    assert [tasks_of(item) for item in items_of(answer)[1:3]] == [
        [("Count socks", "complete")],
        [("Own step", "complete")],
    ]


async def test_a_widget_of_one_tool_ends_only_its_own_activity(full_app: FullApp) -> None:
    answer = await answered(full_app, [WAIT, SHOW], SAYS, tool_activity="full")
    [widget] = [item["id"] for item in items_of(answer) if item["type"] == "widget"]
    place = answer.events.index(next(event for event in answer.of("thread.item.done") if event["item"]["id"] == widget))
    added = next(event["item"] for event in answer.events[place:] if event["type"] == "thread.item.added")
    assert ("Wait for widget", "loading") in tasks_of(added), "the other tool is still running"
    last = activity(answer)[-1]
    assert last["id"] == added["id"]
    [task] = [task for task in last["workflow"]["tasks"] if task["title"] == "Wait for widget"]
    assert task["status_indicator"] == "complete"
    assert task["content"] == "Arguments\n\n```\norder_id: 17\n```\n\nResult\n\n```\nwaited\n```"
    shown = [title for item in activity(answer) for title, _ in tasks_of(item)]
    assert sorted(shown) == ["Show widget", "Wait for widget"], "each call is shown once"
    assert kinds(answer)[-3:] == ["widget", "workflow", "assistant_message"]
    assert (await reloaded(full_app, answer))[1:] == items_of(answer)[1:]


async def test_calls_that_ended_before_the_widget_stay_above_it(full_app: FullApp) -> None:
    answer = await answered(full_app, [COUNT], [WAIT, SHOW], SAYS)
    assert kinds(answer) == ["workflow", "widget", "workflow", "assistant_message"]
    assert tasks_of(activity(answer)[0])[0] == ("Count socks", "complete")
    assert ("Wait for widget", "complete") in tasks_of(activity(answer)[1])


async def test_a_widget_of_the_only_running_tool_stays_below_its_call(full_app: FullApp) -> None:
    answer = await answered(full_app, [SHOW], SAYS)
    assert kinds(answer) == ["workflow", "widget", "assistant_message"]
    assert tasks_of(activity(answer)[0]) == [("Show widget", "complete")]


async def test_a_tool_that_waits_for_approval_is_shown_when_it_runs(full_app: FullApp) -> None:
    chat = full_app.chat(model=ScriptedModel([[COUNT, function_call("refund", "{}", call_id="r")], SAYS]), tools=TOOLS)
    asked = await chat("threads.create", input=message("refund"))
    assert [tasks_of(item) for item in activity(asked)] == [[("Count socks", "complete")]]
    assert kinds(asked) == ["workflow", "structured_input"]
    sent = {"status": "answered", "answers": {"0": {"values": ["Approve"]}}}
    form_id = items_of(asked)[-1]["id"]
    after = await chat("threads.add_structured_input", thread_id=thread_of(asked), item_id=form_id, input=sent)
    assert not after.of("error")
    assert [tasks_of(item) for item in activity(after)] == [[("Refund", "complete")]]


async def test_a_client_tool_stays_the_newest_item_and_its_activity_is_not_continued(full_app: FullApp) -> None:
    agent = Agent[Any](name="Test", tools=TOOLS, tool_use_behavior=StopAtTools(stop_at_tool_names=["ask_page"]))
    model = ScriptedModel([[function_call("ask_page", "{}", call_id="p")], [COUNT], SAYS])
    chat = full_app.chat(model=model, agent=agent)
    asked = await chat("threads.create", input=message("paste"))
    assert kinds(asked) == ["workflow", "client_tool_call"]
    assert activity(asked)[0]["workflow"]["summary"] == {"title": "Ask page"}
    after = await chat("threads.add_client_tool_output", thread_id=thread_of(asked), result="text")
    assert not after.of("error")
    assert [tasks_of(item) for item in activity(after)] == [[("Count socks", "complete")]]
    assert activity(after)[0]["id"] != activity(asked)[0]["id"]


async def test_a_failed_run_keeps_its_calls_with_none_running(full_app: FullApp) -> None:
    answer = await answered(full_app, [COUNT], [function_call("explode", "{}", call_id="e")])
    assert answer.of("error")
    assert tasks_of(activity(answer)[0]) == [("Count socks", "complete"), ("Explode", "none")]
    assert (await reloaded(full_app, answer))[1] == activity(answer)[0]


@pytest.mark.parametrize("guardrail", ["input_guardrails", "output_guardrails"])
async def test_a_guardrail_removes_the_activity_too(full_app: FullApp, guardrail: str) -> None:
    async def trip(*_: object) -> GuardrailFunctionOutput:
        await asyncio.sleep(0)
        return GuardrailFunctionOutput(output_info=None, tripwire_triggered=True)

    kind: Callable[..., Any] = {"input_guardrails": InputGuardrail, "output_guardrails": OutputGuardrail}[guardrail]
    agent = Agent[Any](name="Test", tools=TOOLS)
    setattr(agent, guardrail, [kind(guardrail_function=trip)])
    answer = await answered(full_app, [COUNT], SAYS, agent=agent)
    assert answer.of("error")
    assert not [item for item in await reloaded(full_app, answer) if item["type"] == "workflow"]


async def test_a_handoff_is_shown(full_app: FullApp) -> None:
    clerk = Agent[Any](name="Clerk")
    front = Agent[Any](name="Front", handoffs=[clerk])
    answer = await answered(full_app, [function_call("transfer_to_clerk", "{}", call_id="h")], SAYS, agent=front)
    assert [tasks_of(item) for item in activity(answer)] == [[("Transfer to clerk", "complete")]]


async def test_text_costs_nothing_more(full_app: FullApp) -> None:
    """A long answer after a tool call has as many events about the call as a short one."""

    async def about_calls(text: str) -> list[str]:
        answer = await answered(full_app_without_files(), [COUNT], [assistant_message(text)])
        return [
            event["type"] for event in answer.events
            if PREFIX in json.dumps(event.get("item", {}).get("id", event.get("item_id", "")))
        ]  # fmt: skip

    expected = ["thread.item.added", "thread.item.updated", "thread.item.done"]
    assert await about_calls("short") == await about_calls("long " * 2_000) == expected


async def test_many_calls_are_cut_to_the_first(full_app: FullApp) -> None:
    calls = [function_call("count_socks", "{}", call_id=f"c{n}") for n in range(MOST_TASKS + 5)]
    answer = await answered(full_app, calls, SAYS)
    assert len(activity(answer)[0]["workflow"]["tasks"]) == MOST_TASKS


async def test_a_result_that_cannot_be_read_does_not_end_the_run(full_app: FullApp) -> None:
    class Shy:
        asked = 0

        def __str__(self) -> str:
            Shy.asked += 1
            if Shy.asked > 1:  # the SDK sends it to the model first
                raise ValueError("no")
            return "shy"

    @function_tool
    def hide() -> Any:
        """Return an odd object."""
        return Shy()

    answer = await answered(
        full_app, [function_call("hide", "{}", call_id="h")], SAYS, tools=[hide], tool_activity="full"
    )
    assert not answer.of("error")
    assert tasks_of(activity(answer)[0]) == [("Hide", "complete")]


# Hosted tools, over the Responses API


def hosted(item: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the events of a hosted call that begins and ends."""
    place = {"sequence_number": 1, "output_index": 0}
    return [
        {"type": f"response.output_item.{step}", "item": item | {"status": status}, **place}
        for step, status in (("added", "in_progress"), ("done", "completed"))
    ]


SEARCH = {
    "id": "ws_1",
    "type": "web_search_call",
    "action": {
        "type": "search",
        "queries": ["socks", "api_key=hunter2"],
        "query": "socks",
        "sources": [
            {"type": "url", "url": "https://example.com/socks"},
            {"type": "url", "url": "javascript:alert(1)"},
            {"type": "url", "url": "https://example.com/?token=hunter2"},
        ],
    },
}
CODE = {
    "id": "ci_1",
    "type": "code_interpreter_call",
    "container_id": "c",
    "code": "print(6 * 6)",
    "outputs": [{"type": "logs", "logs": "36"}],
}
MCP = {
    "id": "mcp_1",
    "type": "mcp_call",
    "name": "count_pairs",
    "server_label": "drawer",
    "arguments": '{"color": "red", "password": "hunter2"}',
    "output": "3 pairs",
}


async def shown(*events: dict[str, Any], mode: str) -> tuple[Turn, list[dict[str, Any]]]:
    """Return a turn with these events before the answer, and the tasks that a reload shows."""
    turn = await turn_over(sse(LLAMA[0], *events, *LLAMA[1:]), tool_activity=mode)
    assert not turn.errors
    items = [item for item in turn.reloaded if item["id"].startswith(PREFIX)]
    return turn, [task for item in items for task in item["workflow"]["tasks"]]


async def test_hosted_tools_are_shown_by_name() -> None:
    turn, tasks = await shown(*hosted(SEARCH), *hosted(CODE), *hosted(MCP), *file_search({}), mode="names")
    assert [(task["type"], task["title"], task["status_indicator"]) for task in tasks] == [
        ("web_search", "Web search", "complete"),
        ("custom", "Code interpreter", "complete"),
        ("custom", "Count pairs", "complete"),
        ("file", "File search", "complete"),
    ]
    body = json.dumps([item for item in turn.reloaded if item["type"] == "workflow"])
    assert not [text for text in ("socks", "print", "red", "3 pairs", "odds.pdf") if text in body]
    summary = next(item for item in turn.reloaded if item["type"] == "workflow")["workflow"]["summary"]
    assert summary == {"title": "Web search, Code interpreter, Count pairs +1"}


async def test_hosted_tools_are_shown_in_full() -> None:
    turn, [search, code, mcp, file] = await shown(
        *hosted(SEARCH), *hosted(CODE), *hosted(MCP), *file_search({}), mode="full"
    )
    assert search["queries"] == ["socks", "api_key=•••"]
    assert [source["url"] for source in search["sources"]] == ["https://example.com/socks"]
    assert "print(6 * 6)" in code["content"]
    assert "36" in code["content"]
    assert 'color: "red"\npassword: "•••"' in mcp["content"]
    assert "3 pairs" in mcp["content"]
    assert [source["filename"] for source in file["sources"]] == ["odds.pdf"]
    assert b"hunter2" not in turn.answer.body


@pytest.mark.parametrize(
    "item",
    [
        {"id": "ws_1", "type": "web_search_call"},
        {"type": "web_search_call", "action": {"type": "search", "queries": 7, "sources": ["x", None]}},
        {"id": None, "type": "mcp_call", "name": 7, "arguments": None, "output": ["x"]},
        {"id": "ci", "type": "code_interpreter_call", "code": None, "outputs": "x"},
        {"id": "fs", "type": "file_search_call", "results": [{"filename": 7}, 7]},
    ],
    ids=lambda item: str(item)[:40],
)
async def test_an_incomplete_call_of_a_vendor_ends_no_turn(item: dict[str, Any]) -> None:
    _, tasks = await shown(*hosted(item), mode="full")
    assert len(tasks) == 1


async def test_a_call_that_only_ends_is_shown() -> None:
    _, tasks = await shown(hosted(SEARCH)[1], mode="names")
    assert [task["status_indicator"] for task in tasks] == ["complete"]


async def test_reasoning_and_calls_are_two_items_in_the_order_of_the_stream() -> None:
    turn, tasks = await shown(*reasoning(RAW_THOUGHT), *hosted(SEARCH), mode="names")
    assert len(tasks) == 1
    assert [item["workflow"]["type"] for item in turn.reloaded[:2]] == ["reasoning", "custom"]
