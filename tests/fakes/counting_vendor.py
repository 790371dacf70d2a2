"""A fake model vendor, in this process, that records the tokens that it has reported for each message.

The first word of a message selects the behavior, and the message is the label of its turn. Every count is different, so
that a sum shows which calls it contains.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from agents import Model, ModelProvider, ModelResponse, TResponseInputItem, Usage
from agents.items import TResponseStreamEvent
from openai.types import responses as r
from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails, ResponseUsage

from lambda_src.models.demo_model import events_of, message_of, tool_call_of

MODEL = "gpt-6-luna-2026-11-01"
TOOL = "look_up"
STOP, KILL = "stop", "kill"  # a model that waits for the end of its turn
OPEN = frozenset({STOP, KILL})


class CountingVendor(ModelProvider):
    """The vendor: `reported` has the input, cached and output tokens of each label, `uncounted` the labels of calls
    whose tokens it did not report.

    `waits` is called when the model of a message that begins with `stop` or `kill` has said its first word.
    """

    def __init__(self, waits: Callable[[str], Awaitable[None]]) -> None:
        self.reported: dict[str, Counter[str]] = {}
        self.uncounted: set[str] = set()
        self.waits = waits
        self._calls = 0

    def get_model(self, model_name: str | None) -> Model:
        """The vendor has one model."""
        return _CountingModel(self)

    def report(self, label: str) -> ResponseUsage:
        """Count a call, and return its tokens."""
        self._calls += 1
        tokens = Counter(tokens_in=1_000 + self._calls, tokens_cached=self._calls % 7, tokens_out=10 + self._calls % 91)
        self.reported.setdefault(label, Counter()).update(tokens)
        return ResponseUsage(
            input_tokens=tokens["tokens_in"],
            input_tokens_details=InputTokensDetails(cached_tokens=tokens["tokens_cached"], cache_write_tokens=0),
            output_tokens=tokens["tokens_out"],
            output_tokens_details=OutputTokensDetails(reasoning_tokens=0),
            total_tokens=tokens["tokens_in"] + tokens["tokens_out"],
        )


class _CountingModel(Model):
    def __init__(self, vendor: CountingVendor) -> None:
        self._vendor = vendor

    async def get_response(
        self, system_instructions: str | None, input: str | list[TResponseInputItem], *_: Any, **__: Any
    ) -> ModelResponse:
        """Answer a request for a title; one in which the message says so never ends."""
        label = _label(input)
        if "without title" in label:
            self._vendor.uncounted.add(label)
            await asyncio.Event().wait()
        counted = self._vendor.report(label)
        usage = Usage(
            requests=1,
            input_tokens=counted.input_tokens,
            input_tokens_details=counted.input_tokens_details,
            output_tokens=counted.output_tokens,
            total_tokens=counted.total_tokens,
        )
        return ModelResponse(output=[message_of("A title")], usage=usage, response_id=None)

    async def stream_response(
        self, system_instructions: str | None, input: str | list[TResponseInputItem], *_: Any, **__: Any
    ) -> AsyncIterator[TResponseStreamEvent]:
        """Answer a message."""
        label = _label(input)
        behavior = label.split()[0]
        is_after_tool = isinstance(input, list) and dict(input[-1]).get("type") == "function_call_output"
        calls_tool = not is_after_tool and (behavior == "tool" or "after a tool" in label)
        for number, event in enumerate(events_of(tool_call_of(TOOL) if calls_tool else message_of("Seven words."))):
            if isinstance(event, r.ResponseTextDeltaEvent) and not calls_tool:
                if behavior in OPEN:
                    self._vendor.uncounted.add(label)
                    await self._vendor.waits(label)
                    await asyncio.Event().wait()
                if behavior == "fail":
                    self._vendor.uncounted.add(label)
                    raise ConnectionError("the vendor hung up")
            if isinstance(event, r.ResponseCreatedEvent | r.ResponseCompletedEvent):
                event.response.model = MODEL
            if isinstance(event, r.ResponseCompletedEvent):
                if behavior == "uncounted":
                    self._vendor.uncounted.add(label)
                else:
                    event.response.usage = self._vendor.report(label)
            event.sequence_number = number
            yield event


def _label(sent: str | list[TResponseInputItem]) -> str:
    """The newest message of the user."""
    if isinstance(sent, str):
        return sent
    texts = [_text(dict(item)) for item in sent if dict(item).get("role") == "user"]
    return texts[-1]


def _text(item: dict[str, Any]) -> str:
    content = item["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
