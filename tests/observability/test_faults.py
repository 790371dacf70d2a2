"""Fault logging: one WARNING per exception in the user's code, with the innermost line in the user's folder."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agents import Agent, GuardrailFunctionOutput, function_tool, input_guardrail
from agents.testing import ScriptedModel, assistant_message, function_call

from lambda_src.chat.registry import AssistantRegistry
from lambda_src.observability import faults
from lambda_src.observability.faults import log_fault, place_of
from lambda_src.runs.widget_actions import ActionCall, Actions
from tests.apps.chat import Chat, message
from tests.apps.full import full_app_without_files, items_of, thread_of

SECRET = "marker-7d1f"
LIBRARY = "def call(function, *args):\n    return function(*args)\n\ndef fail():\n    raise KeyError('marker-7d1f')\n"
OWN = """\
from library_of_another import call, fail

def direct():
    fail()

def wrapped():
    try:
        fail()
    except KeyError as error:
        raise RuntimeError("marker-7d1f") from error
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The functions of a user's module agent/own.py, which calls a failing library."""
    folder = tmp_path / "lambda_src" / "agent"
    folder.mkdir(parents=True)
    (tmp_path / "library_of_another.py").write_text(LIBRARY)
    (folder / "own.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(faults, "AGENT", folder)
    defined: dict[str, Any] = {}
    exec(compile(OWN, str(folder / "own.py"), "exec"), defined)
    yield defined
    logging.getLogger(faults.__name__).setLevel(logging.NOTSET)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """Return a function that lists our warnings as fields."""
    monkeypatch.setattr(logging.getLogger("lambda_src"), "propagate", True)
    caplog.set_level(logging.INFO, "lambda_src")
    names = ("msg", "tool", "action", "error_type", "place", "traceback")

    def logged() -> list[dict[str, Any]]:
        ours = [vars(record) for record in caplog.records if record.name != "openai.agents"]
        warnings = [line for line in ours if line["levelno"] >= logging.WARNING]
        return [{name: line[name] for name in names if name in line} for line in warnings]

    return logged


def raised(function: Callable[[], object]) -> Exception:
    try:
        function()
    except Exception as error:  # noqa: BLE001 - the test inspects it
        return error
    raise AssertionError


def test_the_location_is_the_innermost_line_in_the_users_folder(own: dict[str, Any]) -> None:
    assert place_of(raised(own["direct"])) == "lambda_src/agent/own.py:4"


def test_an_exception_wrapped_by_a_library_is_traced_to_the_users_line(own: dict[str, Any]) -> None:
    def library() -> None:
        try:
            own["direct"]()
        except KeyError as error:
            raise RuntimeError("library") from error

    error = raised(library)
    assert place_of(error) == "lambda_src/agent/own.py:4"
    assert place_of(ExceptionGroup("several", [ValueError(), error])) == "lambda_src/agent/own.py:4"
    assert place_of(raised(own["wrapped"])) == "lambda_src/agent/own.py:10"


def test_a_cycle_of_causes_ends_and_an_error_without_frames_has_an_unknown_location() -> None:
    first, second = ValueError(), ValueError()
    first.__cause__, second.__cause__ = second, first
    assert place_of(first) == "unknown"


def test_tracebacks_are_logged_only_on_a_developers_machine(
    own: dict[str, Any], lines: Callable[[], list[dict[str, Any]]]
) -> None:
    error = raised(own["direct"])
    log_fault("tool_failed", error, tool="look")
    faults.show_tracebacks()
    log_fault("tool_failed", error, tool="look")
    deployed, local = lines()
    expected = {"msg": "tool_failed", "tool": "look", "error_type": "KeyError", "place": "lambda_src/agent/own.py:4"}
    assert deployed == expected
    assert SECRET in local["traceback"]
    assert SECRET not in str(deployed)


async def test_a_tool_that_raises_is_logged_once_and_the_turn_continues(
    own: dict[str, Any], lines: Callable[[], list[dict[str, Any]]]
) -> None:
    @function_tool
    def look() -> str:
        own["direct"]()
        return "seen"

    model = ScriptedModel([[function_call("look", "{}", call_id="c")], [assistant_message("It failed.")]])
    answer = await full_app_without_files().chat(model=model, tools=[look])("threads.create", input=message("look"))
    assert items_of(answer)[-1]["content"][0]["text"] == "It failed."
    assert lines() == [
        {"msg": "tool_failed", "tool": "look", "error_type": "KeyError", "place": "lambda_src/agent/own.py:4"}
    ]
    assert SECRET not in str(model.calls[1].input)


async def test_a_tool_that_ends_the_turn_is_logged_once(
    own: dict[str, Any], lines: Callable[[], list[dict[str, Any]]]
) -> None:
    @function_tool(failure_error_function=None)
    def look() -> str:
        own["direct"]()
        return "seen"

    model = ScriptedModel([[function_call("look", "{}", call_id="c")]])
    answer = await full_app_without_files().chat(model=model, tools=[look])("threads.create", input=message("look"))
    assert len(answer.of("error")) == 1
    assert lines() == [{"msg": "run_failed", "error_type": "KeyError", "place": "lambda_src/agent/own.py:4"}]


async def test_the_model_sees_that_a_tool_is_unknown_and_the_turn_continues(
    lines: Callable[[], list[dict[str, Any]]],
) -> None:
    model = ScriptedModel([[function_call(SECRET, "{}", call_id="c")], [assistant_message("There is no such tool.")]])
    answer = await full_app_without_files().chat(model=model)("threads.create", input=message("look"))
    assert answer.of("error") == []
    assert items_of(answer)[-1]["content"][0]["text"] == "There is no such tool."
    assert "not found" in str(model.calls[1].input)
    assert lines() == [{"msg": "tool_not_found"}]


async def test_a_guardrail_that_raises_is_logged_once(
    own: dict[str, Any], lines: Callable[[], list[dict[str, Any]]]
) -> None:
    @input_guardrail
    def guard(context: object, agent: object, given: object) -> GuardrailFunctionOutput:
        own["direct"]()
        return GuardrailFunctionOutput(None, tripwire_triggered=False)

    agent = Agent[Any](name="Test", input_guardrails=[guard])
    model = ScriptedModel([[assistant_message("hello")]])
    answer = await full_app_without_files().chat(model=model, agent=agent)("threads.create", input=message("hi"))
    assert len(answer.of("error")) == 1
    assert lines() == [{"msg": "run_failed", "error_type": "KeyError", "place": "lambda_src/agent/own.py:4"}]


async def test_an_agent_that_cannot_be_built_is_logged_once(
    own: dict[str, Any], lines: Callable[[], list[dict[str, Any]]]
) -> None:
    chat = full_app_without_files().chat(build_agent=own["direct"])
    answer = await chat("threads.create", input=message("hi"))
    assert len(answer.of("error")) == 1
    assert lines() == [{"msg": "run_failed", "error_type": "KeyError", "place": "lambda_src/agent/own.py:4"}]


async def test_assistants_that_cannot_be_loaded_are_logged_once(
    own: dict[str, Any], lines: Callable[[], list[dict[str, Any]]]
) -> None:
    with pytest.raises(KeyError):
        await AssistantRegistry(own["direct"], NotImplemented).get("sales")
    assert lines() == [{"msg": "agent_not_loaded", "error_type": "KeyError", "place": "lambda_src/agent/own.py:4"}]


@pytest.mark.parametrize("operation", ["threads.custom_action", "threads.sync_custom_action"])
async def test_an_action_that_raises_is_logged_once_with_its_name(
    own: dict[str, Any], lines: Callable[[], list[dict[str, Any]]], operation: str
) -> None:
    actions = Actions()

    @actions.on("order.cancel")
    async def cancel(_: dict[str, Any], call: ActionCall) -> None:
        own["direct"]()

    chat: Chat = full_app_without_files().chat(actions=actions)
    thread_id = thread_of(await chat("threads.create", input=message("hi")))
    await chat(operation, thread_id=thread_id, action={"type": "order.cancel", "payload": {}})
    expected = {"action": "order.cancel", "error_type": "KeyError", "place": "lambda_src/agent/own.py:4"}
    assert lines() == [{"msg": "action_failed", **expected}]
