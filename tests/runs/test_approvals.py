"""A tool that waits for a person's yes: asked in a form, done once or not at all, whatever happens in between."""

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
done: list[tuple[str, str, int]] = []


@function_tool(needs_approval=True)
async def refund(chat: InChat, order_id: int) -> str:
    """Gives money back."""
    done.append(("refund", chat.context.request_context.user.person, order_id))
    return "refunded"


@function_tool(needs_approval=True)
async def send_letter(chat: InChat, text: str) -> str:
    """Sends a letter."""
    done.append(("letter", text, 0))
    return "sent"


@pytest.fixture(autouse=True)
def nothing_done() -> None:
    done.clear()


@pytest.fixture
def full_app() -> FullApp:
    return full_app_without_files()


REFUND = function_call("refund", json.dumps({"order_id": 17}), call_id="c1")
LETTER = function_call("send_letter", json.dumps({"text": "Dear"}), call_id="c2")
SAID = assistant_message("All is done.", item_id="m1")


def scripted(*steps: Sequence[Any]) -> ScriptedModel:
    return ScriptedModel([list(step) for step in steps])


def with_tools(full_app: FullApp, model: ScriptedModel) -> Chat:
    return full_app.chat(model=model, tools=[refund, send_letter])


async def asked(chat: Chat, text: str = "refund order 17") -> tuple[str, dict[str, Any]]:
    """The thread, and the form that waits in it."""
    answer = await chat("threads.create", input=message(text))
    assert not answer.of("error"), answer.of("error")
    form = items_of(answer)[-1]
    assert (form["type"], form["status"]) == ("structured_input", "pending")
    return thread_of(answer), form


async def say(chat: Chat, thread_id: str, form: dict[str, Any], *words: str, status: str = "answered") -> Answer:
    """An answer of the form: one word a question."""
    answers = {str(number): {"values": [word]} for number, word in enumerate(words)}
    sent = {"status": status, "answers": answers}
    return await chat("threads.add_structured_input", thread_id=thread_id, item_id=form["id"], input=sent)


async def test_the_form_says_what_would_be_done_and_nothing_is_done_yet(full_app: FullApp) -> None:
    _, form = await asked(with_tools(full_app, scripted([REFUND])))
    assert [(q["question"], [o["value"] for o in q["options"]]) for q in form["inputs"]] == [
        ("Allow “Refund”?\norder_id: 17", ["Approve", "Deny"])
    ]
    assert done == []


async def test_approved_it_is_done_with_the_users_rights_and_the_run_goes_on(full_app: FullApp) -> None:
    model = scripted([REFUND], [SAID])
    chat = with_tools(full_app, model)
    thread_id, form = await asked(chat)
    answer = await say(chat, thread_id, form, "Approve")
    assert done == [("refund", "ann", 17)]
    assert items_of(answer)[-1]["content"][0]["text"] == "All is done."
    assert [part.get("type") for part in model.calls[1].input[1:]] == ["function_call", "function_call_output"]
    assert model.calls[1].input[0] == model.calls[0].input[0]


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["Deny"], "answered", "did not allow"), (["approve"], "answered", "They said: approve"),
        (["No, order 18"], "answered", "No, order 18"), ([], "answered", "did not allow"),
        ([], "skipped", "did not allow"), (["Approve"], "skipped", "did not allow"),
    ],
)  # fmt: skip
async def test_anything_but_approve_is_a_no_that_the_model_is_told(
    full_app: FullApp, words: list[str], status: str, told: str
) -> None:
    model = scripted([REFUND], [SAID])
    chat = with_tools(full_app, model)
    thread_id, form = await asked(chat)
    answer = await say(chat, thread_id, form, *words, status=status)
    assert done == []
    assert told in model.calls[1].input[-1]["output"]
    assert items_of(answer)[-1]["content"][0]["text"] == "All is done."


async def test_several_calls_are_asked_together_and_decided_apart(full_app: FullApp) -> None:
    chat = with_tools(full_app, scripted([REFUND, LETTER], [SAID]))
    thread_id, form = await asked(chat)
    assert len(form["inputs"]) == 2
    await say(chat, thread_id, form, "Deny", "Approve")
    assert done == [("letter", "Dear", 0)]


