"""The demo model: deterministic answers without an API key. Streams word by word; calls a tool that the user names.

Imported only when it is used: by `make dev` without OPENAI_API_KEY, or by a stage that has no model key yet.
"""

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from agents import FunctionTool, Model, ModelResponse, ModelSettings, Tool, TResponseInputItem, Usage
from agents.items import TResponseStreamEvent
from openai.types import responses as r

PAUSE_S = 0.04  # between two words: about the pace of a real model, slow enough for the streaming to be visible
ABOUT_MENTIONS = "# User-provided context for @-mentions"  # ChatKit's own text, which follows a message with mentions
QUOTE_CHARS = 200  # of the user's message, quoted in the answer
COUNT_TO = re.compile(r"\bcount to ([1-9][0-9]{0,3})\b", re.IGNORECASE)  # for an answer of any length

EXAMPLES: Mapping[Any, object] = {"integer": 1, "number": 1, "boolean": True, "array": [], "object": {}}  # by JSON type

Sleep = Callable[[float], Awaitable[object]]
Output = r.ResponseOutputMessage | r.ResponseFunctionToolCall


class DemoModel(Model):
    """Answers from its input alone. `sleep` is a parameter so that tests do not wait."""

    def __init__(self, *, sleep: Sleep = asyncio.sleep) -> None:
        self._sleep = sleep

    async def get_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],
        model_settings: ModelSettings,
        tools: list[Tool],
        *_: Any,  # noqa: ANN401 - what else Model is given, it does not need
        **__: Any,  # noqa: ANN401 - as above
    ) -> ModelResponse:
        """The whole answer at once: a message or a tool call."""
        return ModelResponse(output=[output_for(input, tools)], usage=Usage(), response_id=None)

    async def stream_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],
        model_settings: ModelSettings,
        tools: list[Tool],
        *_: Any,  # noqa: ANN401 - what else Model is given, it does not need
        **__: Any,  # noqa: ANN401 - as above
    ) -> AsyncIterator[TResponseStreamEvent]:
        """The same answer, as the Responses API streams it: one delta per word, PAUSE_S apart."""
        for number, event in enumerate(events_of(output_for(input, tools))):
            if isinstance(event, r.ResponseTextDeltaEvent):
                await self._sleep(PAUSE_S)
            event.sequence_number = number
            yield event


def output_for(input: str | list[TResponseInputItem], tools: Sequence[Tool]) -> Output:
    items: list[Any] = [{"role": "user", "content": input}] if isinstance(input, str) else list(input)
    last = items[-1] if items else {}
    if last.get("type") == "function_call_output":
        return message_of(f"I called the tool, and it answered: {last['output']}")
    messages = [_text(item) for item in reversed(items) if item.get("role") == "user"]
    newest = next((text for text in messages if not text.startswith(ABOUT_MENTIONS)), "")
    if count := COUNT_TO.search(newest):
        return message_of(" ".join(map(str, range(1, int(count[1]) + 1))))
    for tool in tools:
        if isinstance(tool, FunctionTool) and f" {_words(tool.name)} " in f" {_words(newest)} ":
            return _called(tool, newest)
    return message_of(_answer(newest, len([item for item in items if item.get("role")]), tools))


def _called(tool: FunctionTool, message: str) -> Output:
    """A call with the arguments that the message has as a JSON object, or the question for them."""
    schema = tool.params_json_schema
    required = schema.get("required", [])
    arguments: Any = {}
    start = message.find("{")
    if start >= 0:
        try:
            arguments, _ = json.JSONDecoder().raw_decode(message[start:])
        except (ValueError, RecursionError):
            arguments = {}
    if all(name in arguments for name in required):
        return tool_call_of(tool.name, json.dumps(arguments))
    examples = {name: EXAMPLES.get(schema.get("properties", {}).get(name, {}).get("type"), "...") for name in required}
    return message_of(
        f"“{_words(tool.name)}” needs arguments, which the demo model cannot choose. Write them as JSON:\n\n"
        f"`{_words(tool.name)} {json.dumps(examples)}`"
    )


