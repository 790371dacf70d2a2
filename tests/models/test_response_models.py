"""lambda_src/models/response_models.py: openai's models are completed once, and shared by everything that has them."""

from tests.startup.conftest import Run
from tests.startup.conftest import run as run

PROGRAM = """
import os, sys
from lambda_src.startup import lazy_packages
lazy_packages.install()
from openai.types.responses import Response, ResponseFunctionToolCall, ResponseOutputItemDoneEvent
from openai.types.responses.tool import FunctionTool
print(Response.__pydantic_complete__, "agents" in sys.modules)
if {complete}:
    from lambda_src.models.response_models import complete_models
    complete_models()
    complete_models()
    print(all(model.__pydantic_complete__ for model in (Response, ResponseFunctionToolCall, FunctionTool)))
import agents
from lambda_src.models.demo_model import events_of, message_of, tool_call_of
from lambda_src.models.openai_client import Event
for event in [*events_of(tool_call_of("look")), *events_of(message_of("two words"))]:
    decoded = Event.build(response=None, data=event.model_dump(mode="json"))
    print(type(decoded).__name__, decoded.model_fields_set == event.model_fields_set, len(decoded.model_dump_json()))
try:
    ResponseOutputItemDoneEvent.model_validate({{"type": "response.output_item.done", "item": {{"type": "message"}}}})
except ValueError as error:
    print(len(str(error)))
"""


def test_models_are_complete_before_the_agents_sdk_is_imported_and_read_the_same_events(run: Run) -> None:
    late = run(PROGRAM.format(complete=False)).splitlines()
    early = run(PROGRAM.format(complete=True)).splitlines()
    assert early[:2] == ["False False", "True"], "openai completes its models itself: delete response_models.py"
    assert early[2:] == late[1:]


def test_inner_models_are_shared_by_the_models_that_contain_them(run: Run) -> None:
    """If this fails, pydantic no longer shares complete models, and nothing is gained by completing them first."""
    program = """
from lambda_src.models.response_models import complete_models
complete_models()
from openai.types.responses import ResponseOutputItemDoneEvent
ResponseOutputItemDoneEvent.model_rebuild()
print("PrebuiltValidator" in repr(ResponseOutputItemDoneEvent.__pydantic_validator__))
"""
    assert run(program) == "True"
