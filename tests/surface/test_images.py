"""Generated images: partial and final ones are files, shown by URLs that are renewed, and given back to the model."""

import base64
from collections.abc import AsyncIterator
from typing import Any

from agents import Model, ModelResponse, Usage
from agents.items import TResponseStreamEvent
from openai.types import responses as r
from openai.types.responses.response_output_item import ImageGenerationCall

from lambda_src.demo_model import events_of, message_of
from tests.chat import Chat, message
from tests.surface.house import ANN, PNG, House, thread_of


class Painter(Model):
    """Paints one picture in two partial steps under a constant id; notes what it was shown."""

    def __init__(self) -> None:
        self.shown: list[Any] = []

    async def get_response(self, *_: Any, **__: Any) -> ModelResponse:
        return ModelResponse(output=[], usage=Usage(), response_id=None)

    async def stream_response(
        self, system_instructions: str | None, input: Any, *_: Any, **__: Any
    ) -> AsyncIterator[TResponseStreamEvent]:
        self.shown.append(input)
        said = events_of(message_of("painted"))
        place: dict[str, Any] = {"output_index": 0, "sequence_number": 0}
        call = ImageGenerationCall(id="ig_1", status="in_progress", type="image_generation_call", result=None)
        yield said[0]
        yield r.ResponseOutputItemAddedEvent(item=call, type="response.output_item.added", **place)
        for number in range(2):
            yield r.ResponseImageGenCallPartialImageEvent(
                item_id="ig_1",
                partial_image_b64=base64.b64encode(PNG + bytes([number])).decode(),
                partial_image_index=number,
                type="response.image_generation_call.partial_image",
                **place,
            )
        final = call.model_copy(update={"status": "completed", "result": base64.b64encode(PNG).decode()})
        yield r.ResponseOutputItemDoneEvent(item=final, type="response.output_item.done", **place)
        for event in said[1:]:
            yield event


async def painted(chat: Chat, text: str = "paint") -> tuple[str, list[dict[str, Any]]]:
    answer = await chat("threads.create", input=message(text))
    return thread_of(answer), answer.events


async def test_a_picture_streams_from_partial_to_final_as_urls_never_as_bytes(house: House) -> None:
    _, events = await painted(house.chat(model=Painter()))
    updates = [e["update"] for e in events if e.get("update", {}).get("type") == "generated_image.updated"]
    [final] = [e["item"] for e in events if e["type"] == "thread.item.done" and e["item"]["type"] == "generated_image"]
    assert len(updates) == 2
    assert updates[0]["progress"] < updates[1]["progress"]
    assert {update["image"]["id"] for update in updates} == {final["image"]["id"]}
    assert "ig_1" not in final["image"]["id"]
    assert final["image"]["url"].startswith("https://")
    assert base64.b64encode(PNG).decode() not in str(events)


async def test_the_file_is_kept_and_no_live_url_is(house: House) -> None:
    chat = house.chat(model=Painter())
    thread_id, _ = await painted(chat)
    image = (await chat("items.list", thread_id=thread_id, order="asc")).json["data"][1]["image"]
    assert house.aws.objects(house.bucket) == [f"kept/ann/{image['id']}/file"]
    assert f"/kept/ann/{image['id']}/file?" in image["url"]
    assert "X-Amz" not in "".join(await house.kept())


async def test_the_model_is_shown_its_picture_and_a_vanished_one_as_a_sentence(house: House) -> None:
    painter = Painter()
    chat = house.chat(model=painter)
    thread_id, _ = await painted(chat)
    await chat("threads.add_user_message", thread_id=thread_id, input=message("larger"))
    assert base64.b64encode(PNG).decode() in str(painter.shown[1])
    [key, _] = house.aws.objects(house.bucket)
    house.aws.s3.delete_object(Bucket=house.bucket, Key=key)
    await chat("threads.add_user_message", thread_id=thread_id, input=message("larger still"))
    assert "cannot be read any more" in str(painter.shown[2])


async def test_two_pictures_under_one_constant_id_are_two_files(house: House) -> None:
    chat = house.chat(model=Painter())
    await painted(chat)
    await painted(chat, "paint again")
    assert len(house.aws.objects(house.bucket)) == 2


async def test_a_picture_goes_with_its_thread(house: House) -> None:
    chat = house.chat(model=Painter())
    thread_id, events = await painted(chat)
    image_id = next(e["item"]["image"]["id"] for e in events if e.get("item", {}).get("image"))
    assert (await house.store.load_attachment(image_id, ANN)).thread_id == thread_id, "that is what the cascade goes by"
