"""The OpenAI client's two shortcuts: it sends the same requests and produces the same events as the plain library."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import httpx2
import pytest
from agents import Agent, FunctionTool, OpenAIProvider, RunConfig, Runner, exceptions, function_tool
from chatkit.types import ThreadItem
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import AsyncOpenAI, AsyncStream
from openai.types import responses as r
from openai.types.responses import ResponseStreamEvent

from lambda_src.dev.store_contract.samples import ITEM_FIELDS, item_of
from lambda_src.models import providers
from lambda_src.models.demo_model import events_of, message_of, tool_call_of
from lambda_src.models.openai_client import CLASSES, Client, Event, is_plain, pass_on_what_came
from lambda_src.runs.conversion import HistoryConverter

PLAIN = AsyncOpenAI(api_key="none")


def library_event(data: dict[str, Any]) -> Any:
    """Return the event that the library builds from a line's data."""
    return PLAIN._process_response_data(data=data, cast_to=ResponseStreamEvent, response=None)  # type: ignore[arg-type]


def same(first: Any, second: Any) -> bool:
    return type(first) is type(second) and first == second and first.model_fields_set == second.model_fields_set


TEXT = st.text(max_size=40)
DELTAS = st.fixed_dictionaries(
    {
        "type": st.just("response.output_text.delta"),
        "delta": TEXT,
        "item_id": TEXT,
        "output_index": st.integers(0, 9),
        "content_index": st.integers(0, 9),
        "sequence_number": st.integers(0, 10**6),
    },
    optional={
        "logprobs": st.lists(st.fixed_dictionaries({"token": TEXT, "logprob": st.floats(-9, 0)}), max_size=2),
        "obfuscation": TEXT,
        "new_field_of_next_year": st.none() | st.lists(st.integers()),
    },
)


@settings(deadline=None)  # the first example builds the library's union
@given(DELTAS)
def test_a_text_delta_equals_the_librarys_event(data: dict[str, Any]) -> None:
    assert same(Event.build(response=None, data=dict(data)), library_event(data))


@pytest.mark.parametrize("kind", [*CLASSES, "response.of_next_year", None])
def test_an_event_of_every_type_equals_the_librarys_event(kind: str | None) -> None:
    """Other vendors' events may lack required fields, so these are included."""
    for data in ({"type": kind}, {"type": kind, "item_id": "i", "output_index": "0", "more": [1]}):
        assert same(Event.build(response=None, data=dict(data)), library_event(data))


@pytest.mark.parametrize("output", [message_of("one two"), tool_call_of("roll")], ids=["message", "tool call"])
def test_every_event_of_an_answer_equals_the_librarys_event(output: Any) -> None:
    for event in events_of(output):
        data = json.loads(event.model_dump_json())
        assert same(Event.build(response=None, data=dict(data)), library_event(data))


def test_every_event_class_of_the_library_has_its_own_type() -> None:
    """If this fails, the library's events are no longer a union of classes with a `type`: see
    lambda_src/models/openai_client.py."""
    union = get_args(get_args(ResponseStreamEvent)[0])
    assert len(CLASSES) == len(union) > 50
    assert CLASSES["response.output_text.delta"] is r.ResponseTextDeltaEvent
    assert all(name.startswith("response.") or name == "error" for name in CLASSES)


class Wire:
    """A transport without a network that records the bodies sent and answers each in turn."""

    def __init__(self, *answers: Any) -> None:
        self.bodies: list[bytes] = []
        self._answers = list(answers)

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.bodies.append(request.content)
        events = [f"event: {e.type}\ndata: {e.model_dump_json()}\n\n" for e in events_of(self._answers.pop(0))]
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content="".join(events).encode())


def run_config(wire: Wire, client: Callable[..., AsyncOpenAI]) -> RunConfig:
    http = httpx2.AsyncClient(transport=httpx2.MockTransport(wire))
    config = providers.openai_run_config("none")
    config.model_provider = OpenAIProvider(openai_client=client(api_key="none", http_client=http))
    return config


