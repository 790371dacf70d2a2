"""ChatKit JSON without NaN and Infinity, which JSON lacks: clients and exports read null, whatever produced them."""

import json
from typing import Any

import pytest
from agents import Agent, Model, StopAtTools, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call
from chatkit.actions import ActionConfig
from chatkit.agents import ClientToolCall
from chatkit.types import Attachment, ClientEffectEvent, FileAttachment, ImageAttachment, UserMessageItem
from chatkit.widgets import BarSeries, Button, Card, Chart, Text, WidgetRoot
from pydantic import AnyUrl, TypeAdapter

from lambda_src import sse
from lambda_src.cli.transfer import export_files
from lambda_src.dev.showcase.chat import Chat as ToolChat
from lambda_src.dev.store_contract.samples import WHEN, context_of, item_of, thread_of
from lambda_src.runs.widget_actions import ActionCall, Actions
from lambda_src.store.memory.store import MemoryStore
from tests.apps.chat import Answer, Chat, app_with, message, server_with
from tests.apps.full import full_app_without_files

NUMBERS = [float("nan"), float("inf"), float("-inf")]
ANN = context_of("ann")


def parse_strictly(data: bytes | str) -> Any:
    """Parse JSON as browsers do: NaN and Infinity raise ValueError."""

    def refused(constant: str) -> object:
        raise ValueError(f"{constant} is not JSON")

    return json.loads(data, parse_constant=refused)


def events_of(answer: Answer) -> list[Any]:
    """Parse each event of a stream strictly."""
    return [parse_strictly(message.data) for message in sse.read(answer.body)]


def chart(number: float) -> WidgetRoot:
    """Build a chart that contains `number`, and a button that sends it."""
    button = Button(label="Again", onClickAction=ActionConfig(type="redraw", payload={"value": number}))
    drawn = Chart(data=[{"x": "a", "y": number}], series=[BarSeries(type="bar", label="y", dataKey="y")], xAxis="x")
    return Card(children=[drawn, Text(value="A chart"), button])


def chat_producing(number: float, model: Model | None = None) -> Chat:
    """Return a chat with `model` whose tools and actions each output `number` somewhere."""
    actions = Actions()

    @function_tool
    async def result() -> dict[str, Any]:
        return {"value": number}

    @function_tool
    async def effect(chat: ToolChat) -> str:
        await chat.context.stream(ClientEffectEvent(name="draw", data={"value": number, "all": [number]}))
        return "drawn"

    @function_tool
    async def widget(chat: ToolChat) -> str:
        await chat.context.stream_widget(chart(number))
        return "drawn"

    @function_tool
    async def client_tool(chat: ToolChat) -> str:
        chat.context.client_tool_call = ClientToolCall(name="draw", arguments={"value": number, "in": [[number]]})
        return ""

    @actions.on("redraw")
    async def redraw(payload: dict[str, Any], call: ActionCall) -> WidgetRoot:
        return chart(number)

    tools = [result, effect, widget, client_tool]
    agent = Agent(name="Test", tools=list(tools), tool_use_behavior=StopAtTools(stop_at_tool_names=["client_tool"]))
    return full_app_without_files().chat(agent=agent, actions=actions, model=model)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("tool", ["result", "effect", "widget", "client_tool"])
async def test_nan_and_infinity_from_a_tool_never_reach_the_page(tool: str, number: float) -> None:
    model = ScriptedModel([[function_call(tool, {}, call_id="c1")], [assistant_message("Done.")]])
    chat = chat_producing(number, model)
    answer = await chat("threads.create", input=message("go"))
    events = events_of(answer)
    assert [event for event in events if event["type"] == "error"] == []
    thread_id = events[0]["thread"]["id"]
    for operation in ("threads.get_by_id", "items.list"):
        parse_strictly((await chat(operation, thread_id=thread_id)).body)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("operation", ["threads.custom_action", "threads.sync_custom_action"])
async def test_nan_and_infinity_from_an_action_never_reach_the_page(operation: str, number: float) -> None:
    chat = chat_producing(number)
    thread_id = events_of(await chat("threads.create", input=message("hi")))[0]["thread"]["id"]
    answer = await chat(operation, thread_id=thread_id, action={"type": "redraw", "payload": {}})
    streams = operation == "threads.custom_action"
    answered = events_of(answer) if streams else parse_strictly(answer.body)
    assert '"y": null' in json.dumps(answered)
    parse_strictly((await chat("items.list", thread_id=thread_id)).body)


async def stored(number: float) -> MemoryStore:
    """Store a thread as an earlier release did: the number is in every field that takes any JSON."""
    store = MemoryStore()
    await store.save_thread(thread_of("thr_1", metadata={"value": number}), ANN)
    file: Attachment = FileAttachment(id="atc_1", name="a", mime_type="text/plain", metadata={"value": number})
    image = ImageAttachment(
        id="atc_2", name="a", mime_type="image/png", preview_url=AnyUrl("https://e.org"), metadata={"value": number}
    )
    for attachment in (file, image):
        await store.save_attachment(attachment, context=ANN)
    user_message = TypeAdapter(UserMessageItem).validate_python(
        item_of("user_message").model_dump() | {"id": "msg_0", "attachments": [file, image], "created_at": WHEN}
    )
    user_message.content[1].data = {"value": number}  # type: ignore[union-attr]  # the sample's second part is a tag
    call = item_of("client_tool_call", "msg_1").model_copy(
        update={"arguments": {"value": number}, "output": [number, {"deep": [number]}]}
    )
    drawn = item_of("widget", "msg_2").model_copy(update={"widget": chart(number)})
    hidden = item_of("hidden_context_item", "msg_3").model_copy(update={"content": {"value": number}})
    for item in (user_message, call, drawn, hidden):
        await store.add_thread_item("thr_1", item, context=ANN)
    return store


@pytest.mark.parametrize("number", NUMBERS)
async def test_a_stored_thread_with_nan_or_infinity_opens_again(number: float) -> None:
    chat = Chat(app_with(server_with(await stored(number))))
    thread = parse_strictly((await chat("threads.get_by_id", thread_id="thr_1")).body)
    listed = parse_strictly((await chat("items.list", thread_id="thr_1", order="asc")).body)["data"]
    assert [item["type"] for item in listed] == ["user_message", "client_tool_call", "widget"]
    assert thread["items"]["data"] == listed
    assert listed[1]["output"] == [None, {"deep": [None]}]
    parse_strictly((await chat("threads.list")).body)


@pytest.mark.parametrize("number", NUMBERS)
async def test_an_export_is_json_and_can_be_imported(number: float) -> None:
    store, other = await stored(number), MemoryStore()
    lines = [export_files.line_of(record) async for record in export_files.export_lines(store, "ann")]  # type: ignore[arg-type]  # enough of one
    assert [parse_strictly(line)["kind"] for line in lines].count("item") == 4
    for record in export_files.records_of(map(json.loads, lines)):
        await other.import_record({name: value for name, value in record.items() if name != "user"}, ANN)
    items = (await other.load_thread_items("thr_1", None, 10, "asc", ANN)).data
    assert [item.type for item in items] == ["user_message", "client_tool_call", "widget", "hidden_context_item"]
