"""Generated images: partial and final ones are files, shown by URLs that are renewed, and given back to the model."""

import base64
from typing import Any

import pytest

from tests.apps.chat import Chat, message
from tests.apps.full import ANN, PNG, FullApp, thread_of
from tests.fakes.image_model import Painter


async def painted(chat: Chat, text: str = "paint") -> tuple[str, list[dict[str, Any]]]:
    answer = await chat("threads.create", input=message(text))
    return thread_of(answer), answer.events


async def test_a_picture_streams_from_partial_to_final_as_urls_never_as_bytes(full_app: FullApp) -> None:
    _, events = await painted(full_app.chat(model=Painter()))
    updates = [e["update"] for e in events if e.get("update", {}).get("type") == "generated_image.updated"]
    [final] = [e["item"] for e in events if e["type"] == "thread.item.done" and e["item"]["type"] == "generated_image"]
    assert len(updates) == 2
    assert updates[0]["progress"] < updates[1]["progress"]
    assert {update["image"]["id"] for update in updates} == {final["image"]["id"]}
    assert "ig_1" not in final["image"]["id"]
    assert final["image"]["url"].startswith("https://")
    assert base64.b64encode(PNG).decode() not in str(events)


async def test_the_file_is_kept_and_no_live_url_is(full_app: FullApp) -> None:
    chat = full_app.chat(model=Painter())
    thread_id, _ = await painted(chat)
    image = (await chat("items.list", thread_id=thread_id, order="asc")).json["data"][1]["image"]
    assert full_app.aws.objects(full_app.bucket) == [f"kept/ann/{image['id']}/file"]
    assert f"/kept/ann/{image['id']}/file?" in image["url"]
    assert "X-Amz" not in "".join(await full_app.kept(journals=True))


async def test_the_model_is_shown_its_picture_and_a_vanished_one_as_a_sentence(full_app: FullApp) -> None:
    painter = Painter()
    chat = full_app.chat(model=painter)
    thread_id, _ = await painted(chat)
    await chat("threads.add_user_message", thread_id=thread_id, input=message("larger"))
    assert base64.b64encode(PNG).decode() in str(painter.shown[1])
    [key, _] = full_app.aws.objects(full_app.bucket)
    full_app.aws.s3.delete_object(Bucket=full_app.bucket, Key=key)
    await chat("threads.add_user_message", thread_id=thread_id, input=message("larger still"))
    assert "cannot be read any more" in str(painter.shown[2])


async def test_two_pictures_under_one_constant_id_are_two_files(full_app: FullApp) -> None:
    chat = full_app.chat(model=Painter())
    await painted(chat)
    await painted(chat, "paint again")
    assert len(full_app.aws.objects(full_app.bucket)) == 2


async def test_a_picture_goes_with_its_thread(full_app: FullApp) -> None:
    chat = full_app.chat(model=Painter())
    thread_id, events = await painted(chat)
    image_id = next(e["item"]["image"]["id"] for e in events if e.get("item", {}).get("image"))
    assert (await full_app.store.load_attachment(image_id, ANN)).thread_id == thread_id, (
        "that is what the cascade goes by"
    )


@pytest.mark.parametrize(
    ("picture", "kind"), [(PNG, "png"), (b"\xff\xd8\xff\xe0 of light", "jpeg"), (b"RIFF\0\0\0\0WEBPVP8 ", "webp")]
)
async def test_a_picture_is_kept_shown_and_given_back_as_what_it_is(
    full_app: FullApp, picture: bytes, kind: str
) -> None:
    painter = Painter(picture)
    chat = full_app.chat(model=painter)
    thread_id, events = await painted(chat)
    image = next(e["item"]["image"] for e in events if e.get("item", {}).get("image"))
    kept = full_app.aws.s3.get_object(Bucket=full_app.bucket, Key=f"kept/ann/{image['id']}/file")
    assert (kept["ContentType"], kept["ContentDisposition"]) == (
        f"image/{kind}",
        f"attachment; filename*=UTF-8''{image['id']}.{kind}",
    )
    assert "response-content" not in image["url"], "the type that stands beside the file is the one that is sent"
    await chat("threads.add_user_message", thread_id=thread_id, input=message("larger"))
    assert f"data:image/{kind};base64,{base64.b64encode(picture).decode()}" in str(painter.shown[1])
