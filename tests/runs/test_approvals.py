"""Tool approvals: a form asks the user, and the tool runs once or not at all, whatever happens in between."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from agents import Agent, RunContextWrapper, Usage, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call
from chatkit.agents import AgentContext

from lambda_src.context import RequestContext, Turn, User
from lambda_src.runs import approvals
from tests.apps.chat import Answer, Chat, message
from tests.apps.full import ANN, FullApp, attached, full_app_on_moto, full_app_without_files, items_of, thread_of

InChat = RunContextWrapper[AgentContext[RequestContext]]
executed: list[tuple[str, str, int]] = []


@function_tool(needs_approval=True)
async def refund(chat: InChat, order_id: int) -> str:
    """Gives money back."""
    executed.append(("refund", chat.context.request_context.user.person, order_id))
    return "refunded"


@function_tool(needs_approval=True)
async def send_letter(chat: InChat, text: str) -> str:
    """Sends a letter."""
    executed.append(("letter", text, 0))
    return "sent"


@pytest.fixture(autouse=True)
def nothing_done() -> None:
    executed.clear()


@pytest.fixture
def full_app() -> FullApp:
    return full_app_without_files()


REFUND = function_call("refund", json.dumps({"order_id": 17}), call_id="c1")
LETTER = function_call("send_letter", json.dumps({"text": "Dear"}), call_id="c2")
DONE = assistant_message("All is done.", item_id="m1")


def scripted(*steps: Sequence[Any]) -> ScriptedModel:
    return ScriptedModel([list(step) for step in steps])


def with_tools(full_app: FullApp, model: ScriptedModel) -> Chat:
    return full_app.chat(model=model, tools=[refund, send_letter])


async def request_approval(chat: Chat, text: str = "refund order 17") -> tuple[str, dict[str, Any]]:
    """Send a message that calls the tool; return the thread's id and the pending form."""
    answer = await chat("threads.create", input=message(text))
    assert not answer.of("error"), answer.of("error")
    form = items_of(answer)[-1]
    assert (form["type"], form["status"]) == ("structured_input", "pending")
    return thread_of(answer), form


async def answer_form(
    chat: Chat, thread_id: str, form: dict[str, Any], *words: str, status: str = "answered"
) -> Answer:
    """Answer the form, with one word per question."""
    answers = {str(number): {"values": [word]} for number, word in enumerate(words)}
    sent = {"status": status, "answers": answers}
    return await chat("threads.add_structured_input", thread_id=thread_id, item_id=form["id"], input=sent)


async def test_the_form_describes_the_call_and_nothing_is_executed_yet(full_app: FullApp) -> None:
    _, form = await request_approval(with_tools(full_app, scripted([REFUND])))
    assert [(q["question"], [o["value"] for o in q["options"]]) for q in form["inputs"]] == [
        ("Allow “Refund”?\norder_id: 17", ["Approve", "Deny"])
    ]
    assert executed == []


async def test_an_approved_tool_runs_as_the_user_and_the_run_continues(full_app: FullApp) -> None:
    model = scripted([REFUND], [DONE])
    chat = with_tools(full_app, model)
    thread_id, form = await request_approval(chat)
    answer = await answer_form(chat, thread_id, form, "Approve")
    assert executed == [("refund", "ann", 17)]
    assert items_of(answer)[-1]["content"][0]["text"] == "All is done."
    assert [part.get("type") for part in model.calls[1].input[1:]] == ["function_call", "function_call_output"]
    assert model.calls[1].input[0] == model.calls[0].input[0]


@pytest.mark.parametrize(
    ("words", "status", "output"),
    [
        (["Deny"], "answered", "did not allow"), (["approve"], "answered", "They said: approve"),
        (["No, order 18"], "answered", "No, order 18"), ([], "answered", "did not allow"),
        ([], "skipped", "did not allow"), (["Approve"], "skipped", "did not allow"),
    ],
)  # fmt: skip
async def test_any_answer_but_approve_is_a_refusal_that_the_model_sees(
    full_app: FullApp, words: list[str], status: str, output: str
) -> None:
    model = scripted([REFUND], [DONE])
    chat = with_tools(full_app, model)
    thread_id, form = await request_approval(chat)
    answer = await answer_form(chat, thread_id, form, *words, status=status)
    assert executed == []
    assert output in model.calls[1].input[-1]["output"]
    assert items_of(answer)[-1]["content"][0]["text"] == "All is done."


