"""Attachments of a message: presigned upload, verification, storage, download URLs, model input, deletion."""

import asyncio
import base64
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from agents.testing import ScriptedModel, assistant_message
from botocore.exceptions import ClientError

from lambda_src.attachments.file_types import HEAD_BYTES, MAX_FILES, proves
from lambda_src.errors import UnavailableError
from lambda_src.store.memory.store import MemoryStore
from tests.apps.chat import message
from tests.apps.full import ANN, PNG, FullApp, attached, items_of, thread_of

TEXTS = {"a.txt": "text/plain", "a.md": "text/markdown", "a.csv": "text/csv", "a.json": "application/json"}


async def test_a_presigned_upload_fixes_length_and_type_and_works_once(full_app: FullApp) -> None:
    created = await full_app.chat()("attachments.create", name="plan.png", size=40, mime_type="image/png; x=y")
    descriptor = created.json["upload_descriptor"]
    query = parse_qs(urlsplit(descriptor["url"]).query)
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert query["X-Amz-SignedHeaders"] == ["content-length;content-type;host;if-none-match"]
    assert descriptor["method"] == "PUT"
    assert descriptor["headers"] == {"content-type": "image/png", "if-none-match": "*"}
    assert "/pending/ann/" in descriptor["url"]
    assert created.json["preview_url"].startswith("https://")


async def test_no_presigned_url_is_ever_stored(full_app: FullApp) -> None:
    chat = full_app.chat()
    attachment_id = await attached(chat, full_app)
    await chat("threads.create", input=message("look", attachments=[attachment_id]))
    stored = (await full_app.store.load_attachment(attachment_id, ANN)).model_dump_json()
    assert "X-Amz" not in stored
    assert "X-Amz" not in "".join(await full_app.stored_lines(journals=True))


async def test_a_replayed_turn_gets_a_new_presigned_url(full_app: FullApp) -> None:
    """The journal stores no URLs, so a client that returns an hour later does not get an expired one."""
    chat = full_app.chat()
    attachment_id = await attached(chat, full_app)
    body = json.dumps(
        {"type": "threads.create", "params": {"input": message("look", attachments=[attachment_id])}}
    ).encode()
    first, again = await chat.post(body), await chat.post(body)
    assert len(thread_ids := {thread_of(first), thread_of(again)}) == 1, thread_ids
    shown_url = items_of(again)[0]["attachments"][0]["preview_url"]
    assert f"/kept/ann/{attachment_id}/file?" in shown_url
    assert "X-Amz-Signature=" in shown_url
    assert [event["type"] for event in again.events] == [event["type"] for event in first.events]


async def test_a_file_is_kept_before_its_message_and_shown_by_a_new_url(full_app: FullApp) -> None:
    chat = full_app.chat()
    attachment_id = await attached(chat, full_app)
    answer = await chat("threads.create", input=message("look", attachments=[attachment_id]))
    assert answer.status == 200
    assert f"kept/ann/{attachment_id}/file" in full_app.aws.objects(full_app.bucket)
    shown_url = (await chat("threads.get_by_id", thread_id=thread_of(answer))).json["items"]["data"][0]["attachments"][
        0
    ]
    assert f"/kept/ann/{attachment_id}/file?" in shown_url["preview_url"]
    assert "upload_descriptor" not in shown_url
    listed = (await chat("items.list", thread_id=thread_of(answer), order="asc")).json["data"][0]["attachments"][0]
    assert f"/kept/ann/{attachment_id}/file?" in listed["preview_url"]


async def test_a_kept_file_is_served_as_a_download_with_its_verified_type(full_app: FullApp) -> None:
    chat = full_app.chat()
    attachment_id = await attached(chat, full_app, name="Überblick.png")
    await chat("threads.create", input=message("look", attachments=[attachment_id]))
    head = full_app.aws.s3.head_object(Bucket=full_app.bucket, Key=f"kept/ann/{attachment_id}/file")
    assert head["ContentType"] == "image/png"
    assert head["ContentDisposition"] == "attachment; filename*=UTF-8''%C3%9Cberblick.png"


