"""`chat talk`: a terminal session with the in-process app; commands, widgets, errors, guests, dropped connections."""

import asyncio
import hashlib
import io
import re
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from agents.testing import ScriptedModel, assistant_message
from rich.console import Console
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp
from typer.testing import CliRunner

from lambda_src.auth import GuestTokens
from lambda_src.auth.guest_access import Guests
from lambda_src.chat.registry import AssistantEndpoint
from lambda_src.cli.commands import app as command_line
from lambda_src.cli.talk.client import Endpoint, EndpointError, place_of
from lambda_src.cli.talk.screen import Screen
from lambda_src.cli.talk.session import HELP, Talk
from lambda_src.dev import showcase
from lambda_src.http.app import create_app
from lambda_src.rotating_secret import Secret
from lambda_src.store.counters import MemoryCounters
from lambda_src.store.memory.store import MemoryStore
from lambda_src.turns.lifecycle import Turns
from lambda_src.turns.persistence import AnswerStore
from lambda_src.turns.turn_task import TurnServices
from tests.apps.chat import MAX_BODY_BYTES, app_with, no_pause, served, server_with
from tests.apps.full import full_app_without_files


@dataclass(slots=True)
class Terminal:
    """A session that prints to a string."""

    talk: Talk
    screen: Screen
    printed: io.StringIO

    async def __call__(self, line: str) -> str:
        """Enter a line and return what it prints."""
        self.printed.seek(0)
        self.printed.truncate()
        await self.talk.take(line)
        return self.printed.getvalue()


def terminal(app: ASGIApp, *, token: str | None = "ann", wrap: Callable[..., Any] = lambda inner: inner) -> Terminal:
    """A session with `app`; `wrap` may wrap the transport."""
    http = httpx2.AsyncClient(transport=wrap(httpx2.ASGITransport(app=app)), base_url="http://chat.test")
    printed = io.StringIO()
    screen = Screen(Console(file=printed, highlight=False, width=100))
    return Terminal(Talk(Endpoint(http, token=token, sleep=no_pause), screen), screen, printed)


@pytest.fixture
def ann() -> Terminal:
    """Ann's session with the showcase agent."""
    return terminal(full_app_without_files().app(agent=showcase.build_agent(), actions=showcase.actions))


async def test_an_answer_is_printed_and_the_thread_continues(ann: Terminal) -> None:
    assert "You said: “hello”" in await ann("hello")
    thread_id = ann.screen.thread_id
    assert "I was shown 3 messages" in await ann("more")
    assert ann.screen.thread_id == thread_id


async def test_threads_can_be_listed_opened_and_started(ann: Terminal) -> None:
    assert await ann("/threads") == "No threads yet.\n"
    await ann("first")
    assert await ann("/new") == ""
    await ann("second")
    listed = (await ann("/threads")).splitlines()
    assert [line.split()[-1] for line in listed] == ["second", "first"]
    assert listed[0].startswith("*")
    opened = await ann("/open 2")
    assert "> first" in opened
    assert "You said: “first”" in opened
    assert "I was shown 3 messages" in await ann("first again")


async def test_a_thread_can_be_opened_by_number_before_the_threads_are_listed(ann: Terminal) -> None:
    await ann("first")
    await ann("/new")
    await ann("second")
    ann.talk._listed.clear()  # as in a new session
    opened = await ann("/open 2")
    assert "> first" in opened
    assert "There is no such" not in opened


async def test_a_widget_is_shown_and_its_buttons_work(ann: Terminal) -> None:
    assert "| [1 Ship]\n| [2 Cancel]\n| [3 Explain]\n" in await ann("show me a widget")
    assert "| shipped" in await ann("/press 1")
    assert "There is no button 1 here." in await ann("/press 1")


async def test_a_button_whose_action_does_not_stream_works_too(ann: Terminal) -> None:
    await ann("show me a widget")
    assert "| cancelled" in await ann("/press 2")


