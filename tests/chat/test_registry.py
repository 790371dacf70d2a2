"""Several assistants in one function: separate threads, tools, actions, models and quotas per assistant."""

import json
from collections.abc import Mapping
from typing import Any

import httpx2
import pytest
from agents import Agent, RunConfig, WebSearchTool, function_tool
from agents.mcp import MCPServer, MCPServerStreamableHttp
from chatkit.widgets import WidgetRoot
from fastapi import FastAPI
from fastapi.routing import APIRoute

from lambda_src import sse
from lambda_src.composition.app import Parts, build_app, deployed
from lambda_src.context import User
from lambda_src.dev.showcase.widgets import order_card
from lambda_src.models.demo_model import DemoModel
from lambda_src.runs.assistants import TAKEN, Assistant, checked, shipped_tool_titles
from lambda_src.runs.widget_actions import ActionCall, Actions
from lambda_src.settings import Settings
from lambda_src.store.memory.store import MemoryStore
from tests.apps.chat import Answer, Chat, known_by_name, message, no_pause
from tests.apps.full import items_of, thread_of

ENV = {"CHAT_STORE": "memory", "CHAT_AUTH_ISSUER": "https://issuer.test/", "CHAT_AUTH_AUDIENCE": "chat"}
sales_actions = Actions()


@function_tool
def sell_socks() -> str:
    """Sells socks."""
    return "sold"


@sales_actions.on("order.ship")
async def ship(_: None, call: ActionCall) -> WidgetRoot:
    return order_card(1, "shipped")


def build(name: str, *tools: Any) -> Any:
    return lambda: Agent(name=name, tools=list(tools))


ASSISTANTS = {
    "": Assistant(build("Main")),
    "sales": Assistant(build("Sales", sell_socks), actions=sales_actions, models=["small"], messages_per_day=2),
}


class AssistantChat(Chat):
    """A client of one assistant."""

    def __init__(self, app: FastAPI, user: str | None = "ann", name: str = "") -> None:
        super().__init__(app, user)
        self.root = f"/chatkit/{name}" if name else "/chatkit"

    async def __call__(self, operation: str, /, **params: Any) -> Answer:
        return await self.post(json.dumps({"type": operation, "params": params}).encode(), path=self.root)


@pytest.fixture
def app() -> FastAPI:
    store = MemoryStore()
    return build_app(
        Settings.from_env(ENV),
        store,
        store.ledger,
        Parts(
            authenticate=known_by_name,
            build_agent=ASSISTANTS[""].build_agent,
            build_actions=lambda: ASSISTANTS[""].actions,
            load_assistants=lambda: ASSISTANTS,
            build_run_config=lambda: RunConfig(model=DemoModel(sleep=no_pause), tracing_disabled=True),
        ),
    )


@pytest.fixture
def main(app: FastAPI) -> AssistantChat:
    return AssistantChat(app)


@pytest.fixture
def sales(app: FastAPI) -> AssistantChat:
    return AssistantChat(app, name="sales")


async def test_each_assistant_uses_its_own_tools(main: AssistantChat, sales: AssistantChat) -> None:
    sold = await sales("threads.create", input=message("please sell socks"))
    unsold = await main("threads.create", input=message("please sell socks"))
    assert "sold" in items_of(sold)[-1]["content"][0]["text"]
    assert "sold" not in items_of(unsold)[-1]["content"][0]["text"]


async def test_each_assistant_lists_its_own_threads(main: AssistantChat, sales: AssistantChat) -> None:
    main_thread, sales_thread = [await create_thread(chat) for chat in (main, sales)]
    assert [t["id"] for t in (await main("threads.list")).json["data"]] == [main_thread]
    assert [t["id"] for t in (await sales("threads.list")).json["data"]] == [sales_thread]


REQUESTS: list[tuple[str, Mapping[str, Any]]] = [
    ("threads.get_by_id", {}), ("items.list", {}), ("threads.update", {"title": "x"}), ("threads.delete", {}),
    ("threads.add_user_message", {"input": message("x")}), ("threads.retry_after_item", {"item_id": "ITEM"}),
    ("items.feedback", {"item_ids": ["ITEM"], "kind": "positive"}),
    ("threads.add_client_tool_output", {"result": 1}),
    ("threads.add_structured_input", {"item_id": "ITEM", "input": {"status": "skipped", "answers": {}}}),
    ("threads.custom_action", {"item_id": "ITEM", "action": {"type": "order.ship", "payload": None}}),
    ("threads.sync_custom_action", {"item_id": "ITEM", "action": {"type": "order.ship", "payload": None}}),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "params"), REQUESTS, ids=[operation for operation, _ in REQUESTS])