async def test_several_calls_share_a_form_and_are_decided_separately(full_app: FullApp) -> None:
    chat = with_tools(full_app, scripted([REFUND, LETTER], [DONE]))
    thread_id, form = await request_approval(chat)
    assert len(form["inputs"]) == 2
    await answer_form(chat, thread_id, form, "Deny", "Approve")
    assert executed == [("letter", "Dear", 0)]


async def test_a_run_may_request_another_approval(full_app: FullApp) -> None:
    model = scripted([REFUND], [LETTER], [DONE])
    chat = with_tools(full_app, model)
    thread_id, form = await request_approval(chat)
    second = items_of(await answer_form(chat, thread_id, form, "Approve"))[-1]
    assert (second["type"], second["inputs"][0]["question"]) == (
        "structured_input",
        'Allow “Send letter”?\ntext: "Dear"',
    )
    await answer_form(chat, thread_id, second, "Approve")
    assert [name for name, _, _ in executed] == ["refund", "letter"]
    assert [p.get("type") for p in model.calls[2].input[1:]] == ["function_call", "function_call_output"] * 2


async def test_a_reload_shows_the_form_as_pending_then_answered_and_never_the_run_state(full_app: FullApp) -> None:
    chat = with_tools(full_app, scripted([REFUND], [DONE]))
    thread_id, form = await request_approval(chat)
    for status in ("pending", "answered"):
        items = (await chat("threads.get_by_id", thread_id=thread_id)).json["items"]["data"]
        assert [item["status"] for item in items if item["type"] == "structured_input"] == [status]
        assert not [item for item in items if "hidden" in item["type"]]
        if status == "pending":
            await answer_form(chat, thread_id, form, "Approve")
    stored = "".join(await full_app.stored_lines())
    assert "original_input" not in stored, "the state of a finished run must be deleted"


async def test_a_second_answer_is_a_conflict_and_the_tool_runs_once(full_app: FullApp) -> None:
    chat = with_tools(full_app, scripted([REFUND], [DONE]))
    thread_id, form = await request_approval(chat)
    await answer_form(chat, thread_id, form, "Approve")
    second = await answer_form(chat, thread_id, form, "Deny")
    assert (second.status, second.json["error"]) == (409, "conflict")
    assert len(executed) == 1


async def test_concurrent_approvals_in_two_tabs_run_the_tool_once(full_app: FullApp) -> None:
    """The second request takes the lease from the first; whichever marks the form first resumes the run."""
    chat = with_tools(full_app, scripted([REFUND], [DONE], [DONE]))
    thread_id, _ = await request_approval(chat)
    page = await full_app.store.load_thread_items(thread_id, None, 10, "desc", ANN)
    answered = page.data[0].model_copy(update={"status": "answered"})
    contexts = [RequestContext(User("ann"), "r", turn=Turn(f"turn-{n}")) for n in range(2)]
    results = await asyncio.gather(
        *(approvals.taken([answered, *page.data[1:]], full_app.store, context) for context in contexts),
        return_exceptions=True,
    )
    assert [type(result).__name__ for result in results].count("Held") == 1


async def test_another_users_form_looks_missing(full_app: FullApp) -> None:
    chat = with_tools(full_app, scripted([REFUND], [DONE]))
    thread_id, form = await request_approval(chat)
    other = await answer_form(chat.as_("bob"), thread_id, form, "Approve")
    unknown = await answer_form(chat.as_("bob"), "thr_no", {"id": "msg_no"}, "Approve")
    assert (other.status, other.body) == (unknown.status, unknown.body) == (404, unknown.body)
    assert executed == []


async def test_a_new_message_skips_the_form(full_app: FullApp) -> None:
    model = scripted([REFUND], [assistant_message("As you like.", item_id="m2")])
    chat = with_tools(full_app, model)
    thread_id, form = await request_approval(chat)
    answer = await chat("threads.add_user_message", thread_id=thread_id, input=message("never mind"))
    assert [event["item"]["status"] for event in answer.of("thread.item.replaced")] == ["skipped"]
    late = await answer_form(chat, thread_id, form, "Approve")
    assert (late.status, executed) == (409, [])
    assert "skipped" in json.dumps(model.calls[1].input)
    assert "original_input" not in json.dumps(model.calls[1].input)


