"""The model's vendor: answers that stream, stall, fail and call tools. Records what it was sent and what it charged."""

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx2
import openai
from agents import (
    Agent,
    Model,
    ModelProvider,
    ModelResponse,
    ModelSettings,
    Tool,
    TResponseInputItem,
    Usage,
    function_tool,
)
from agents.items import TResponseStreamEvent
from openai.types import responses as r

from lambda_src.models.demo_model import Output, events_of, message_of, tool_call_of
from tests.simulation.sources import MACHINE, Machine
from tests.simulation.trace import Trace

SENT = re.compile(r"~m(\d+)~")
CHARS_PER_TOKEN = 4
SLOW_TOOL = "use the slow tool"
GUARDED = "use the tool that needs approval"
LONG = "answer at length"
PONDERS_S = 4.0  # long enough for a Stop to be noticed
Kind = Literal["answer", "title", "call"]


@dataclass(eq=False)
class ModelRun:
    """One request to the model: its input, and every word that it sent, with the time."""

    number: int
    kind: Kind
    text: str  # the whole input, as text
    send: int | None  # the number of the message that it answers
    machine: Machine | None
    began_ns: int
    limit: int | None
    words: list[tuple[int, str]] = field(default_factory=list)
    ended: Literal["whole", "failed", "cancelled"] | None = None
    ended_ns: int | None = None
    planned: int = 0  # tokens of the whole answer

    @property
    def output(self) -> str:
        """What it has sent."""
        return "".join(word for _, word in self.words)

    @property
    def is_running(self) -> bool:
        """Whether the vendor still generates for a process that lives."""
        return self.ended is None and (self.machine is None or self.machine.state != "dead")

    @property
    def tokens(self) -> int:
        """What the vendor charges: of a process that died, the whole answer."""
        written = self.planned if self.ended is None else len(self.words)
        return len(self.text) // CHARS_PER_TOKEN + written


class Vendor:
    """All models. `rng_for` gives each run its own numbers; `on_event` is called for each word."""

    def __init__(
        self, trace: Trace, rng_for: Callable[[str], random.Random], *, trouble: float, reports_usage: bool
    ) -> None:
        self.runs: list[ModelRun] = []
        self.reports_usage = reports_usage
        self.trouble = trouble
        self.ponders = False  # answers may pause before their first word
        self.approved: Counter[int] = Counter()  # message -> how often the tool ran that needs approval
        self.on_run: Callable[[ModelRun], None] = lambda run: None
        self._trace, self._rng_for = trace, rng_for

    def build_agent(self) -> Agent[Any]:
        """The agent of the simulated deployment."""

        @function_tool(needs_approval=True)
        async def guarded_tool(message: int) -> str:
            """Does something that the user must allow."""
            self.approved[message] += 1
            return "done"

        tools: list[Tool] = [slow_tool, guarded_tool]
        return Agent(name="Simulated", instructions="Answer.", model="simulated", tools=tools)

    def provider(self) -> ModelProvider:
        """For a run config."""
        return _Provider(self)

    def begin(self, input: str | list[TResponseInputItem], system: str | None, settings: ModelSettings) -> ModelRun:
        """A request arrives."""
        text = json.dumps(input, ensure_ascii=False)
        sent = SENT.findall(_newest(input))
        kind: Kind = "title" if system is not None and system.startswith("Name the topic") else "answer"
        send = int(sent[-1]) if sent else None
        run = ModelRun(
            len(self.runs), kind, f"{system}{text}", send, MACHINE.get(), self._trace.now_ns, settings.max_tokens
        )
        self.runs.append(run)
        self._trace.add("model", run.number, run.kind, "begins", f"m{run.send}")
        self.on_run(run)
        return run

    def end(self, run: ModelRun, how: Literal["whole", "failed", "cancelled"]) -> None:
        """A request ends."""
        if run.ended is None:
            run.ended, run.ended_ns = how, self._trace.now_ns
            self._trace.add("model", run.number, "ends", how, len(run.words))

    async def stream(
        self, run: ModelRun, input: str | list[TResponseInputItem], tools: list[Tool]
    ) -> AsyncIterator[TResponseStreamEvent]:
        """The events of a run, with pauses."""
        rng = self._rng_for(f"model/{run.number}")
        output = self._output(run, input, tools, rng)
        fails_at = rng.randrange(12) if rng.random() < self.trouble else None
        stalls_at = rng.randrange(12) if rng.random() < self.trouble else None
        pace_s = rng.choice((0.005, 0.02, 0.05, 0.2, 0.6))
        await asyncio.sleep(rng.choice((0.01, 0.3, 1.5)))
        if fails_at == 0:
            raise _vendor_error(rng)
        for number, event in enumerate(events_of(output)):
            if isinstance(event, r.ResponseTextDeltaEvent):
                await asyncio.sleep(pace_s * rng.uniform(0.2, 2))
                if self.ponders and not run.words:
                    await asyncio.sleep(PONDERS_S * (run.number % 2))
                if len(run.words) == stalls_at:
                    await asyncio.sleep(rng.choice((3.0, 12.0, 45.0)))
                if len(run.words) == fails_at:
                    raise _vendor_error(rng)
                run.words.append((self._trace.now_ns, event.delta))
            if isinstance(event, r.ResponseCompletedEvent):
                event.response.usage = _usage(run) if self.reports_usage else None
                run.planned = len(run.words)
            event.sequence_number = number
            yield event

    def _output(
        self, run: ModelRun, input: str | list[TResponseInputItem], tools: list[Tool], rng: random.Random
    ) -> Output:
        last: Any = input[-1] if isinstance(input, list) and input else {}
        if tools and SLOW_TOOL in _newest(input) and last.get("type") != "function_call_output":
            run.kind = "call"
            return tool_call_of("slow_tool", "{}")
        if tools and GUARDED in _newest(input) and last.get("type") != "function_call_output":
            run.kind = "call"
            return tool_call_of("guarded_tool", json.dumps({"message": run.send}))
        words = rng.randrange(60, 200) if LONG in _newest(input) else rng.randrange(1, 25)
        run.planned = words = min(words, run.limit or words)
        return message_of(" ".join(f"a{run.number}.{number}" for number in range(words)))