@pytest.mark.parametrize("requested", ["main", "sales"])
async def test_a_thread_of_another_assistant_looks_missing(
    app: FastAPI, operation: str, params: Mapping[str, Any], requested: str
) -> None:
    assistant, other = (
        (AssistantChat(app), AssistantChat(app, name="sales"))
        if requested == "main"
        else (AssistantChat(app, name="sales"), AssistantChat(app))
    )
    created = await other("threads.create", input=message("hi"))
    before = (await other("threads.get_by_id", thread_id=thread_of(created))).body
    named = {key: [items_of(created)[0]["id"]] if value == ["ITEM"] else value for key, value in params.items()}
    named = {key: items_of(created)[0]["id"] if value == "ITEM" else value for key, value in named.items()}
    foreign = await assistant(operation, thread_id=thread_of(created), **named)
    unknown = await assistant(operation, thread_id="thr_no", **named)
    assert (foreign.status, foreign.body) == (unknown.status, unknown.body)
    assert (await other("threads.get_by_id", thread_id=thread_of(created))).body == before


async def test_a_turn_can_be_stopped_resumed_and_seen_only_at_its_own_assistant(app: FastAPI) -> None:
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://chat.test") as http:
        http.headers["authorization"] = "Bearer ann"
        turn = "a-turn-of-sales-01"
        body = {"type": "threads.create", "params": {"input": message("hi")}}
        answer = await http.post("/chatkit/sales", json=body, headers={"x-chat-turn": turn})
        thread_id = json.loads(sse.read(answer.content)[0].data)["thread"]["id"]
        assert (await http.get(f"/chatkit/sales/turns/{turn}/events")).text == answer.text
        assert (await http.get(f"/chatkit/turns/{turn}/events")).status_code == 404
        for root in ("/chatkit", "/chatkit/sales"):
            assert (await http.get(f"{root}/threads/{thread_id}/turn")).json() == {"turn_id": None}
            assert (await http.post(f"{root}/stop", json={"turn_id": turn})).json() == {"stopped": False}


async def test_each_assistant_has_its_own_actions(main: AssistantChat, sales: AssistantChat) -> None:
    press = {"action": {"type": "order.ship", "payload": None}}
    shipped = await sales("threads.custom_action", thread_id=await create_thread(sales), **press)
    assert [item["type"] for item in items_of(shipped)] == ["widget"]
    refused = await main("threads.custom_action", thread_id=await create_thread(main), **press)
    assert "is not registered" in refused.of("error")[0]["message"]


async def create_thread(chat: AssistantChat) -> str:
    return thread_of(await chat("threads.create", input=message("hi")))


async def test_each_assistant_offers_its_own_models(main: AssistantChat, sales: AssistantChat) -> None:
    user_message = {**message("hi"), "inference_options": {"model": "small"}}
    assert (await sales("threads.create", input=user_message)).status == 200
    assert (await main("threads.create", input=user_message)).status == 422


async def test_each_assistant_counts_its_own_messages(main: AssistantChat, sales: AssistantChat) -> None:
    statuses = [(await sales("threads.create", input=message(text))).status for text in ("one", "two", "three")]
    assert statuses == [200, 200, 429]
    assert (await main("threads.create", input=message("one"))).status == 200


@pytest.mark.parametrize("name", ["support", "Sales", "sales.", "sa les", "é", "sales%00", "x" * 400])
async def test_an_unknown_assistant_is_a_404_with_a_message(app: FastAPI, name: str) -> None:
    for path, method in (("", "POST"), ("/stop", "POST"), ("/turns/x/events", "GET"), ("/threads/x/turn", "GET")):
        answer = await Chat(app).post(b"{}", path=f"/chatkit/{name}{path}", method=method)
        assert (answer.status, answer.json["message"]) == (404, "There is no assistant with this name.")


async def test_assistant_names_are_hidden_without_signing_in(app: FastAPI) -> None:
    answers = {(await AssistantChat(app, None, name)("threads.list")).body for name in ("", "sales", "support")}
    assert len(answers) == 1


