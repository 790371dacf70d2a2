"""`chat cases`: what becomes a case, what is redacted, and that an answer with a thumbs-down fails `make eval`."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from agents import Agent, RunConfig, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call
from chatkit.types import AssistantMessageContent, AssistantMessageItem, CustomTask, ThreadItem, Workflow, WorkflowItem
from typer.testing import CliRunner, Result

from lambda_src.cli.cases import PLACE, Redaction, case_of
from lambda_src.cli.commands import app
from lambda_src.composition.app import Parts, build_app
from lambda_src.dev.evals.__main__ import main
from lambda_src.dev.store_contract.samples import message_of
from lambda_src.dev.testing import AgentChat
from lambda_src.runs import assistants
from lambda_src.runs.assistants import Assistant
from lambda_src.runs.widget_actions import Actions
from lambda_src.settings import Settings
from lambda_src.store.dynamodb import DynamoDBStore
from tests.apps.chat import Chat, known_by_name, message
from tests.store.tables import Aws

BAD = "Order 4711 was sent to ann@example.org on Monday."
Run = Callable[..., Result]


@function_tool
def find_order(order: int) -> str:
    """Find an order."""
    raise AssertionError("a recorded tool does not run")


@function_tool(name_override="find_order")
def real_find_order(order: int) -> str:
    """Find an order."""
    return f"order {order} was sent on Monday"


def shop_chat(model: RunConfig | None = None, assistant: str = "") -> AgentChat:
    return AgentChat(lambda: Agent[Any](name="Shop", tools=[find_order]), real_model=model, assistant=assistant)


@pytest.fixture
def chat_cases(aws: Aws, tmp_path: Path) -> Run:
    """Runs the command on a table where a user gave one answer a thumbs-down and another one a thumbs-up."""
    name = aws.table()
    store = DynamoDBStore(aws.dynamodb, name)
    call = function_call("find_order", json.dumps({"order": 4711}), call_id="c1")
    model = ScriptedModel([[assistant_message("Which order?")], [call], [assistant_message(BAD)]])
    parts = Parts(
        authenticate=known_by_name,
        build_agent=lambda: Agent[Any](name="Shop", tools=[real_find_order]),
        build_actions=Actions,
        build_run_config=lambda: RunConfig(model=model, tracing_disabled=True),
    )
    ann = Chat(build_app(Settings(table=name, tool_activity="full"), store, store.ledger, parts))

    async def fill() -> None:
        first = await ann("threads.create", input=message("Where is my order?"))
        thread_id = first.of("thread.created")[0]["thread"]["id"]
        second = await ann("threads.add_user_message", thread_id=thread_id, input=message("4711, for ann@example.org"))
        for answer, kind in ((first, "positive"), (second, "negative")):
            item = next(e["item"] for e in answer.of("thread.item.done") if e["item"]["type"] == "assistant_message")
            await ann("items.feedback", thread_id=thread_id, item_ids=[item["id"]], kind=kind)

    asyncio.run(fill())

    def run(*arguments: str) -> Result:
        file = str(tmp_path / "made" / "cases.jsonl")
        return CliRunner().invoke(app, ["--table", name, "cases", "--output", file, *arguments])

    return run


def cases_in(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "made" / "cases.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_an_answer_with_a_thumbs_down_becomes_a_case_that_fails_until_a_person_completes_it(
    chat_cases: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = chat_cases()
    assert (result.exit_code, "1 cases in" in result.stderr) == (0, True), result.stderr
    [case] = cases_in(tmp_path)
    assert case["say"] == ["Where is my order?", "1000, for person1@example.com"]
    assert case["lacks"] == ["Order 1000 was sent to person1@example.com on Monday."]
    assert case["contains"] == [PLACE]
    call = {"calls": "Find order", "arguments": {"order": 1000}, "returns": "order 1000 was sent on Monday"}
    assert case["script"][1] == call
    assert main([str(tmp_path / "made" / "cases.jsonl")], new_chat=shop_chat) == 1
    assert "was sent to person1@example.com on Monday.” is in" in capsys.readouterr().out


def test_a_completed_case_passes_with_the_right_answer(chat_cases: Run, tmp_path: Path) -> None:
    chat_cases()
    [case] = cases_in(tmp_path)
    right = [{"says": "Which order?"}, {"says": "Order 1000 has not been sent yet."}]
    file = tmp_path / "mine.jsonl"
    file.write_text(json.dumps(case | {"contains": "not been sent", "script": right}))
    assert main([str(file)], new_chat=shop_chat) == 0


def test_a_thumbs_up_becomes_a_case_that_passes(chat_cases: Run, tmp_path: Path) -> None:
    assert chat_cases("--feedback", "positive").exit_code == 0
    [case] = cases_in(tmp_path)
    assert (case["say"], case["contains"]) == (["Where is my order?"], ["Which order?"])
    assert main([str(tmp_path / "made" / "cases.jsonl")], new_chat=shop_chat) == 0


def test_answers_older_than_since_are_left_out(chat_cases: Run, tmp_path: Path) -> None:
    assert "0 cases in" in chat_cases("--since", "0d").stderr
    assert cases_in(tmp_path) == []


def test_an_invalid_since_is_one_sentence(chat_cases: Run) -> None:
    result = chat_cases("--since", "a week")
    assert (result.exit_code, result.stderr.strip()) == (1, "--since takes a number of days such as 7d, not 'a week'.")


def answer_of(text: str, item_id: str = "msg_answer_1") -> AssistantMessageItem:
    content = [AssistantMessageContent(text=text)]
    created_at = datetime(2026, 11, 29, tzinfo=UTC)
    return AssistantMessageItem(id=item_id, thread_id="thr_1", created_at=created_at, content=content)


def activity_of(*contents: str) -> WorkflowItem:
    tasks = [CustomTask(title="Find order", content=content) for content in contents]
    workflow = Workflow(type="custom", tasks=[*tasks])
    return WorkflowItem(id="wf_1", thread_id="thr_1", created_at=datetime.now(UTC), workflow=workflow)


STORED = (
    'Argumente\n\n```\norder: 4711\nnote: "for ann"\nkey: [hidden]\n```\n\nErgebnis\n\n````\nsent: ```today```\n````'
)


def test_stored_tool_calls_are_steps_of_the_script_with_their_results() -> None:
    items: list[ThreadItem] = [message_of("msg_1", "order 4711?"), activity_of(STORED), answer_of("It was sent.")]
    case = case_of(items, assistant="sales", is_bad=True)
    assert case is not None
    assert (case["name"], case["assistant"]) == ("thumbs-down 2026-11-29 answer_1", "sales")
    arguments = {"order": 1000, "note": "for ann"}
    call = {"calls": "Find order", "arguments": arguments, "returns": "sent: ```today```"}
    assert case["script"] == [call, {"says": "It was sent."}]


def test_a_recorded_tool_does_not_run_and_is_known_by_its_title(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = {"calls": "Find order", "arguments": {"order": 1}, "returns": "sent"}
    case = {"say": "order?", "script": [call, {"says": "Yes."}], "tools": ["find_order"], "contains": "Yes"}
    file = tmp_path / "cases.jsonl"
    file.write_text(json.dumps(case))
    assert main([str(file)], new_chat=shop_chat) == 0, capsys.readouterr().out


def test_a_recorded_tool_is_known_by_a_title_of_its_assistant(monkeypatch: pytest.MonkeyPatch) -> None:
    titled = Assistant(lambda: Agent[Any](name="Shop", tools=[find_order]), tool_titles={"find_order": "Looking"})
    monkeypatch.setattr(assistants, "shipped", lambda: {"": titled})
    chat = AgentChat.at("")
    assert [chat.tool_named(name) for name in ("Looking", "Find order", "find_order", "other")] == [
        *["find_order"] * 3,
        "other",
    ]


def test_an_item_that_answers_no_message_is_no_case() -> None:
    assert case_of([answer_of("Hello.")], assistant="", is_bad=True) is None
    assert case_of([message_of("msg_1", "hi"), activity_of(STORED)], assistant="", is_bad=True) is None


def test_a_message_without_an_answer_keeps_its_place_in_the_script() -> None:
    items: list[ThreadItem] = [message_of("msg_1", "one"), message_of("msg_2", "two"), answer_of("2")]
    case = case_of(items, assistant="", is_bad=True)
    assert case is not None
    assert case["script"] == [{"says": "(no answer)"}, {"says": "2"}]


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("mail ann@example.org, or ANN@example.org.", "mail person1@example.com, or person2@example.com."),
        ("4711 is 4711, and 4712 is not", "1000 is 1000, and 1001 is not"),
        ("call +49 170 1234567", "call +10 100 1000000"),
        ("2 apples for 10 euros", "2 apples for 11 euros"),
        ("٤٧١١ and 100", "1000 and 101"),
        ("no number, no address@home", "no number, no address@home"),
    ],
)
def test_addresses_and_numbers_are_replaced_by_others_of_the_same_form(text: str, redacted: str) -> None:
    assert Redaction()(text) == redacted