async def test_a_file_of_a_message_opens_in_a_tab_and_text_of_any_type_as_plain_text(full_app: FullApp) -> None:
    chat = full_app.chat()
    script = b"<script>alert(1)</script>"
    shown_as = {
        "a.png": (PNG, "image/png", "image/png"),
        "a.pdf": (b"%PDF-1.7", "application/pdf", "application/pdf"),
        **{name: (script, kind, "text/plain; charset=utf-8") for name, kind in TEXTS.items()},
    }
    files = {
        name: await attached(chat, full_app, data, name=name, kind=kind) for name, (data, kind, _) in shown_as.items()
    }
    await chat("threads.create", input=message("look", attachments=[*files.values()]))
    for name, file in files.items():
        opened = await chat.post(b"", f"/chatkit/attachments/{file}", "GET")
        assert (opened.status, opened.headers["cache-control"]) == (200, "no-store")
        url = urlsplit(opened.json["url"])
        query = parse_qs(url.query)
        assert url.path.endswith(f"/kept/ann/{file}/file")
        assert query["response-content-type"] == [shown_as[name][2]]
        assert query["response-content-disposition"] == [f"inline; filename*=UTF-8''{name}"]


async def test_only_a_file_of_ones_own_message_opens(full_app: FullApp) -> None:
    ann = full_app.chat()
    sent, unsent = await attached(ann, full_app), await attached(ann, full_app)
    await ann("threads.create", input=message("look", attachments=[sent]))
    refusals = [
        await chat.post(b"", f"/chatkit/attachments/{file}", "GET")
        for chat, file in ((ann.as_("bob"), sent), (ann, unsent), (ann, "atc_no"))
    ]
    assert {(refused.status, refused.body) for refused in refusals} == {(404, refusals[0].body)}


async def test_the_size_of_a_file_is_sent_with_its_message(full_app: FullApp) -> None:
    chat = full_app.chat()
    file = await attached(chat, full_app, b"12345", name="a.txt", kind="text/plain")
    created = await chat("threads.create", input=message("look", attachments=[file]))
    listed = (await chat("items.list", thread_id=thread_of(created), order="asc")).json["data"][0]
    assert [item["attachments"][0]["size"] for item in (items_of(created)[0], listed)] == [5, 5]
    assert "metadata" not in listed["attachments"][0]


@pytest.mark.parametrize("hidden", ["\u202e", "\u2066", "\u200f", "\u200b", "\ufeff", "\r\n", "\u2028"])
async def test_invisible_characters_are_removed_from_file_names(full_app: FullApp, hidden: str) -> None:
    name = f"in{hidden}voice gpj.png"
    answer = await full_app.chat()("attachments.create", name=name, size=10, mime_type="image/png")
    assert answer.json["name"] == "invoice gpj.png"
    assert "invoice" in answer.json["preview_url"]


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"name": "a.svg", "size": 10, "mime_type": "image/svg+xml"}, 422, "Accepted types"),
    ({"name": "a.html", "size": 10, "mime_type": "text/html"}, 422, "Accepted types"),
    ({"name": "a.png", "size": 10, "mime_type": ""}, 422, "Accepted types"),
    ({"name": "a.png", "size": 0, "mime_type": "image/png"}, 422, "empty"),
    ({"name": "a.png", "size": -1, "mime_type": "image/png"}, 422, "empty"),
    ({"name": "a.png", "size": 1_001, "mime_type": "image/png"}, 413, "1,000 bytes"),
    ({"name": "a.txt", "size": 2_001, "mime_type": "text/plain"}, 413, "2,000 bytes"),
    ({"name": "a.txt", "size": 10**30, "mime_type": "text/plain"}, 413, "2,000 bytes"),
    ({"name": " ", "size": 10, "mime_type": "image/png"}, 422, "name"),
    ({"name": "\u202e", "size": 10, "mime_type": "image/png"}, 422, "name"),
    ({"name": "a" * 256, "size": 10, "mime_type": "image/png"}, 422, "name"),
    ({"name": "a\0", "size": 10, "mime_type": "image/png"}, 422, "name"),
    ({"name": "a.png", "size": "many", "mime_type": "image/png"}, 422, "size"),
]


@pytest.mark.parametrize(("params", "status", "words"), REFUSED, ids=lambda value: str(value)[:50])
async def test_an_invalid_file_is_refused_with_a_message(
    full_app: FullApp, params: dict[str, Any], status: int, words: str
) -> None:
    answer = await full_app.chat()("attachments.create", **params)
    assert (answer.status, words in answer.json["message"]) == (status, True)


@pytest.mark.parametrize("data", [b"<html><script>alert(1)</script></html>", PNG + b"longer", b""], ids=str)
async def test_a_file_that_does_not_match_its_declaration_stores_nothing(full_app: FullApp, data: bytes) -> None:
    chat = full_app.chat()
    attachment_id = (await chat("attachments.create", name="a.png", size=len(PNG), mime_type="image/png")).json["id"]
    if data:
        full_app.upload(attachment_id, data)
    answer = await chat("threads.create", input=message("look", attachments=[attachment_id]))
    assert answer.status in (409, 422)
    assert "a.png" in answer.json["message"]
    assert await full_app.stored_lines() == []
    assert (await chat("threads.create", input=message("go on"))).status == 200


