"""Uploads as a browser does them, presigned and through the function: real URLs, a real PUT, the emulated Lambda."""

import asyncio
from typing import Any

import httpx2
import pytest

from lambda_src.http.multipart import MAX_BYTES
from lambda_src.settings import MAX_BODY_BYTES
from tests.apps.chat import message
from tests.apps.emulated import Client
from tests.apps.full import PNG, items_of, thread_of

SWEPT_WITHIN_S = 30

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def created(ann: Client, data: bytes = PNG) -> dict[str, Any]:
    answer = await ann("attachments.create", name="a.png", size=len(data), mime_type="image/png")
    attachment: dict[str, Any] = answer.json
    return attachment


async def put(attachment: dict[str, Any], data: bytes) -> int:
    """What ChatKit's client does with the descriptor."""
    descriptor = attachment["upload_descriptor"]
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as http:
        answer = await http.request(
            descriptor["method"], descriptor["url"], content=data, headers=descriptor["headers"]
        )
    return answer.status_code


async def fetched(url: str) -> httpx2.Response:
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as http:
        return await http.get(url)


async def test_a_file_goes_up_is_kept_and_comes_back_by_its_preview(ann: Client) -> None:
    attachment = await created(ann)
    assert await put(attachment, PNG) == 200
    before = await fetched(attachment["preview_url"])
    assert (before.content, before.headers["content-type"]) == (PNG, "application/octet-stream"), "nobody looked yet"
    assert before.headers["content-disposition"].startswith("attachment")
    answer = await ann("threads.create", input=message("look", attachments=[attachment["id"]]))
    thread_id = thread_of(answer)
    shown = (await ann("threads.get_by_id", thread_id=thread_id)).json["items"]["data"][0]["attachments"][0]
    preview = await fetched(shown["preview_url"])
    assert (preview.status_code, preview.content, preview.headers["content-type"]) == (200, PNG, "image/png")
    assert preview.headers["content-disposition"].startswith("attachment")


async def test_the_url_works_once(ann: Client) -> None:
    attachment = await created(ann)
    assert [await put(attachment, PNG), await put(attachment, PNG)] == [200, 412]


async def test_the_url_takes_that_length_and_that_type_only(ann: Client) -> None:
    attachment = await created(ann)
    assert await put(attachment, PNG + b"longer") == 403
    descriptor = {**attachment["upload_descriptor"], "headers": {"content-type": "text/html", "if-none-match": "*"}}
    assert await put({"upload_descriptor": descriptor}, PNG) == 403
    assert await put(attachment, PNG) == 200


async def test_a_png_that_is_html_is_refused_and_the_chat_goes_on(ann: Client) -> None:
    html = b"<script>alert(1)</script>".ljust(len(PNG))
    attachment = await created(ann)
    await put(attachment, html)
    answer = await ann("threads.create", input=message("look", attachments=[attachment["id"]]))
    assert (answer.status, "does not match its announced" in answer.json["message"]) == (422, True)
    later = await ann("threads.create", input=message("never mind"))
    assert items_of(later)[-1]["type"] == "assistant_message"


async def test_a_file_that_never_came_is_a_clear_text(ann: Client) -> None:
    attachment = await created(ann)
    answer = await ann("threads.create", input=message("look", attachments=[attachment["id"]]))
    assert (answer.status, "was not uploaded" in answer.json["message"]) == (409, True)


async def test_deleting_the_thread_takes_the_file_along(ann: Client) -> None:
    attachment = await created(ann)
    await put(attachment, PNG)
    answer = await ann("threads.create", input=message("look", attachments=[attachment["id"]]))
    thread_id = thread_of(answer)
    shown = (await ann("threads.get_by_id", thread_id=thread_id)).json["items"]["data"][0]["attachments"][0]
    await ann("threads.delete", thread_id=thread_id)
    async with asyncio.timeout(SWEPT_WITHIN_S):  # the deleting invocation sweeps after its answer
        while (await fetched(shown["preview_url"])).status_code != 404:  # noqa: ASYNC110 - S3 tells nobody
            await asyncio.sleep(0.05)


async def test_a_file_larger_than_a_message_goes_through_the_emulated_lambda(ann: Client) -> None:
    data = PNG + b"p" * 4_000_000
    assert len(data) > MAX_BODY_BYTES
    async with httpx2.AsyncClient(trust_env=False, timeout=60, headers={"authorization": "Bearer ann"}) as http:
        url = f"{ann.emulator.url}/chatkit/upload"
        attachment = (await http.post(url, files={"file": ("a.png", data, "image/png")})).json()
        assert (await http.get(attachment["preview_url"])).content == data
        over = await http.post(url, files={"file": ("a.png", PNG + b"p" * MAX_BYTES, "image/png")})
    assert (over.status_code, over.json()["error"]) == (413, "too_large")
    answer = await ann("threads.create", input=message("look", attachments=[attachment["id"]]))
    shown = (await ann("threads.get_by_id", thread_id=thread_of(answer))).json["items"]["data"][0]["attachments"]
    assert [one["id"] for one in shown] == [attachment["id"]]
