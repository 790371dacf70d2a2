"""ChatKit's direct uploads: a multipart form with a file goes through the function to S3, within limits."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from lambda_src.attachments.file_types import MAX_NAME_CHARS
from lambda_src.http.multipart import MAX_BYTES
from tests.apps.chat import Chat, message
from tests.apps.full import ANN, LIMITS, PNG, FullApp, full_app_without_files


async def send(chat: Chat, content: Any = None, *, path: str = "/chatkit/upload", **form: Any) -> httpx2.Response:
    """Upload as ChatKit's client does with `uploadStrategy: {type: "direct", uploadUrl}`."""
    headers = {"authorization": f"Bearer {chat.user}"} if chat.user else {}
    headers |= form.pop("headers", {})
    transport = httpx2.ASGITransport(app=chat.app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://chat.test", headers=headers) as http:
        return await http.post(path, content=content, **form)


async def upload(chat: Chat, data: bytes = PNG, *, name: str = "a.png", kind: str = "image/png") -> httpx2.Response:
    return await send(chat, files={"file": (name, data, kind)})


async def test_an_uploaded_file_works_like_any_other_attachment(full_app: FullApp) -> None:
    chat = full_app.chat()
    attachment = (await upload(chat)).json()
    assert (attachment["type"], attachment["name"], attachment["mime_type"]) == ("image", "a.png", "image/png")
    assert not {"upload_descriptor", "metadata", "thread_id"} & attachment.keys()
    assert f"/pending/ann/{attachment['id']}?" in attachment["preview_url"]
    assert full_app.aws.objects(full_app.bucket) == [f"pending/ann/{attachment['id']}"]
    answer = await chat("threads.create", input=message("look", attachments=[attachment["id"]]))
    assert answer.status == 200
    assert f"kept/ann/{attachment['id']}/file" in full_app.aws.objects(full_app.bucket)
    assert "X-Amz" not in (await full_app.store.load_attachment(attachment["id"], ANN)).model_dump_json()


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"name": "a.html", "kind": "text/html"}, 422, "Accepted types"),
    ({"name": "a.svg", "kind": "image/svg+xml"}, 422, "Accepted types"),
    ({"data": b"<script>alert(1)</script>"}, 422, "does not match its announced"),
    ({"data": b""}, 422, "empty"),
    ({"data": PNG + b"x" * LIMITS.max_image_bytes}, 413, "1,000 bytes"),
    ({"name": " "}, 422, "name"),
    ({"name": "a" * (MAX_NAME_CHARS + 1)}, 422, "name"),
    ({"data": b"\xff\xfe", "name": "a.txt", "kind": "text/plain"}, 422, "does not match its announced"),
]


@pytest.mark.parametrize(("file", "status", "words"), REFUSED, ids=lambda value: str(value)[:40])
async def test_an_invalid_file_is_refused_with_a_message_and_not_stored(
    full_app: FullApp, file: dict[str, Any], status: int, words: str
) -> None:
    answer = await upload(full_app.chat(), **file)
    assert (answer.status_code, words in answer.json()["message"]) == (status, True)
    assert full_app.aws.objects(full_app.bucket) == []


FORM = "multipart/form-data; boundary=b"
NOT_FORMS: list[tuple[str, bytes]] = [
    ("application/json", b"{}"), ("", b""), ("multipart/form-data", b""), ("multipart/form-data; boundary=", b"x"),
    (FORM, b""), (FORM, b"nonsense"), (FORM, b"--b--\r\n"), (FORM, b"--b\r\n\r\nno headers\r\n--b--\r\n"),
    (FORM, b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nnot a file\r\n--b--\r\n'),
    (FORM, b'--b\r\nContent-Disposition: form-data; name="other"; filename="a"\r\n\r\nx\r\n--b--\r\n'),
    (FORM, b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\ncut off'),
    (FORM, b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n'
           b'--b\r\nContent-Disposition: form-data; name="file"; filename="b"\r\n\r\ny\r\n--b--\r\n'),
    (FORM, b"--b\r\n" + b"x" * 20_000), ("multipart/form-data; boundary=\xe9", b"x"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "body"), NOT_FORMS, ids=lambda value: str(value)[-60:])
async def test_an_invalid_form_is_refused_with_a_message(full_app: FullApp, kind: str, body: bytes) -> None:
    answer = await send(full_app.chat(), body, headers={"content-type": kind.encode("latin-1")})
    assert (answer.status_code, answer.json()["error"]) == (422, "invalid_request")
    assert full_app.aws.objects(full_app.bucket) == []


async def test_a_form_over_the_limit_is_refused_before_it_is_read(full_app: FullApp) -> None:
    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("the form was read")
        yield b""

    length = {"content-type": FORM, "content-length": str(MAX_BYTES + 1)}
    answer = await send(full_app.chat(), never(), headers=length)
    assert (answer.status_code, f"{MAX_BYTES:,} bytes" in answer.json()["message"]) == (413, True)


async def test_a_form_without_a_content_length_is_refused_once_it_exceeds_the_limit(full_app: FullApp) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        while True:
            sent += 500_000
            yield b"x" * 500_000

    answer = await send(full_app.chat(), endless(), headers={"content-type": FORM})
    assert answer.status_code == 413
    assert sent <= MAX_BYTES + 500_000


async def test_an_upload_without_a_token_is_a_401(full_app: FullApp) -> None:
    assert (await upload(full_app.chat().as_(None))).status_code == 401
    assert full_app.aws.objects(full_app.bucket) == []


async def test_an_app_without_a_bucket_refuses_uploads_with_a_message() -> None:
    answer = await upload(full_app_without_files().chat())
    assert (answer.status_code, "takes no files" in answer.json()["message"]) == (422, True)


async def test_another_users_upload_looks_missing(full_app: FullApp) -> None:
    chat = full_app.chat()
    attachment_id = (await upload(chat.as_("bob"))).json()["id"]
    assert (await chat("threads.create", input=message("look", attachments=[attachment_id]))).status == 404
