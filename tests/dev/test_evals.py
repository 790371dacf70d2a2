"""`make eval`: fields of a case, checks, summary, exit codes; the code on the pages about tests and evaluation."""

import asyncio
import itertools
import json
import os
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest
from agents import Agent, RunConfig, RunContextWrapper, function_tool
from agents.mcp import MCPServerStreamableHttp
from chatkit.agents import AgentContext

from lambda_src.context import RequestContext
from lambda_src.dev.evals.__main__ import main, shipped_chat
from lambda_src.dev.evals.cases import Case, CasesError, read_cases
from lambda_src.dev.evals.running import Outcome, run, summary
from lambda_src.dev.testing import AgentChat, calls, real_model, says
from lambda_src.runs import assistants
from lambda_src.runs.assistants import Assistant
from lambda_src.sdk import ask_a_human
from tests.fakes.model_api import ANSWER, model_api


@function_tool
def refund(order: int) -> str:
    """Refund an order."""
    return f"order {order} refunded"


def shop_chat(model: RunConfig | None = None, assistant: str = "") -> AgentChat:
    return AgentChat(lambda: Agent[Any](name="Shop", tools=[refund]), real_model=model)


REFUND = [{"calls": "refund", "arguments": {"order": 17}}, {"says": "Order 17 is refunded."}]


async def faults(**case: Any) -> list[str]:
    """What is wrong with the answer to a case that asks for a refund."""
    parsed = Case.model_validate({"say": "refund 17", "script": REFUND, **case})
    return (await run(parsed, shop_chat(), now=itertools.count().__next__)).faults


@pytest.mark.parametrize(
    "expected",
    [
        {"contains": "ORDER 17"},
        {"contains": ["order", "refunded"], "lacks": "sorry"},
        {"matches": r"order \d+ is"},
        {"tools": ["refund"], "not_tools": ["delete"]},
        {"widgets": 0},
    ],
)
async def test_an_answer_as_expected_passes(expected: dict[str, Any]) -> None:
    assert await faults(**expected) == []


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"contains": ["order", "sorry"]}, "“sorry” is not in: Order 17 is refunded."),
        ({"lacks": "refunded"}, "“refunded” is in"),
        ({"matches": "^no"}, "/^no/ does not match"),
        ({"tools": ["delete"]}, "tool delete did not run; these did: refund"),
        ({"not_tools": ["refund"]}, "tool refund ran"),
        ({"widgets": 1}, "expected 1 widgets, got 0"),
        ({"error": "locked"}, "expected an error with “locked”, got 'none'"),
        ({"contains": "order", "script": REFUND[:1]}, "the answer was an error"),
    ],
)
async def test_an_unexpected_answer_fails_with_a_sentence(expected: dict[str, Any], message: str) -> None:
    (fault,) = await faults(**expected)
    assert message in fault


async def test_only_the_last_answer_is_checked_and_every_answer_is_timed() -> None:
    case = Case.model_validate({"say": ["one", "two"], "contains": "2", "script": [{"says": "1"}, {"says": "2"}]})
    outcome = await run(case, shop_chat(), now=itertools.count().__next__)
    assert (outcome.faults, outcome.seconds) == ([], [1, 1])


async def test_the_tokens_of_a_real_model_are_summed() -> None:
    async with model_api() as api:
        model = real_model({"REAL_MODEL": "1", "CHAT_MODEL_BASE_URL": f"{api.url}/counted"})
        case = Case.model_validate({"say": ["one", "two"], "contains": ANSWER, "script": REFUND})
        outcome = await run(case, shop_chat(model), now=itertools.count().__next__)
    assert (outcome.faults, outcome.tokens_in, outcome.tokens_out) == ([], 22, 4)


def test_the_summary_has_pass_rate_tokens_and_p50() -> None:
    case = Case(say="x", contains="y")
    outcomes = [Outcome(case, [], [1.0, 9.0], 1000, 20), Outcome(case, ["no"], [2.0], 500, 1)]
    assert summary(outcomes) == "1 of 2 passed (50%), 1,500 tokens in, 21 out, p50 2.00 s per answer"


BAD = [
    ("{", "not JSON"),
    ("[]", "should be an object"),
    ("{}", "`say`: field required"),
    ('{"say": ""}', "`say`"),
    ('{"say": [], "contains": "a"}', "`say`"),
    ('{"say": "a"}', "expects nothing"),
    ('{"say": "a", "contians": "b"}', "`contians` is not a field of a case; the fields are say, name"),
    ('{"say": "a", "matches": "("}', "is not a regular expression"),
    ('{"say": "a", "widgets": -1}', "`widgets`"),
    ('{"say": "a", "contains": "b", "script": [{"say": "b"}]}', "`script` is a list of"),
    ('{"say": "a", "contains": "b", "user": ""}', "`user`"),
]


@pytest.mark.parametrize(("line", "message"), BAD, ids=[line for line, _ in BAD])
def test_an_invalid_line_is_reported_with_its_number_and_the_reason(line: str, message: str) -> None:
    with pytest.raises(CasesError) as error:
        read_cases(["# a comment", "", line], file="cases.jsonl")
    assert str(error.value).startswith("cases.jsonl:3: ")
    assert message in str(error.value)


def test_every_invalid_line_is_reported_at_once() -> None:
    with pytest.raises(CasesError) as error:
        read_cases([line for line, _ in BAD], file="f")
    assert [line.split(":")[1] for line in str(error.value).splitlines()] == [str(n + 1) for n in range(len(BAD))]


def cases_file(folder: Path, *cases: dict[str, Any]) -> str:
    folder.mkdir(exist_ok=True)
    file = folder / "cases.jsonl"
    file.write_text("".join(json.dumps(case) + "\n" for case in cases))
    return str(file)


