"""Generated images: partial and final ones are files, shown by URLs that are renewed, and given back to the model."""

import base64
from typing import Any

import pytest

from tests.apps.chat import Chat, message
from tests.apps.full import ANN, PNG, House, thread_of
from tests.fakes.image_model import Painter


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
    assert "X-Amz" not in "".join(await house.kept(journals=True))


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


@pytest.mark.parametrize(
    ("picture", "kind"), [(PNG, "png"), (b"\xff\xd8\xff\xe0 of light", "jpeg"), (b"RIFF\0\0\0\0WEBPVP8 ", "webp")]
)
async def test_a_picture_is_kept_shown_and_given_back_as_what_it_is(house: House, picture: bytes, kind: str) -> None:
    painter = Painter(picture)
    chat = house.chat(model=painter)
    thread_id, events = await painted(chat)
    image = next(e["item"]["image"] for e in events if e.get("item", {}).get("image"))
    kept = house.aws.s3.get_object(Bucket=house.bucket, Key=f"kept/ann/{image['id']}/file")
    assert (kept["ContentType"], kept["ContentDisposition"]) == (
        f"image/{kind}",
        f"attachment; filename*=UTF-8''{image['id']}.{kind}",
    )
    assert "response-content" not in image["url"], "the type that stands beside the file is the one that is sent"
    await chat("threads.add_user_message", thread_id=thread_id, input=message("larger"))
    assert f"data:image/{kind};base64,{base64.b64encode(picture).decode()}" in str(painter.shown[1])
