"""Uploads as a browser sends them, with presigned URLs and through the function: real PUTs and the emulated Lambda."""

import asyncio
from typing import Any

import httpx2
import pytest

from lambda_src.http.multipart import MAX_BYTES
from lambda_src.settings import MAX_BODY_BYTES
from tests.apps.chat import message
from tests.apps.emulated import Client
from tests.apps.full import PNG, items_of, thread_of

SWEEP_TIMEOUT_S = 30

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("e2e uploads")]


async def create(ann: Client, data: bytes = PNG) -> dict[str, Any]:
    response = await ann("attachments.create", name="a.png", size=len(data), mime_type="image/png")
    attachment: dict[str, Any] = response.json
    return attachment


async def put(attachment: dict[str, Any], data: bytes) -> int:
    """Uploads the data as ChatKit's client does; returns the status code."""
    descriptor = attachment["upload_descriptor"]
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as http:
        response = await http.request(
            descriptor["method"], descriptor["url"], content=data, headers=descriptor["headers"]
        )
    return response.status_code


async def fetch(url: str) -> httpx2.Response:
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as http:
        return await http.get(url)


async def test_a_file_is_uploaded_stored_and_served_by_its_preview_url(ann: Client) -> None:
    attachment = await create(ann)
    assert await put(attachment, PNG) == 200
    unchecked = await fetch(attachment["preview_url"])
    assert (unchecked.content, unchecked.headers["content-type"]) == (PNG, "application/octet-stream"), (
        "not checked yet"
    )
    assert unchecked.headers["content-disposition"].startswith("attachment")
    response = await ann("threads.create", input=message("look", attachments=[attachment["id"]]))
    thread_id = thread_of(response)
    stored = (await ann("threads.get_by_id", thread_id=thread_id)).json["items"]["data"][0]["attachments"][0]
    preview = await fetch(stored["preview_url"])
    assert (preview.status_code, preview.content, preview.headers["content-type"]) == (200, PNG, "image/png")
    assert preview.headers["content-disposition"].startswith("attachment")


async def test_a_presigned_url_works_once(ann: Client) -> None:
    attachment = await create(ann)
    assert [await put(attachment, PNG), await put(attachment, PNG)] == [200, 412]


async def test_a_presigned_url_accepts_only_the_announced_length_and_type(ann: Client) -> None:
    attachment = await create(ann)
    assert await put(attachment, PNG + b"longer") == 403
    descriptor = {**attachment["upload_descriptor"], "headers": {"content-type": "text/html", "if-none-match": "*"}}
    assert await put({"upload_descriptor": descriptor}, PNG) == 403
    assert await put(attachment, PNG) == 200


async def test_html_announced_as_png_is_refused_and_the_chat_continues(ann: Client) -> None:
    html = b"<script>alert(1)</script>".ljust(len(PNG))
    attachment = await create(ann)
    await put(attachment, html)
    response = await ann("threads.create", input=message("look", attachments=[attachment["id"]]))
    assert (response.status, "does not match its announced" in response.json["message"]) == (422, True)
    later = await ann("threads.create", input=message("never mind"))
    assert items_of(later)[-1]["type"] == "assistant_message"


async def test_a_message_with_a_file_that_was_never_uploaded_gets_a_clear_error(ann: Client) -> None:
    attachment = await create(ann)
    response = await ann("threads.create", input=message("look", attachments=[attachment["id"]]))
    assert (response.status, "was not uploaded" in response.json["message"]) == (409, True)


async def test_deleting_a_thread_deletes_its_files(ann: Client) -> None:
    attachment = await create(ann)
    await put(attachment, PNG)
    response = await ann("threads.create", input=message("look", attachments=[attachment["id"]]))
    thread_id = thread_of(response)
    stored = (await ann("threads.get_by_id", thread_id=thread_id)).json["items"]["data"][0]["attachments"][0]
    await ann("threads.delete", thread_id=thread_id)
    async with asyncio.timeout(SWEEP_TIMEOUT_S):  # the function sweeps after it has sent its response
        while (await fetch(stored["preview_url"])).status_code != 404:  # noqa: ASYNC110 - S3 cannot notify us
            await asyncio.sleep(0.05)


async def test_a_file_larger_than_a_message_passes_through_the_emulated_lambda(ann: Client) -> None:
    data = PNG + b"p" * 4_000_000
    assert len(data) > MAX_BODY_BYTES
    async with httpx2.AsyncClient(trust_env=False, timeout=60, headers={"authorization": "Bearer ann"}) as http:
        url = f"{ann.emulator.url}/chatkit/upload"
        attachment = (await http.post(url, files={"file": ("a.png", data, "image/png")})).json()
        assert (await http.get(attachment["preview_url"])).content == data
        too_large = await http.post(url, files={"file": ("a.png", PNG + b"p" * MAX_BYTES, "image/png")})
    assert (too_large.status_code, too_large.json()["error"]) == (413, "too_large")
    response = await ann("threads.create", input=message("look", attachments=[attachment["id"]]))
    stored = (await ann("threads.get_by_id", thread_id=thread_of(response))).json["items"]["data"][0]["attachments"]
    assert [item["id"] for item in stored] == [attachment["id"]]