class _Provider(ModelProvider):
    def __init__(self, vendor: Vendor) -> None:
        self._vendor = vendor

    def get_model(self, model_name: str | None) -> Model:
        return _Model(self._vendor)


class _Model(Model):
    def __init__(self, vendor: Vendor) -> None:
        self._vendor = vendor

    async def get_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],
        model_settings: ModelSettings,
        tools: list[Tool],
        *_: Any,
        **__: Any,
    ) -> ModelResponse:
        output: list[Any] = []
        used: r.ResponseUsage | None = None
        async for event in self.stream_response(system_instructions, input, model_settings, tools):
            if isinstance(event, r.ResponseCompletedEvent):
                output = list(event.response.output)
                used = event.response.usage
        usage = Usage(requests=1)
        if used is not None:
            usage.input_tokens, usage.output_tokens = used.input_tokens, used.output_tokens
            usage.total_tokens = used.total_tokens
        return ModelResponse(output=output, usage=usage, response_id=None)

    async def stream_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],
        model_settings: ModelSettings,
        tools: list[Tool],
        *_: Any,
        **__: Any,
    ) -> AsyncIterator[TResponseStreamEvent]:
        run = self._vendor.begin(input, system_instructions, model_settings)
        how: Literal["whole", "failed", "cancelled"] = "cancelled"
        try:
            async for event in self._vendor.stream(run, input, tools):
                yield event
            how = "whole"
        except openai.APIError:
            how = "failed"
            raise
        finally:
            self._vendor.end(run, how)


@function_tool
async def slow_tool() -> str:
    """Takes some seconds."""
    await asyncio.sleep(2.5)
    return "done"


def _newest(input: str | list[TResponseInputItem]) -> str:
    """The newest message of the user."""
    if isinstance(input, str):
        return input
    messages = [item for item in input if item.get("role") == "user"]
    return json.dumps(messages[-1], ensure_ascii=False) if messages else ""


def _usage(run: ModelRun) -> r.ResponseUsage:
    tokens_in, tokens_out = len(run.text) // CHARS_PER_TOKEN, len(run.words)
    usage: dict[str, Any] = {
        "input_tokens": tokens_in,
        "output_tokens": tokens_out,
        "total_tokens": tokens_in + tokens_out,
    }
    usage |= {"input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}}
    return r.ResponseUsage.model_validate(usage | {"output_tokens_details": {"reasoning_tokens": 0}})


def _vendor_error(rng: random.Random) -> openai.APIError:
    request = httpx2.Request("POST", "https://model.invalid")
    if rng.random() < 0.5:
        return openai.APIConnectionError(request=request)
    return openai.InternalServerError("simulated", response=httpx2.Response(500, request=request), body=None)