def _words(name: str) -> str:
    """Lower-case words, so that `get-env`, `get_env` and “Get env” name the same tool."""
    return " ".join(re.findall(r"[^\W_]+", name.lower()))


def _answer(message: str, messages: int, tools: Sequence[Tool]) -> str:
    quote = message if len(message) <= QUOTE_CHARS else message[:QUOTE_CHARS] + "..."
    names = ", ".join(f"“{_words(tool.name)}”" for tool in tools if isinstance(tool, FunctionTool))
    return (
        f"You said: “{quote}”\n\n"
        "I am the **demo model**: no model key is set here, so I cannot think, but everything else is real. "
        "This answer comes word by word through the agent, the chat server and the streaming runtime, and "
        f"is kept in the store; I was shown {messages} message{'' if messages == 1 else 's'} of this thread.\n\n"
        "- To talk to a real model, set `OPENAI_API_KEY` and start again.\n"
        f"- To see a tool at work, ask me for one by its name: {names or 'this agent has none yet'}.\n"
        "- To change what I am, open the folder `lambda_src/agent/`."
    )


def _text(item: dict[str, Any]) -> str:
    content = item.get("content", "")
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def message_of(text: str) -> r.ResponseOutputMessage:
    """A finished message of a model."""
    content = r.ResponseOutputText(text=text, type="output_text", annotations=[], logprobs=[])
    return r.ResponseOutputMessage(
        id=f"msg_{uuid.uuid4().hex}", type="message", role="assistant", status="completed", content=[content]
    )


def tool_call_of(name: str, arguments: str = "{}") -> r.ResponseFunctionToolCall:
    """A model's call of a tool."""
    call_id = f"call_{uuid.uuid4().hex}"
    return r.ResponseFunctionToolCall(
        id=f"fc_{uuid.uuid4().hex}",
        call_id=call_id,
        name=name,
        arguments=arguments,
        type="function_call",
        status="completed",
    )


def events_of(output: Output) -> list[TResponseStreamEvent]:
    """The Responses API's events for one output item, in order. The sender sets the sequence numbers."""
    place: dict[str, Any] = {"output_index": 0, "sequence_number": 0}
    opening = output.model_copy(
        update={"status": "in_progress"} | ({"content": []} if output.type == "message" else {})
    )
    return [
        r.ResponseCreatedEvent(response=_response([]), type="response.created", sequence_number=0),
        r.ResponseOutputItemAddedEvent(item=opening, type="response.output_item.added", **place),
        *(_part_events(output, place) if isinstance(output, r.ResponseOutputMessage) else ()),
        r.ResponseOutputItemDoneEvent(item=output, type="response.output_item.done", **place),
        r.ResponseCompletedEvent(response=_response([output]), type="response.completed", sequence_number=0),
    ]


def _part_events(message: r.ResponseOutputMessage, place: dict[str, Any]) -> list[TResponseStreamEvent]:
    part = message.content[0]
    assert isinstance(part, r.ResponseOutputText)
    at = {**place, "item_id": message.id, "content_index": 0}
    empty = part.model_copy(update={"text": ""})
    return [
        r.ResponseContentPartAddedEvent(part=empty, type="response.content_part.added", **at),
        *(
            r.ResponseTextDeltaEvent(delta=word, logprobs=[], type="response.output_text.delta", **at)
            for word in re.findall(r"\s*\S+\s*?", part.text)
        ),
        r.ResponseTextDoneEvent(text=part.text, logprobs=[], type="response.output_text.done", **at),
        r.ResponseContentPartDoneEvent(part=part, type="response.content_part.done", **at),
    ]


def _response(output: list[Output]) -> r.Response:
    return r.Response(
        id=f"resp_{uuid.uuid4().hex}",
        created_at=0,
        model="demo",
        object="response",
        output=list(output),
        parallel_tool_calls=False,
        tool_choice="auto",
        tools=[],
    )
