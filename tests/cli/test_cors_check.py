"""`chat doctor --origin`: CORS and streaming checks against the emulator, with correct and incorrect settings."""

import asyncio
import io
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from typer.testing import CliRunner

from lambda_src.cli.commands import app as command_line
from lambda_src.cli.talk import cors_check
from lambda_src.cli.talk.client import Endpoint, connected
from lambda_src.dev.emulator import Cors, Emulator, Switches
from lambda_src.dev.emulator.url.front import Front
from lambda_src.errors import RequestError
from lambda_src.http.edge import REQUEST_HEADERS, RESPONSE_HEADERS
from lambda_src.store.memory.store import MemoryStore
from tests.apps.chat import SLOW_INIT_S, app_with, no_pause, server_with

ROOT = Path(__file__).parents[2]
PAGE = "https://www.example.com"
CORRECT = Cors(
    allow_origins=(PAGE,), allow_methods=("GET", "POST"), allow_headers=REQUEST_HEADERS, expose_headers=RESPONSE_HEADERS
)
ENV = {
    "WORD_S": "0.005",
    "CHAT_STORE": "memory",
    "CHAT_AUTH_ISSUER": "https://issuer.test/",
    "CHAT_AUTH_AUDIENCE": "chat",
    "CHAT_CORS_ORIGINS": PAGE,
    "CHAT_CORS_AT_URL": "true",
}

pytestmark = pytest.mark.xdist_group("cors check")  # one function serves all fronts