@pytest.mark.parametrize(("name", "title"), [("", "At the counter"), ("sales", "Selling")])
async def test_each_assistant_has_its_own_tool_titles(name: str, title: str) -> None:
    @function_tool
    def sell() -> str:
        return "sold"

    def agent() -> Agent[Any]:
        return Agent(name="Shop", tools=[sell])

    store = MemoryStore()
    sales = Assistant(agent, tool_titles={"sell": "Selling"})
    parts = Parts(
        authenticate=known_by_name,
        load_assistants=lambda: {"": Assistant(agent), "sales": sales},
        build_agent=agent,
        build_actions=Actions,
        tool_titles=lambda: {"sell": "At the counter"},
        build_run_config=lambda: RunConfig(model=DemoModel(sleep=no_pause), tracing_disabled=True),
    )
    chat = AssistantChat(build_app(Settings.from_env(ENV), store, store.ledger, parts), name=name)
    answer = await chat("threads.create", input=message("please sell"))
    [activity] = [item for item in items_of(answer) if item["type"] == "workflow"]
    assert [task["title"] for task in activity["workflow"]["tasks"]] == [title]


def test_a_deployment_has_the_titles_of_agent() -> None:
    assert deployed(Settings.from_env(ENV)).tool_titles is shipped_tool_titles


async def test_the_assistants_folder_is_not_loaded_for_the_default_assistant() -> None:
    def load() -> Any:
        raise AssertionError("loaded")

    store = MemoryStore()
    parts = Parts(
        authenticate=known_by_name,
        load_assistants=load,
        build_agent=build("Main"),
        build_actions=Actions,
        build_run_config=lambda: RunConfig(model=DemoModel(sleep=no_pause), tracing_disabled=True),
    )
    app = build_app(Settings.from_env(ENV), store, store.ledger, parts)
    assert (await Chat(app)("threads.create", input=message("hi"))).status == 200


WRONG_TITLES: list[Any] = [[], "look", None]
WRONG_TITLE: list[Any] = ["", "  ", 7, None, "x" * 81]
WRONG: list[tuple[Any, str]] = [
    ([], "must be a dict"), ({"": build("a")}, "must be a dict"), ({"sales": Assistant(build("a"))}, 'entry ""'),
    ({"": Assistant(build("a"), models=["x"])}, "CHAT_MODELS"),
    *[({"": Assistant(build("a"), tool_titles=titles)}, "tool_titles must") for titles in WRONG_TITLES],
    *[({"": Assistant(build("a"), tool_titles={"look": title})}, "the title of 'look' in tool_titles must be a text")
      for title in WRONG_TITLE],
    *[({"": Assistant(build("a")), name: Assistant(build("b"))}, "take up to 31")
      for name in ("Sales", "1st", "a b", "a.b", "x" * 32, 7, *TAKEN)],
]  # fmt: skip


@pytest.mark.parametrize(("agents", "words"), WRONG, ids=lambda value: str(value)[:30])
def test_an_invalid_table_of_assistants_is_a_clear_error(agents: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        checked(agents)


def test_no_assistant_can_hide_a_route(app: FastAPI) -> None:
    paths = [route.path for route in app.routes if isinstance(route, APIRoute)]
    first = {path.split("/")[2] for path in paths if path.startswith("/chatkit/")}
    assert first - {"{assistant}"} <= set(TAKEN)


def test_a_person_is_the_same_at_every_assistant() -> None:
    ann = User(id="ann", is_guest=True)
    assert (ann.at("sales").id, ann.at("sales").person, ann.at("sales").is_guest) == ("ann.sales", "ann", True)
    assert (ann.at(""), ann.person) == (ann, "ann")
    assert User(id="x.sales").person == "x.sales"


@function_tool
def look() -> str:
    """Look."""
    return "seen"


def desk(*, with_server: bool = False) -> Agent[Any]:
    """Return an agent with a function tool, a hosted tool, a handoff and, if asked for, an MCP server."""
    clerk = Agent[Any](name="Clerk", tools=[look])
    servers: list[MCPServer] = [MCPServerStreamableHttp({"url": "https://mcp.test/mcp"})] if with_server else []
    return Agent(name="Desk", tools=[WebSearchTool()], handoffs=[clerk], mcp_servers=servers)


def test_tool_titles_may_name_tools_of_every_agent_hosted_tools_and_handoffs() -> None:
    titles = {"look": "Looking", "web_search": "Searching the web", "transfer_to_clerk": "Asking the clerk"}
    assert Assistant(desk, tool_titles=titles).built().name == "Desk"


def test_a_title_for_an_unknown_tool_is_an_error_unless_a_server_may_have_it() -> None:
    with pytest.raises(TypeError, match=r"tool_titles names 'lok', which Desk does not have. Its tools: look, "):
        Assistant(desk, tool_titles={"lok": "Looking"}).built()
    assert Assistant(lambda: desk(with_server=True), tool_titles={"lok": "Looking"}).built().name == "Desk"
