"""Generated images: stored as files, shown through renewed URLs, and sent back to the model in later turns."""

import base64
from typing import Any

import pytest

from tests.apps.chat import Chat, message
from tests.apps.full import ANN, PNG, FullApp, thread_of
from tests.fakes.image_model import Painter
from tests.fakes.model_api import sse
from tests.runs.model_streams import LLAMA, turn_over


async def generate_image(chat: Chat, text: str = "paint") -> tuple[str, list[dict[str, Any]]]:
    answer = await chat("threads.create", input=message(text))
    return thread_of(answer), answer.events


async def test_an_image_streams_from_partial_to_final_as_urls_and_never_as_bytes(full_app: FullApp) -> None:
    _, events = await generate_image(full_app.chat(model=Painter()))
    updates = [e["update"] for e in events if e.get("update", {}).get("type") == "generated_image.updated"]
    [final] = [e["item"] for e in events if e["type"] == "thread.item.done" and e["item"]["type"] == "generated_image"]
    assert len(updates) == 2
    assert updates[0]["progress"] < updates[1]["progress"]
    assert {update["image"]["id"] for update in updates} == {final["image"]["id"]}
    assert "ig_1" not in final["image"]["id"]
    assert final["image"]["url"].startswith("https://")
    assert base64.b64encode(PNG).decode() not in str(events)


async def test_the_file_is_stored_but_no_signed_url(full_app: FullApp) -> None:
    chat = full_app.chat(model=Painter())
    thread_id, _ = await generate_image(chat)
    image = (await chat("items.list", thread_id=thread_id, order="asc")).json["data"][1]["image"]
    assert full_app.aws.objects(full_app.bucket) == [f"kept/ann/{image['id']}/file"]
    assert f"/kept/ann/{image['id']}/file?" in image["url"]
    assert "X-Amz" not in "".join(await full_app.stored_lines(journals=True))


async def test_the_model_receives_its_image_again_or_a_note_if_the_file_is_gone(full_app: FullApp) -> None:
    painter = Painter()
    chat = full_app.chat(model=painter)
    thread_id, _ = await generate_image(chat)
    await chat("threads.add_user_message", thread_id=thread_id, input=message("larger"))
    assert base64.b64encode(PNG).decode() in str(painter.inputs[1])
    [key, _] = full_app.aws.objects(full_app.bucket)
    full_app.aws.s3.delete_object(Bucket=full_app.bucket, Key=key)
    await chat("threads.add_user_message", thread_id=thread_id, input=message("larger still"))
    assert "cannot be read any more" in str(painter.inputs[2])


async def test_two_images_with_the_same_vendor_id_are_two_files(full_app: FullApp) -> None:
    chat = full_app.chat(model=Painter())
    await generate_image(chat)
    await generate_image(chat, "paint again")
    assert len(full_app.aws.objects(full_app.bucket)) == 2


async def test_an_image_belongs_to_its_thread(full_app: FullApp) -> None:
    chat = full_app.chat(model=Painter())
    thread_id, events = await generate_image(chat)
    image_id = next(e["item"]["image"]["id"] for e in events if e.get("item", {}).get("image"))
    assert (await full_app.store.load_attachment(image_id, ANN)).thread_id == thread_id, (
        "deleting a thread deletes its attachments by this field"
    )


@pytest.mark.parametrize(
    ("image_bytes", "kind"), [(PNG, "png"), (b"\xff\xd8\xff\xe0 of light", "jpeg"), (b"RIFF\0\0\0\0WEBPVP8 ", "webp")]
)
async def test_an_image_is_stored_shown_and_sent_back_with_its_type(
    full_app: FullApp, image_bytes: bytes, kind: str
) -> None:
    painter = Painter(image_bytes)
    chat = full_app.chat(model=painter)
    thread_id, events = await generate_image(chat)
    image = next(e["item"]["image"] for e in events if e.get("item", {}).get("image"))
    stored = full_app.aws.s3.get_object(Bucket=full_app.bucket, Key=f"kept/ann/{image['id']}/file")
    assert (stored["ContentType"], stored["ContentDisposition"]) == (
        f"image/{kind}",
        f"attachment; filename*=UTF-8''{image['id']}.{kind}",
    )
    assert "response-content" not in image["url"], "S3 must send the type that is stored with the file"
    await chat("threads.add_user_message", thread_id=thread_id, input=message("larger"))
    assert f"data:image/{kind};base64,{base64.b64encode(image_bytes).decode()}" in str(painter.inputs[1])


IMAGE = {"type": "image_generation_call", "id": "ig_1", "status": "failed", "result": None}
IMAGE_EVENTS = [
    {"type": "response.output_item.added", "item": IMAGE | {"status": "in_progress"}, "output_index": 0},
    {"type": "response.output_item.done", "item": IMAGE, "output_index": 0},
]


@pytest.mark.parametrize("result", [None, "", "not base64!"])
async def test_a_failed_image_leaves_no_unfinished_item(result: str | None) -> None:
    failed = IMAGE_EVENTS[1] | {"item": IMAGE | {"result": result}}
    turn = await turn_over(sse(LLAMA[0], IMAGE_EVENTS[0], failed, *LLAMA[1:]))
    assert not turn.errors
    assert [item["type"] for item in turn.reloaded] == ["assistant_message"]