Chat = Callable[[Cors | None], AbstractAsyncContextManager[str]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chat() -> AsyncIterator[Chat]:
    """Opens a front with these CORS settings and yields its URL. All fronts in this module share one function."""
    switches = Switches(processes=1, init_timeout_s=SLOW_INIT_S)
    async with Emulator(
        "tests.e2e.chat_handler.handler", env=ENV, task_root=ROOT, switches=switches, output=io.StringIO()
    ) as emulator:

        @asynccontextmanager
        async def open_front(cors: Cors | None) -> AsyncIterator[str]:
            front = Front(emulator.serve, cors=cors)
            url = await front.start("127.0.0.1", 0)
            try:
                yield url
            finally:
                await front.stop()

        yield open_front


async def rows_by_check(url: str, *, origin: str = PAGE, token: str | None = "ann") -> dict[str, cors_check.Row]:
    """The rows of the report, by the name of their check."""
    async with connected(url, token=token) as endpoint:
        return {row.check: row async for row in cors_check.rows(endpoint, origin)}


@pytest.mark.asyncio(loop_scope="module")
async def test_correct_settings_pass_every_check_and_leave_no_thread_behind(chat: Chat) -> None:
    async with chat(CORRECT) as url:
        rows = await rows_by_check(url)
        async with connected(url, token="ann") as endpoint:
            assert (await endpoint.ask("threads.list"))["data"] == []
    page = (ROOT / "docs" / "reference" / "talk.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z]+)` \|", page, re.MULTILINE) == list(rows), (
        "docs/reference/talk.md must list the rows"
    )
    states = {check: row.state for check, row in rows.items()}
    assert states.pop("domain") == "look"
    assert states.pop("embed") in ("ok", "left out")  # without a built page, it is left out
    assert list(states) == ["chat", "preflight", "token", "answer", "streaming"]
    assert set(states.values()) == {"ok"}, rows


@pytest.mark.parametrize(
    ("cors", "wrong", "message"),
    [
        (None, {"preflight", "answer"}, "OPTIONS was answered 405"),
        (replace(CORRECT, allow_origins=("https://other.example",)), {"preflight", "answer"}, "is not allowed"),
        (replace(CORRECT, allow_headers=("content-type", "x-chat-turn")), {"preflight"}, "may not send authorization"),
        (replace(CORRECT, allow_headers=("*",)), {"preflight"}, "may not send authorization"),
        (replace(CORRECT, allow_methods=("GET",)), {"preflight"}, "POST is not among get"),
        (replace(CORRECT, expose_headers=()), {"answer"}, "cannot read x-chat-turn"),
    ],
    ids=["no CORS", "another origin", "headers missing", "headers *", "GET only", "nothing exposed"],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_incorrect_settings_are_reported_with_what_to_do(
    chat: Chat, cors: Cors | None, wrong: set[str], message: str
) -> None:
    async with chat(cors) as url:
        rows = await rows_by_check(url)
    assert {check for check, row in rows.items() if row.state == "wrong"} == wrong
    first = next(row for row in rows.values() if row.state == "wrong")
    assert message in first.found
    assert not [row for row in rows.values() if "make deploy" in row.todo], "there is nothing to deploy on this machine"
    assert all(row.todo for row in rows.values() if row.state == "wrong")


@pytest.mark.asyncio(loop_scope="module")
async def test_without_a_token_streaming_is_not_checked_and_our_own_page_needs_no_cors(chat: Chat) -> None:
    async with chat(None) as url:
        rows = await rows_by_check(url, origin=url, token=None)
        result = await asyncio.to_thread(
            CliRunner().invoke, command_line, ["doctor", "--origin", url, "--url", url], env={"CHATKIT_TOKEN": ""}
        )
    assert {check: row.state for check, row in rows.items()} == {
        "chat": "ok", "preflight": "ok", "token": "wrong", "streaming": "left out", "domain": "ok",
    }  # fmt: skip
    assert result.exit_code == 1
    assert "wrong     token      http" in result.stdout
    assert "-> docs/reference/tokens.md" in result.stdout


async def test_a_buffered_answer_is_detected() -> None:
    app = app_with(server_with(MemoryStore()))
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://chat.test")  # it buffers
    rows = [row async for row in cors_check.rows(Endpoint(http, token="ann", sleep=no_pause), "http://chat.test")]
    (row,) = [row for row in rows if row.check == "streaming"]
    assert row.state == "wrong"
    assert "in 1 pieces" in row.found


@pytest.mark.parametrize(
    ("pieces", "state"),
    [([cors_check.DELTA] * 20, "ok"), ([cors_check.DELTA * 2] * 10, "ok"), ([cors_check.DELTA * 20], "wrong"),
     ([cors_check.DELTA * 10] * 3, "wrong"), ([cors_check.DELTA] * 2, "look"), ([], "look")],
)  # fmt: skip
def test_streaming_is_judged_by_the_pieces_that_arrive(pieces: list[bytes], state: str) -> None:
    assert cors_check.streamed(pieces).state == state


@pytest.mark.parametrize(
    ("status", "policy", "state"),
    [
        (200, f"default-src 'none'; frame-ancestors 'self' https://other.example {PAGE}", "ok"),
        (200, "frame-ancestors 'none'", "wrong"),
        (200, "frame-ancestors 'self' https://www.example.com:8443", "wrong"),
        (200, "default-src 'none'", "wrong"),
        (404, "", "left out"),
    ],
)
def test_embedding_is_judged_by_the_policy_of_the_page(status: int, policy: str, state: str) -> None:
    row = cors_check.embedded(status, {"content-security-policy": policy}, PAGE)
    assert (row.check, row.state) == ("embed", state)
    assert bool(row.todo) is (state == "wrong")


def test_every_local_port_may_embed_the_chat_of_make_dev() -> None:
    policy = {"content-security-policy": "frame-ancestors 'self' http://localhost:*"}
    assert cors_check.embedded(200, policy, "http://localhost:5173").state == "ok"


def test_cors_headers_from_two_layers_are_detected() -> None:
    headers = {"access-control-allow-origin": f"{PAGE}, {PAGE}"}
    assert "two layers" in cors_check.answered(headers, PAGE).found


@pytest.mark.parametrize("text", ["", "www.example.com", "https://", "ftp://x", "https://www.example.com/chat"])
def test_an_invalid_origin_is_reported_in_one_line(text: str) -> None:
    with pytest.raises(RequestError, match="origin"):
        cors_check.origin_of(text)
    result = CliRunner().invoke(command_line, ["doctor", "--origin", text])
    assert (result.exit_code, result.output.count("\n")) == (1, 1)


def test_an_origin_is_normalized_to_what_browsers_send() -> None:
    assert cors_check.origin_of("HTTPS://WWW.Example.com/") == PAGE


def test_a_url_without_a_chat_is_reported_in_a_single_row() -> None:
    async def check() -> list[cors_check.Row]:
        transport = httpx2.MockTransport(lambda _: httpx2.Response(404))
        async with httpx2.AsyncClient(transport=transport, base_url="https://x.test") as http:
            return [row async for row in cors_check.rows(Endpoint(http, token=None, sleep=no_pause), PAGE)]

    (row,) = asyncio.run(check())
    assert (row.check, row.state) == ("chat", "wrong")