@pytest.mark.parametrize(("at_least", "code"), [("1", 1), ("0.5", 0), ("50%", 0), ("51%", 1)])
def test_the_exit_code_depends_on_the_share_of_cases_that_passed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], at_least: str, code: int
) -> None:
    good = {"name": "good", "say": "refund 17", "script": REFUND, "tools": ["refund"]}
    file = cases_file(tmp_path, good, good | {"name": "bad", "contains": "[sorry]"})
    assert main([file, "--at-least", at_least], new_chat=shop_chat) == code
    printed = capsys.readouterr().out
    assert "FAIL bad" in printed
    assert "“[sorry]” is not in" in printed
    assert "1 of 2 passed (50%)" in printed


def test_an_error_before_the_first_case_is_one_sentence_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("CHAT_MODEL_BASE_URL", raising=False)
    good = cases_file(tmp_path, {"say": "a", "contains": "b"})
    unknown_assistant = cases_file(tmp_path / "other", {"say": "a", "contains": "b", "assistant": "sailes"})

    def broken(model: RunConfig | None, assistant: str) -> AgentChat:
        raise LookupError("no prompt")

    for arguments, message, new_chat in (
        ([str(tmp_path / "none.jsonl")], "cannot be read", shop_chat),
        ([good, "--real"], "OPENAI_API_KEY", shop_chat),
        ([good], "LookupError: no prompt", broken),
        ([unknown_assistant], "There is no assistant 'sailes' in AGENTS", shipped_chat),
    ):
        assert main(arguments, new_chat=new_chat) == 2
        err = capsys.readouterr().err
        assert message in err
        assert "Traceback" not in err


@pytest.mark.parametrize("flag", ["--at-least=2", "--at-least=many", "--at-once=0"])
def test_an_invalid_flag_is_a_usage_error(tmp_path: Path, flag: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([cases_file(tmp_path, {"say": "a", "contains": "b"}), flag], new_chat=shop_chat)


DOCS = Path(__file__).parents[2] / "docs"
TESTS, EVALS, FIELDS = (
    (DOCS / page).read_text(encoding="utf-8")
    for page in ("how-to/testing.md", "how-to/evaluate.md", "reference/testing.md")
)


def test_the_docs_page_lists_every_field_of_a_case() -> None:
    assert re.findall(r"^\| `([a-z_]+)` \|", FIELDS, re.MULTILINE) == list(Case.model_fields)


def test_the_cases_on_the_docs_page_are_valid() -> None:
    (block,) = re.findall(r"```json\n(.*?)```", EVALS, re.DOTALL)
    assert len(read_cases(block.splitlines(), file="evaluate.md")) > 1


def page_scope() -> dict[str, Any]:
    """The tests on the docs page, by name."""
    scope: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", TESTS, re.DOTALL):
        exec(compile(block, "testing.md", "exec"), scope)
    return scope


async def test_the_first_test_on_the_docs_page_passes() -> None:
    await page_scope()["test_a_refund_is_made"](shop_chat())


@pytest.mark.parametrize("name", ["test_a_refund_asks_first", "test_a_refund_can_be_denied"])
async def test_the_approval_tests_on_the_docs_page_pass(name: str) -> None:
    @function_tool(name_override="refund", needs_approval=True)
    def careful_refund(order: int) -> str:
        """Refund an order."""
        return f"order {order} refunded"

    await page_scope()[name](AgentChat(lambda: Agent[Any](name="Shop", tools=[careful_refund])))


async def test_the_test_with_a_person_on_the_docs_page_passes() -> None:
    await page_scope()["test_olga_answers"](AgentChat(lambda: Agent[Any](name="Shop", tools=[ask_a_human])))


async def test_the_test_with_a_fake_service_on_the_docs_page_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    @function_tool
    async def my_orders(chat: RunContextWrapper[AgentContext[RequestContext]]) -> str:
        """The customer's orders."""
        customer = chat.context.request_context.user.subject
        async with httpx2.AsyncClient(trust_env=False) as http:
            return (await http.get(f"{os.environ['SHOP_URL']}/customers/{customer}/orders")).raise_for_status().text

    chat = AgentChat(lambda: Agent[Any](name="Shop", tools=[my_orders]))
    await page_scope()["test_the_shop_is_asked_for_the_customer"](chat, monkeypatch)


async def test_the_test_with_a_fake_mcp_server_on_the_docs_page_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    def build_agent() -> Agent[Any]:
        server = MCPServerStreamableHttp({"url": os.environ.get("WAREHOUSE_URL", "http://127.0.0.1:1")})
        return Agent[Any](name="Shop", mcp_servers=[server])

    await page_scope()["test_socks_are_counted"](AgentChat(build_agent), monkeypatch)


async def test_a_case_runs_with_the_assistant_that_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @function_tool
    def whose(chat: RunContextWrapper[AgentContext[RequestContext]]) -> str:
        """The assistant and the user of this chat."""
        user = chat.context.request_context.user
        return f"{user.assistant} {user.subject} {user.person}"

    agents = {
        "": Assistant(lambda: Agent[Any](name="Support")),
        "sales": Assistant(lambda: Agent[Any](name="Sales", tools=[whose])),
    }
    monkeypatch.setattr(assistants, "shipped", lambda: agents)
    chat = AgentChat.at("sales")
    reply = await chat.say("whose", script=[calls("whose"), says("Yours.")])
    assert reply.tools == ["whose"]
    file = cases_file(
        tmp_path,
        {"say": "whose", "assistant": "sales", "contains": "sales ann ann"},
        {"say": "hello", "not_tools": ["whose"]},
    )
    assert await asyncio.to_thread(main, [file]) == 0, capsys.readouterr().out