async def test_if_the_agent_has_changed_the_answer_is_an_error_and_later_turns_work(full_app: FullApp) -> None:
    thread_id, form = await request_approval(with_tools(full_app, scripted([REFUND])))
    changed = full_app.chat(model=scripted([DONE]), agent=Agent(name="Another"))
    answer = await answer_form(changed, thread_id, form, "Approve")
    assert [error["message"] for error in answer.of("error")] == [approvals.CHANGED]
    later = await changed("threads.add_user_message", thread_id=thread_id, input=message("and now?"))
    assert items_of(later)[-1]["content"][0]["text"] == "All is done."


def test_every_argument_is_shown_in_full() -> None:
    arguments = {"memo": "x" * 200_000, "payee": "mallory", "amount": 9_000}
    output = approvals.question("pay", json.dumps(arguments))
    assert output == f'Allow “Pay”?\nmemo: "{arguments["memo"]}"\npayee: "mallory"\namount: 9000'


@pytest.mark.parametrize(
    "hidden",
    [
        *("\u202e", "\u2066", "\u200b", "\ufeff", "\u00ad", "\u2028", "\x9b", "\n", "\U000e0041"),
        *("\u115f", "\u1160", "\u3164", "\uffa0", "\u2800", "\u034f", "\u17b4", "\u180b", "\ufe00", "\U000e0100"),
    ],
)
def test_characters_that_hide_or_reorder_text_are_shown_as_escapes(hidden: str) -> None:
    arguments = json.dumps({f"to{hidden}": f"a{hidden}b", "list": [{"c": hidden}]}, ensure_ascii=False)
    escape = json.dumps(hidden)[1:-1]
    output = approvals.question(f"pay{hidden}", arguments)
    assert len(lines := output.split("\n")) == 3
    assert not any(hidden in line for line in lines)
    assert output == f'Allow “Pay{escape}”?\n"to{escape}": "a{escape}b"\nlist: [{{"c": "{escape}"}}]'


def test_letters_of_any_language_are_shown_unchanged() -> None:
    arguments = {"name": "Zoë Ünlü 山田\u3000太郎 أحمد नमस्ते 👍🏽"}
    assert approvals.question("greet", json.dumps(arguments)) == f'Allow “Greet”?\nname: "{arguments["name"]}"'


def test_an_argument_name_cannot_imitate_another_argument() -> None:
    output = approvals.question("pay", json.dumps({"amount: 1, payee": "mallory"}))
    assert output == 'Allow “Pay”?\n"amount: 1, payee": "mallory"'


@pytest.mark.parametrize("arguments", ["{", "[1]", "null", "7", "[" * 50_000, '{"a": 1', "\u202e"])
def test_arguments_that_are_not_an_object_are_shown_unchanged(arguments: str) -> None:
    escaped = arguments.replace("\u202e", "\\u202e")
    assert approvals.question("send", arguments) == f"Allow “Send”?\n{escaped}"


@pytest.mark.parametrize("arguments", ["", "  ", "{}"])
def test_a_call_without_arguments_names_only_the_tool(arguments: str) -> None:
    assert approvals.question("send", arguments) == "Allow “Send”?"


async def test_tokens_before_and_after_the_answer_are_counted_once(
    full_app: FullApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[tuple[int, int]] = []
    monkeypatch.setattr(
        Turn, "used", lambda _, tokens_in, tokens_out, *__, **___: counted.append((tokens_in, tokens_out))
    )
    usage = Usage(requests=1, input_tokens=10, output_tokens=1, total_tokens=11)
    chat = with_tools(full_app, ScriptedModel([[REFUND], [DONE]], default_usage=usage))
    thread_id, form = await request_approval(chat)
    await answer_form(chat, thread_id, form, "Approve")
    assert counted == [(10, 1), (10, 1)]


async def test_an_image_is_read_again_after_the_approval_and_not_stored_twice() -> None:
    with full_app_on_moto() as full_app:
        model = scripted([REFUND], [DONE])
        chat = with_tools(full_app, model)
        file_id = await attached(chat, full_app)
        answer = await chat("threads.create", input=message("refund this", attachments=[file_id]))
        image = json.dumps(model.calls[0].input[0]["content"][1])
        assert "base64" in image
        assert "base64" not in "".join(await full_app.stored_lines(journals=True))
        await answer_form(chat, thread_of(answer), items_of(answer)[-1], "Approve")
        assert image in json.dumps(model.calls[1].input[0])