async def test_a_run_may_ask_again(full_app: FullApp) -> None:
    model = scripted([REFUND], [LETTER], [SAID])
    chat = with_tools(full_app, model)
    thread_id, form = await asked(chat)
    second = items_of(await say(chat, thread_id, form, "Approve"))[-1]
    assert (second["type"], second["inputs"][0]["question"]) == (
        "structured_input",
        'Allow “Send letter”?\ntext: "Dear"',
    )
    await say(chat, thread_id, second, "Approve")
    assert [what for what, _, _ in done] == ["refund", "letter"]
    assert [p.get("type") for p in model.calls[2].input[1:]] == ["function_call", "function_call_output"] * 2


async def test_a_reload_shows_the_form_waiting_then_answered_and_never_the_state(full_app: FullApp) -> None:
    chat = with_tools(full_app, scripted([REFUND], [SAID]))
    thread_id, form = await asked(chat)
    for status in ("pending", "answered"):
        items = (await chat("threads.get_by_id", thread_id=thread_id)).json["items"]["data"]
        assert [item["status"] for item in items if item["type"] == "structured_input"] == [status]
        assert not [item for item in items if "hidden" in item["type"]]
        if status == "pending":
            await say(chat, thread_id, form, "Approve")
    kept = "".join(await full_app.kept())
    assert "original_input" not in kept, "what is over is not kept"


async def test_answered_twice_is_a_conflict_and_done_once(full_app: FullApp) -> None:
    chat = with_tools(full_app, scripted([REFUND], [SAID]))
    thread_id, form = await asked(chat)
    await say(chat, thread_id, form, "Approve")
    second = await say(chat, thread_id, form, "Deny")
    assert (second.status, second.json["error"]) == (409, "conflict")
    assert len(done) == 1


async def test_two_tabs_that_approve_at_once_do_it_once(full_app: FullApp) -> None:
    """The second takes the lease from the first; whichever marks the form first has the run."""
    chat = with_tools(full_app, scripted([REFUND], [SAID], [SAID]))
    thread_id, _ = await asked(chat)
    page = await full_app.store.load_thread_items(thread_id, None, 10, "desc", ANN)
    answered = page.data[0].model_copy(update={"status": "answered"})
    contexts = [RequestContext(User("ann"), "r", turn=Turn(f"turn-{n}")) for n in range(2)]
    found = await asyncio.gather(
        *(approvals.taken([answered, *page.data[1:]], full_app.store, one) for one in contexts), return_exceptions=True
    )
    assert [type(one).__name__ for one in found].count("Held") == 1


async def test_somebody_elses_form_is_missing(full_app: FullApp) -> None:
    chat = with_tools(full_app, scripted([REFUND], [SAID]))
    thread_id, form = await asked(chat)
    other = await say(chat.as_("bob"), thread_id, form, "Approve")
    unknown = await say(chat.as_("bob"), "thr_no", {"id": "msg_no"}, "Approve")
    assert (other.status, other.body) == (unknown.status, unknown.body) == (404, unknown.body)
    assert done == []


async def test_whoever_writes_on_has_not_allowed_it(full_app: FullApp) -> None:
    model = scripted([REFUND], [assistant_message("As you like.", item_id="m2")])
    chat = with_tools(full_app, model)
    thread_id, form = await asked(chat)
    answer = await chat("threads.add_user_message", thread_id=thread_id, input=message("never mind"))
    assert [event["item"]["status"] for event in answer.of("thread.item.replaced")] == ["skipped"]
    late = await say(chat, thread_id, form, "Approve")
    assert (late.status, done) == (409, [])
    assert "skipped" in json.dumps(model.calls[1].input)
    assert "original_input" not in json.dumps(model.calls[1].input)


async def test_an_agent_that_changed_since_says_so_and_later_turns_work(full_app: FullApp) -> None:
    thread_id, form = await asked(with_tools(full_app, scripted([REFUND])))
    changed = full_app.chat(model=scripted([SAID]), agent=Agent(name="Another"))
    answer = await say(changed, thread_id, form, "Approve")
    assert [error["message"] for error in answer.of("error")] == [approvals.CHANGED]
    later = await changed("threads.add_user_message", thread_id=thread_id, input=message("and now?"))
    assert items_of(later)[-1]["content"][0]["text"] == "All is done."


