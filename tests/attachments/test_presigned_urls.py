"""Presigned URLs of pictures in events and answers: each is signed when it is sent, and nothing else is touched."""

import json
from typing import Any

import pytest

from lambda_src.attachments.files import NO_URL
from lambda_src.attachments.presigned_urls import PresignedUrls
from tests.apps.full import ANN, FullApp

SIGNED = "https://elsewhere.test/a.png?X-Amz-Signature=abc"
PICTURE = {"id": "atc_1", "type": "image", "name": "a.png", "mime_type": "image/png", "thread_id": "thr_1"}
MESSAGE = {"type": "user_message", "attachments": [{**PICTURE, "preview_url": str(NO_URL)}]}
GENERATED = {"type": "generated_image", "image": {"id": "atc_1", "url": str(NO_URL)}}

EVENTS = [
    {"type": "thread.item.done", "item": MESSAGE},
    {"type": "thread.item.done", "item": GENERATED},
    {
        "type": "thread.item.updated",
        "item_id": "msg_1",
        "update": {"type": "generated_image.updated", "image": {"id": "atc_1", "url": str(NO_URL)}},
    },
]
ANSWERS = [{"id": "thr_1", "items": {"data": [MESSAGE, GENERATED]}}, {"data": [MESSAGE, GENERATED], "has_more": False}]
FOREIGN: list[Any] = [
    {"type": "image", "preview_url": str(NO_URL)},  # as a widget or a tool may have it
    {"type": "image", "preview_url": SIGNED},
    {"image": {"id": "x", "url": str(NO_URL)}},
    {"image": {"id": "x", "url": SIGNED}},
    {"type": "generated_image.updated", "image": {"id": "x", "url": str(NO_URL)}},
    [MESSAGE, GENERATED],
]


def encoded(event: Any) -> bytes:
    return b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n"


def urls_of(full_app: FullApp) -> PresignedUrls:
    assert full_app.files is not None
    return PresignedUrls(full_app.files)


@pytest.mark.parametrize("event", EVENTS, ids=["attachment", "picture", "partial picture"])
def test_a_picture_in_an_event_gets_a_url_that_works_now(full_app: FullApp, event: Any) -> None:
    sent = urls_of(full_app).in_event(encoded(event), ANN)
    assert b"/kept/ann/atc_1/file?" in sent
    assert str(NO_URL).encode() not in sent


@pytest.mark.parametrize("answer", ANSWERS, ids=["thread", "page"])
def test_every_picture_in_an_answer_gets_a_url_that_works_now(full_app: FullApp, answer: Any) -> None:
    sent = urls_of(full_app).in_answer(json.dumps(answer, separators=(",", ":")).encode(), ANN)
    assert sent.count(b"/kept/ann/atc_1/file?") == 2
    assert str(NO_URL).encode() not in sent


@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.parametrize(
    "event",
    [
        lambda value: {"type": "thread.item.done", "item": {"type": "widget", "widget": {"children": [value]}}},
        lambda value: {"type": "thread.item.done", "item": {"type": "client_tool_call", "arguments": value}},
        lambda value: {"type": "thread.item.done", "item": {"type": "user_message", "attachments": [], "data": value}},
        lambda value: {"type": "client_effect", "data": value},
        lambda value: value,
    ],
    ids=["widget", "tool", "tag", "effect", "bare"],
)
def test_what_only_looks_like_ours_passes_unchanged(full_app: FullApp, event: Any, foreign: Any) -> None:
    event = event(foreign)
    assert json.loads(urls_of(full_app).in_event(encoded(event), ANN).removeprefix(b"data: ")) == event


@pytest.mark.parametrize("foreign", FOREIGN[:-1])
def test_what_only_looks_like_ours_passes_unchanged_in_a_page_of_items(full_app: FullApp, foreign: Any) -> None:
    page = {"data": [{"type": "widget", "widget": {"children": [foreign]}}, {"type": "client_tool_call", "x": foreign}]}
    assert json.loads(urls_of(full_app).in_answer(json.dumps(page).encode(), ANN)) == page