@pytest.mark.parametrize("operation", ["threads.create", "threads.add_user_message"])
async def test_another_users_file_looks_missing(full_app: FullApp, operation: str) -> None:
    chat = full_app.chat()
    thread = {"thread_id": thread_of(await chat("threads.create", input=message("mine")))}
    params = thread if operation == "threads.add_user_message" else {}
    foreign = await attached(chat.as_("bob"), full_app)
    before = await full_app.stored_lines()
    answers = [
        await chat(operation, **params, input=message("look", attachments=[file_id]))
        for file_id in (foreign, "atc_no", "\0")
    ]
    assert [answer.status for answer in answers] == [404] * 3
    assert len({answer.body for answer in answers}) == 1
    assert await full_app.stored_lines() == before


@pytest.mark.parametrize("fault", [UnavailableError("Too much at once."), asyncio.CancelledError()])
async def test_a_message_that_could_not_be_stored_leaves_its_files_for_the_retry(
    full_app: FullApp, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    """A new thread is removed with everything in it, or a retry of the same body completes it."""
    chat = full_app.chat()
    attachment_id = await attached(chat, full_app)

    async def add_thread_item(*_: Any, **__: Any) -> None:
        raise fault

    with monkeypatch.context() as patched:
        patched.setattr(MemoryStore, "add_thread_item", add_thread_item)
        first = await chat("threads.create", input=message("look", attachments=[attachment_id]))
    assert items_of(first) == []
    again = await chat("threads.create", input=message("look", attachments=[attachment_id]))
    assert [thread["id"] for thread in (await chat("threads.list")).json["data"]] == [thread_of(again)]
    assert [attachment["id"] for attachment in items_of(again)[0]["attachments"]] == [attachment_id]
    assert f"kept/ann/{attachment_id}/file" in full_app.aws.objects(full_app.bucket)


async def test_a_retry_after_a_lost_response_finds_the_thread_with_its_file(
    full_app: FullApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = full_app.chat()
    attachment_id = await attached(chat, full_app)
    add = MemoryStore.add_thread_item

    async def add_thread_item(*args: Any, **kwargs: Any) -> None:
        await add(*args, **kwargs)
        raise UnavailableError("The answer was lost.")

    with monkeypatch.context() as patched:
        patched.setattr(MemoryStore, "add_thread_item", add_thread_item)
        first = await chat("threads.create", input=message("look", attachments=[attachment_id]))
    assert first.status == 503
    again = await chat("threads.create", input=message("look", attachments=[attachment_id]))
    assert again.status == 200
    [thread] = (await chat("threads.list")).json["data"]
    items = (await chat("items.list", thread_id=thread["id"], limit=10, order="asc")).json["data"]
    assert [item["type"] for item in items] == ["user_message", "assistant_message"]


async def test_a_retry_minutes_later_finds_the_thread_with_its_file(
    full_app: FullApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = full_app.chat()
    attachment_id = await attached(chat, full_app)
    first = await chat("threads.create", input=message("look", attachments=[attachment_id]))
    monkeypatch.setattr("lambda_src.turns.duplicates.SAME_BODY_S", -1)
    again = await chat("threads.create", input=message("look", attachments=[attachment_id]))
    assert (again.status, thread_of(again)) == (200, thread_of(first))


async def test_a_file_belongs_to_one_thread(full_app: FullApp) -> None:
    chat = full_app.chat()
    attachment_id = await attached(chat, full_app)
    thread_id = thread_of(await chat("threads.create", input=message("look", attachments=[attachment_id])))
    elsewhere = await chat("threads.create", input=message("and here", attachments=[attachment_id]))
    assert (elsewhere.status, elsewhere.json["error"]) == (409, "conflict")
    again = await chat("threads.add_user_message", thread_id=thread_id, input=message("x", attachments=[attachment_id]))
    assert again.status == 200


async def test_too_many_files_and_a_repeated_file_are_refused(full_app: FullApp) -> None:
    chat = full_app.chat()
    ids = [await attached(chat, full_app) for _ in range(MAX_FILES + 1)]
    many = await chat("threads.create", input=message("look", attachments=ids))
    twice = await chat("threads.create", input=message("look", attachments=ids[:1] * 2))
    assert (many.status, twice.status) == (422, 422)
    assert await full_app.stored_lines() == []


async def test_image_text_and_pdf_reach_the_model(full_app: FullApp) -> None:
    model = ScriptedModel([[assistant_message("seen")]])
    chat = full_app.chat(model=model)
    pdf, text = b"%PDF-1.7 " + b"x" * 20, "Grüße aus dem Text".encode()
    ids = [
        await attached(chat, full_app),
        await attached(chat, full_app, pdf, name="a.pdf", kind="application/pdf"),
        await attached(chat, full_app, text, name="a.txt", kind="text/plain"),
    ]
    await chat("threads.create", input=message("read these", attachments=ids))
    text_part, image, file, text_file = model.calls[0].input[0]["content"]
    assert text_part["text"] == "read these"
    assert image["image_url"] == "data:image/png;base64," + base64.b64encode(PNG).decode()
    assert (file["type"], file["filename"]) == ("input_file", "a.pdf")
    assert base64.b64decode(file["file_data"].partition(",")[2]) == pdf
    assert "Grüße aus dem Text" in text_file["text"]


async def test_a_missing_file_becomes_a_note_and_later_turns_work(full_app: FullApp) -> None:
    model = ScriptedModel([[assistant_message("seen", item_id="1")], [assistant_message("still here", item_id="2")]])
    chat = full_app.chat(model=model)
    attachment_id = await attached(chat, full_app)
    answer = await chat("threads.create", input=message("look", attachments=[attachment_id]))
    full_app.aws.s3.delete_object(Bucket=full_app.bucket, Key=f"kept/ann/{attachment_id}/file")
    later = await chat("threads.add_user_message", thread_id=thread_of(answer), input=message("and now?"))
    assert items_of(later)[-1]["content"][0]["text"] == "still here"
    assert "cannot be read any more" in json.dumps(model.calls[1].input[0])


@pytest.mark.parametrize("refused", ["GetObject", "CopyObject"])
async def test_a_refusal_of_s3_is_a_clear_error_and_stores_nothing(
    full_app: FullApp, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    chat = full_app.chat()
    attachment_id = await attached(chat, full_app)

    def deny(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, refused)

    with monkeypatch.context() as patched:
        patched.setattr(full_app.aws.s3, {"GetObject": "get_object", "CopyObject": "copy_object"}[refused], deny)
        answer = await chat("threads.create", input=message("look", attachments=[attachment_id]))
    assert (answer.status, answer.json["error"]) == (503, "unavailable")
    assert await full_app.stored_lines() == []
    assert (await chat("threads.create", input=message("look", attachments=[attachment_id]))).status == 200


async def test_delete_removes_the_file_and_answers_the_same_for_missing_and_foreign_files(full_app: FullApp) -> None:
    chat = full_app.chat()
    attachment_id = await attached(chat, full_app)
    answers = [
        await chat.as_("bob")("attachments.delete", attachment_id=file_id) for file_id in (attachment_id, "atc_no")
    ]
    assert {answer.body for answer in answers} == {b"{}"}
    assert full_app.aws.objects(full_app.bucket) == [f"pending/ann/{attachment_id}"]
    assert (await chat("attachments.delete", attachment_id=attachment_id)).body == b"{}"
    assert full_app.aws.objects(full_app.bucket) == []
    answer = await chat("threads.create", input=message("look", attachments=[attachment_id]))
    assert answer.status == 404


HEADS = [
    ("image/png", PNG), ("image/jpeg", b"\xff\xd8\xff\xe0"), ("image/gif", b"GIF89a"), ("application/pdf", b"%PDF-1.4"),
    ("image/webp", b"RIFF\0\0\0\0WEBPVP8 "), ("text/plain", b"hello"), ("text/csv", "ä,ö".encode()),
    ("text/plain", ("x" * (HEAD_BYTES - 1) + "ä").encode()[:HEAD_BYTES]),
]  # fmt: skip


@pytest.mark.parametrize(("media_type", "head"), HEADS, ids=lambda value: str(value)[:30])
def test_the_first_bytes_identify_the_type_and_no_other(media_type: str, head: bytes) -> None:
    assert proves(media_type, head)
    assert not proves("image/svg+xml", head)
    others = {"image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf"} - {media_type}
    assert not any(proves(other, head) for other in others)


@pytest.mark.parametrize("head", [b"a\0b", b"\xff\xfe", b"\xc3", PNG], ids=str)
def test_binary_data_is_not_text(head: bytes) -> None:
    assert not proves("text/plain", head)