def test_every_argument_is_shown_whole_however_long() -> None:
    arguments = {"memo": "x" * 200_000, "payee": "mallory", "amount": 9_000}
    told = approvals.question("pay", json.dumps(arguments))
    assert told == f'Allow “Pay”?\nmemo: "{arguments["memo"]}"\npayee: "mallory"\namount: 9000'


@pytest.mark.parametrize(
    "hidden",
    [
        *("\u202e", "\u2066", "\u200b", "\ufeff", "\u00ad", "\u2028", "\x9b", "\n", "\U000e0041"),
        *("\u115f", "\u1160", "\u3164", "\uffa0", "\u2800", "\u034f", "\u17b4", "\u180b", "\ufe00", "\U000e0100"),
    ],
)
def test_characters_that_hide_or_reorder_text_are_shown_as_escapes(hidden: str) -> None:
    sound = json.dumps({f"to{hidden}": f"a{hidden}b", "list": [{"c": hidden}]}, ensure_ascii=False)
    escape = json.dumps(hidden)[1:-1]
    told = approvals.question(f"pay{hidden}", sound)
    assert len(lines := told.split("\n")) == 3
    assert not any(hidden in line for line in lines)
    assert told == f'Allow “Pay{escape}”?\n"to{escape}": "a{escape}b"\nlist: [{{"c": "{escape}"}}]'


def test_letters_of_any_language_are_shown_as_they_are() -> None:
    arguments = {"name": "Zoë Ünlü 山田\u3000太郎 أحمد नमस्ते 👍🏽"}
    assert approvals.question("greet", json.dumps(arguments)) == f'Allow “Greet”?\nname: "{arguments["name"]}"'


def test_a_name_of_an_argument_cannot_pose_as_another_argument() -> None:
    told = approvals.question("pay", json.dumps({"amount: 1, payee": "mallory"}))
    assert told == 'Allow “Pay”?\n"amount: 1, payee": "mallory"'


@pytest.mark.parametrize("arguments", ["{", "[1]", "null", "7", "[" * 50_000, '{"a": 1', "\u202e"])
def test_arguments_that_are_not_an_object_are_shown_as_they_came(arguments: str) -> None:
    shown = arguments.replace("\u202e", "\\u202e")
    assert approvals.question("send", arguments) == f"Allow “Send”?\n{shown}"


@pytest.mark.parametrize("arguments", ["", "  ", "{}"])
def test_a_call_without_arguments_asks_for_the_tool_alone(arguments: str) -> None:
    assert approvals.question("send", arguments) == "Allow “Send”?"


async def test_tokens_before_and_after_the_answer_are_counted_once(
    full_app: FullApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[tuple[int, int]] = []
    monkeypatch.setattr(
        Turn, "used", lambda _, tokens_in, tokens_out, *__, **___: counted.append((tokens_in, tokens_out))
    )
    usage = Usage(requests=1, input_tokens=10, output_tokens=1, total_tokens=11)
    chat = with_tools(full_app, ScriptedModel([[REFUND], [SAID]], default_usage=usage))
    thread_id, form = await asked(chat)
    await say(chat, thread_id, form, "Approve")
    assert counted == [(10, 1), (10, 1)]


async def test_a_picture_is_read_anew_and_not_kept_twice() -> None:
    with full_app_on_moto() as full_app:
        model = scripted([REFUND], [SAID])
        chat = with_tools(full_app, model)
        file_id = await attached(chat, full_app)
        answer = await chat("threads.create", input=message("refund this", attachments=[file_id]))
        picture = json.dumps(model.calls[0].input[0]["content"][1])
        assert "base64" in picture
        assert "base64" not in "".join(await full_app.kept(journals=True))
        await say(chat, thread_of(answer), items_of(answer)[-1], "Approve")
        assert picture in json.dumps(model.calls[1].input[0])
