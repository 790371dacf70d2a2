"""What every answer, and the page above all, is sent with."""

import base64
import hashlib
import re

import pytest

from lambda_src.page import CHATKIT, SECURITY_HEADERS, page_headers
from lambda_src.store.memory import MemoryStore
from tests.chat import Chat, app_with, message, server_with


@pytest.fixture
def chat() -> Chat:
    return Chat(app_with(server_with(MemoryStore())))


def policy_of(headers: dict[str, str]) -> dict[str, list[str]]:
    """Directive -> sources."""
    parts = [part.split() for part in headers["content-security-policy"].split(";")]
    return {name: sources for name, *sources in parts}


async def test_every_answer_carries_the_security_headers(chat: Chat) -> None:
    answers = [
        await chat("threads.list"),
        await chat("threads.create", input=message("hi")),
        await chat("threads.get_by_id", thread_id="no"),
        await chat.as_(None)("threads.list"),
        await chat.post(b"", "/", "GET"),
        await chat.post(b"", "/chat-client.js", "GET"),
        await chat.post(b"", "/nothing", "GET"),
    ]
    for answer in answers:
        assert SECURITY_HEADERS.items() <= answer.headers.items()


async def test_the_page_may_run_what_is_in_it_and_chatkit_and_nothing_else(chat: Chat) -> None:
    page = await chat.post(b"", "/", "GET")
    policy = policy_of(page.headers)
    scripts = re.findall(rb'<script type="module">(.*?)</script>', page.body, re.DOTALL)
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'" for script in scripts]
    assert policy["script-src"] == ["'self'", CHATKIT, *hashes]
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == ["'none'"]
    assert not any("unsafe" in source or source == "*" for sources in policy.values() for source in sources)


async def test_nothing_in_the_page_needs_what_the_policy_forbids(chat: Chat) -> None:
    page = (await chat.post(b"", "/", "GET")).body.decode()
    assert not re.findall(r"<[^>]+\s(?:style|on[a-z]+)=", page), "attributes have no hash"
    hosts = set(re.findall(r"https://[a-z0-9.-]+", page))
    assert hosts <= {CHATKIT}


def test_uploads_go_to_the_bucket_and_to_no_other() -> None:
    bucket = "https://bucket.s3.eu-central-1.amazonaws.com"
    policy = policy_of(page_headers(b"", upload_origin=bucket))
    assert policy["connect-src"] == ["'self'", CHATKIT, bucket]
    assert bucket in policy["img-src"]
