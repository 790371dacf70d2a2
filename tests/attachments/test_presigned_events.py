"""URLs in encoded events: ours are taken out and put in again, and nobody else's is touched."""

import json
from typing import Any

import pytest

from lambda_src.attachments.presigned_events import EventLinks
from lambda_src.attachments.presigned_store import NO_URL
from tests.apps.full import ANN, FullApp

SIGNED = "https://elsewhere.test/a.png?X-Amz-Signature=abc"
PICTURE = {"id": "atc_1", "type": "image", "name": "a.png", "mime_type": "image/png", "thread_id": "thr_1"}

OURS = [
    {"type": "thread.item.done", "item": {"type": "user_message", "attachments": [{**PICTURE, "preview_url": SIGNED}]}},
    {"type": "thread.item.done", "item": {"type": "generated_image", "image": {"id": "atc_1", "url": SIGNED}}},
    {
        "type": "thread.item.updated",
        "item_id": "msg_1",
        "update": {"type": "generated_image.updated", "image": {"id": "atc_1", "url": SIGNED}},
    },
]
FOREIGN: list[Any] = [
    {"type": "image", "preview_url": NO_URL},  # as a widget or a tool may have it
    {"type": "image", "preview_url": SIGNED},
    {"image": {"id": "x", "url": NO_URL}},
    {"image": {"id": "x", "url": SIGNED}},
]


def encoded(event: Any) -> bytes:
    return b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n"


@pytest.mark.parametrize("event", OURS, ids=["attachment", "picture", "partial picture"])
def test_a_url_of_ours_is_not_journaled_and_each_replay_has_its_own(full_app: FullApp, event: Any) -> None:
    assert full_app.files is not None
    links = EventLinks(full_app.files)
    plain = links.plain(encoded(event))
    assert b"X-Amz" not in plain
    assert NO_URL.encode() in plain
    assert b"/kept/ann/atc_1/file?" in links.linked(plain, ANN)


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
    assert full_app.files is not None
    links, told = EventLinks(full_app.files), event(foreign)
    assert json.loads(links.plain(encoded(told)).removeprefix(b"data: ")) == told
    assert json.loads(links.linked(encoded(told), ANN).removeprefix(b"data: ")) == told
