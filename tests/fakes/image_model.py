"""Fake models that generate images: one streams an image as OpenAI's image tool does, one does so when prompted."""

import base64
from collections.abc import AsyncIterator
from typing import Any

from agents import Model, ModelResponse, Usage
from agents.items import TResponseStreamEvent
from openai.types import responses as r
from openai.types.responses.response_output_item import ImageGenerationCall

from lambda_src.models.demo_model import DemoModel, events_of, message_of
from tests.apps.chat import no_pause
from tests.apps.full import PNG


class Painter(Model):
    """Streams one image with two partial images and a constant id; records its inputs in `inputs`."""

    def __init__(self, picture: bytes = PNG) -> None:
        self.picture = picture
        self.inputs: list[Any] = []

    async def get_response(self, *_: Any, **__: Any) -> ModelResponse:
        return ModelResponse(output=[], usage=Usage(), response_id=None)

    async def stream_response(
        self, system_instructions: str | None, input: Any, *_: Any, **__: Any
    ) -> AsyncIterator[TResponseStreamEvent]:
        self.inputs.append(input)
        text_events = events_of(message_of("painted"))
        place: dict[str, Any] = {"output_index": 0, "sequence_number": 0}
        call = ImageGenerationCall(id="ig_1", status="in_progress", type="image_generation_call", result=None)
        yield text_events[0]
        yield r.ResponseOutputItemAddedEvent(item=call, type="response.output_item.added", **place)
        for number in range(2):
            yield r.ResponseImageGenCallPartialImageEvent(
                item_id="ig_1",
                partial_image_b64=base64.b64encode(self.picture + bytes([number])).decode(),
                partial_image_index=number,
                type="response.image_generation_call.partial_image",
                **place,
            )
        final = call.model_copy(update={"status": "completed", "result": base64.b64encode(self.picture).decode()})
        yield r.ResponseOutputItemDoneEvent(item=final, type="response.output_item.done", **place)
        for event in text_events[1:]:
            yield event


class DemoPainter(DemoModel):
    """The demo model without pauses; generates an image when the last message contains "paint"."""

    def __init__(self) -> None:
        super().__init__(sleep=no_pause)

    def stream_response(
        self, system_instructions: str | None, input: Any, *args: Any, **kwargs: Any
    ) -> AsyncIterator[TResponseStreamEvent]:
        if "paint" in str(input[-1]):
            return Painter().stream_response(system_instructions, input, *args, **kwargs)
        return super().stream_response(system_instructions, input, *args, **kwargs)