@pytest.mark.parametrize(("button", "expected"), [(1, "is refunded"), (2, "did not allow")])
async def test_a_tool_that_needs_approval_is_approved_or_denied(ann: Terminal, button: int, expected: str) -> None:
    assert "Allow “Give a refund”?\n[1 Approve]  [2 Deny]" in await ann("give a refund")
    assert expected in await ann(f"/press {button}")
    assert "There is no button 1 here." in await ann("/press 1")


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("show a notice", "Notice: This is **not** kept."),
        ("work through steps", "Two steps\n  ✓ Look: into the drawer"),
        ("show progress", "Looking ...\nStill looking ...\n✓ Show progress\n"),
        ("cite your sources", "1. On socks (https://example.com/socks)"),
        ("ask me something", "? Which color? (red / green)"),
        ("read my clipboard", "asks the page for read_clipboard"),
        ("change my page", "(Effect for a page: set_theme)"),
        ("show a task", "- Counted: all the socks"),
    ],
)
async def test_everything_that_chatkit_displays_has_a_text_form(ann: Terminal, phrase: str, expected: str) -> None:
    assert expected in await ann(phrase)


async def test_one_slash_starts_a_command_and_two_start_a_message(ann: Terminal) -> None:
    assert "/nonsense is not a command" in await ann("/nonsense")
    assert "/open is not a command, or needs an argument" in await ann("/open")
    assert "You said: “/etc”" in await ann("//etc")
    assert "/threads" in await ann("/help")
    assert await ann("   ") == ""


async def test_a_refusal_by_the_server_is_one_line_and_the_session_continues(ann: Terminal) -> None:
    await ann("lock this thread")
    for line, expected in (
        ("more", "409: This conversation is locked."),
        ("/open thr_nobody", "404: There is no such"),
    ):
        with pytest.raises(EndpointError, match=expected):
            await ann(line)
    await ann("/new")
    assert "You said" in await ann("hello")


@pytest.mark.parametrize(("lines", "failed"), [(["more"], True), (["more", "/new", "hello"], False)])
def test_a_session_continues_after_an_error_and_fails_only_if_its_last_line_failed(
    ann: Terminal, lines: list[str], failed: bool
) -> None:
    with asyncio.Runner() as runner:
        typed = iter(["lock this thread", *lines, None])
        assert ann.talk.converse(runner.run, lambda: next(typed)) is failed
    assert ann.printed.getvalue().count("409: This conversation is locked.") == 1


async def test_a_failing_model_prints_one_line_and_marks_the_session_as_failed() -> None:
    session = terminal(full_app_without_files().app(agent=showcase.build_agent(), run_config=None, model=object()))  # type: ignore[arg-type] # no model at all
    assert (await session("hello")).count("\n") == 1
    assert session.screen.failed


def guests_app() -> ASGIApp:
    """An app that admits only guests."""
    store = MemoryStore()
    tokens = GuestTokens(Secret(lambda: "s" * 32))
    return create_app(
        AssistantEndpoint(served(server_with(store)), Turns(TurnServices(store.ledger, AnswerStore(store)))),
        authenticate=tokens,
        sweeps=store,
        max_body_bytes=MAX_BODY_BYTES,
        guests=Guests(tokens, MemoryCounters()),
    )


async def test_without_a_token_the_session_is_a_guest_if_guests_are_admitted() -> None:
    session = terminal(guests_app(), token=None)
    await session.talk.begin()
    assert "You said" in await session("hello")


async def test_without_a_token_and_without_guests_the_message_says_how_to_give_a_token() -> None:
    session = terminal(app_with(server_with(MemoryStore())), token=None)
    with pytest.raises(EndpointError, match=r"give one, as --token or in CHATKIT_TOKEN"):
        await session.talk.begin()


async def test_a_session_with_a_refused_token_does_not_become_a_guest() -> None:
    session = terminal(guests_app(), token="stale")
    with pytest.raises(EndpointError, match="The token is not accepted"):
        await session.talk.begin()