@function_tool
def roll(sides: int) -> str:
    """Roll a die."""
    return "four"


async def requests_of_run(items: Any, client: Callable[..., AsyncOpenAI], *, tools: list[FunctionTool]) -> list[Any]:
    """Run an agent that calls a tool and then answers; return the request bodies, event types and output."""
    wire = Wire(tool_call_of("roll").model_copy(update={"id": "fc_1", "call_id": "c_1"}), message_of("Done."))
    agent = Agent(name="Test", instructions="Be brief.", tools=list(tools), model="some-model")
    config = run_config(wire, client)
    config.group_id = "thr_1"
    run = Runner.run_streamed(agent, items, run_config=config)
    kinds = [event.type async for event in run.stream_events()]
    return [*(json.loads(body) for body in wire.bodies), kinds, str(run.final_output)]


async def history() -> list[Any]:
    items: list[ThreadItem] = [item_of(kind, f"item_{n}") for n, kind in enumerate(ITEM_FIELDS)]
    return list(await HistoryConverter().history_to_input([*items, item_of("user_message", "msg_last")]))


async def test_a_run_sends_the_same_requests_with_and_without_the_shortcuts() -> None:
    items = await history()
    assert is_plain(items), "without plain JSON the shortcut is not used"
    plain, short = [await requests_of_run(items, client, tools=[roll]) for client in (AsyncOpenAI, Client)]
    assert short == plain
    assert len(short[1]["input"]) > len(short[0]["input"]) > len(ITEM_FIELDS) - 5, (
        "the second request must include the tool call"
    )


async def test_the_prompt_cache_is_keyed_by_the_thread() -> None:
    first, second = [(await requests_of_run("hi", Client, tools=[roll]))[0]["prompt_cache_key"] for _ in range(2)]
    assert first == second


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ([], True),
        ([{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}], True),
        ([None, 1, 1.5, True, "text", [[]], {}], True),
        ("text", False),
        (None, False),
        ([message_of("hi")], False),
        ([{"file": Path("report.pdf")}], False),
        ([{1: "a key that is no text"}], False),
        (({"role": "user"},), False),
    ],
    ids=["empty", "message", "values", "text", "none", "model", "path", "key", "tuple"],
)
def test_only_plain_json_takes_the_shortcut(value: Any, plain: bool) -> None:
    assert is_plain(value) is plain


async def test_other_input_is_encoded_by_the_library() -> None:
    items: Any = [message_of("earlier").model_copy(update={"id": "msg_1"}), {"role": "user", "content": "hi"}]
    bodies = []
    for make in (AsyncOpenAI, Client):
        wire = Wire(message_of("Done."))
        client = make(api_key="none", http_client=httpx2.AsyncClient(transport=httpx2.MockTransport(wire)))
        stream = await client.responses.create(model="m", input=items, stream=True, extra_body={"own": 1})
        assert isinstance(stream, AsyncStream)
        assert [event.type async for event in stream][-1] == "response.completed"
        bodies.append(json.loads(wire.bodies[0]))
    assert bodies[0] == bodies[1]


async def test_an_answer_without_streaming_works() -> None:
    async def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json=json.loads(events_of(message_of("hi"))[-1].response.model_dump_json()))  # type: ignore[union-attr]

    client = Client(api_key="none", http_client=httpx2.AsyncClient(transport=httpx2.MockTransport(answer)))
    response = await client.responses.create(model="m", input=[{"role": "user", "content": "hi"}])
    assert response.output_text == "hi"


def test_the_agents_sdk_delivers_the_events_before_a_marked_error() -> None:
    """If this fails, the SDK changed its mark (see pass_on_what_came), and text that arrives with an error is lost."""
    error = ValueError()
    assert not exceptions._should_drain_stream_events_before_raising(error)
    pass_on_what_came(error)
    assert exceptions._should_drain_stream_events_before_raising(error)