class Breaking(httpx2.AsyncBaseTransport):
    """Breaks the next `times` streamed responses after `events` events each."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, *, events: int, times: int) -> None:
        self.inner, self.events, self.times = inner, events, times

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await self.inner.handle_async_request(request)
        if not response.headers["content-type"].startswith("text/event-stream") or not self.times:
            return response
        self.times -= 1
        blocks = (await response.aread()).split(b"\n\n")[: self.events]

        class Broken(httpx2.AsyncByteStream):
            async def __aiter__(self) -> AsyncIterator[bytes]:
                for block in blocks:
                    yield block + b"\n\n"
                raise httpx2.ReadError("the cable was pulled")

        return httpx2.Response(response.status_code, headers=response.headers, stream=Broken())


async def test_an_answer_resumes_where_its_connection_broke() -> None:
    app = app_with(server_with(MemoryStore()))
    expected_output = await terminal(app)("hello")
    interrupted = terminal(app, wrap=lambda inner: Breaking(inner, events=8, times=3))
    assert await interrupted("hello") == expected_output


@pytest.mark.parametrize("text", ["a\u2028b", "a\u2029b", "a\u0085b", "a\x0bb\x1cc"], ids=ascii)
async def test_an_answer_may_contain_any_unicode_line_separator(text: str) -> None:
    model = ScriptedModel([[assistant_message(f"one {text} two")]])
    printed = await terminal(app_with(server_with(MemoryStore(), model=model)))("hello")
    assert "one" in printed
    assert "two" in printed


async def test_a_connection_that_keeps_breaking_is_reported_in_one_sentence() -> None:
    broken = terminal(app_with(server_with(MemoryStore())), wrap=lambda inner: Breaking(inner, events=0, times=99))
    with pytest.raises(EndpointError, match=r"The connection to http://chat.test broke: the cable was pulled"):
        await broken("hello")


@pytest.mark.parametrize(
    ("status", "expected"),
    [(200, "no answer of a chat"), (404, "no answer of a chat"), (502, "cannot answer at the moment")],
)
async def test_a_url_without_a_chat_is_reported(status: int, expected: str) -> None:
    session = terminal(HTMLResponse("<h1>hello</h1>", status))
    with pytest.raises(EndpointError, match=f"{status}: .*{expected}"):
        await session.talk.begin()


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://127.0.0.1:8000", "/chatkit"),
        ("http://127.0.0.1:8000/", "/chatkit"),
        ("http://127.0.0.1:8000/chatkit/", "/chatkit"),
        ("http://127.0.0.1:8000/chatkit/sales", "/chatkit/sales"),
    ],
)
def test_the_url_may_be_that_of_the_page_or_of_an_assistant(url: str, path: str) -> None:
    assert place_of(url) == ("http://127.0.0.1:8000", path)


async def test_when_cloudfront_signs_requests_the_token_has_its_own_header_and_the_body_a_hash() -> None:
    headers: list[httpx2.Headers] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        headers.append(request.headers)
        return httpx2.Response(200, json={"stopped": True})

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(respond), base_url="http://chat.test") as http:
        await Endpoint(http, token="t", token_header="x-chat-token", sleep=no_pause).stop("turn")
    assert headers[0]["x-chat-token"] == "Bearer t"
    assert headers[0]["x-amz-content-sha256"] == hashlib.sha256(b'{"turn_id":"turn"}').hexdigest()
    assert "authorization" not in headers[0]


@pytest.mark.parametrize("url", ["localhost:8000", "", "ftp://x", "http://", "http://[::1", "http://h:x"])
def test_an_invalid_url_is_reported_in_one_line(url: str) -> None:
    result = CliRunner().invoke(command_line, ["talk", "--url", url])
    assert (result.exit_code, "is no address" in result.output) == (1, True)


def test_an_unreachable_server_is_reported_in_one_line() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, not listening: refused
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        result = CliRunner().invoke(command_line, ["talk", "--url", url])
    assert result.exit_code == 1
    assert result.output.startswith(f"Nothing answers at {url}")
    assert result.output.count("\n") == 1


def test_the_docs_page_lists_every_command() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "talk.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\| `(/[a-zN ]+)` \|", page, re.MULTILINE)
    assert set(documented) - {"/help"} == {
        line.split("  ")[0] for line in HELP.splitlines() if line.startswith("/")
    } - {"//..."}
