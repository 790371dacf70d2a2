"""Fixtures for browser tests: Chromium, the chat page, and servers behind it. `make browser` installs a browser.

Without a browser these tests are skipped, and the summary of the run says so. In CI they fail.
"""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect, sync_playwright

from lambda_src.composition.app import build_app
from lambda_src.composition.aws import Clients
from lambda_src.composition.stores import build_store
from lambda_src.dev.emulator import Emulator, Switches
from lambda_src.languages import SHIPPED
from lambda_src.settings import Settings
from tests import content_markers
from tests.content_markers import MARKERS
from tests.once import once
from tests.web.chat_page import ChatPage
from tests.web.echo import parts

ROOT = Path(__file__).parents[2]
expect.set_options(timeout=20_000)  # for a busy machine; a passing test never waits this long
# The headless shell comes first: it needs a third of the CPU time, and is Playwright's own choice for headless runs.
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
GUESTS = {"CHAT_STORE": "memory", "CHAT_GUEST_SECRET": "arn:browser-tests"}
MISSING = f"NO BROWSER: none of {', '.join(BROWSERS)} is installed. `make browser` installs one."
CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]  # root in a container has no sandbox
ISSUER = "https://issuer.test"
HOSTED = {"CHAT_STORE": "memory", "CHAT_AUTH_ISSUER": f"{ISSUER}/", "CHAT_AUTH_AUDIENCE": "chat"}
STAFFED = HOSTED | {"CHAT_OPERATORS": "{}"}
PEOPLE = HOSTED | {"CHAT_AUTH_CLIENT_ID": "page"}
SALES_PROMPT = {"label": "Prices", "prompt": "What does it cost?"}
SALES = {"name": "sales", "label": "Sales", "greeting": "What may we sell you?", "prompts": [SALES_PROMPT]}
TWO_ASSISTANTS_PAGE = {
    "greeting": "How can we help?",
    "prompts": [{"label": "Orders", "prompt": "?"}],
    "assistants": [{"name": "", "label": "Help"}, {**SALES, "models": ["large"]}],
}
TWO_ASSISTANTS = PEOPLE | GUESTS | {"CHAT_PAGE": json.dumps(TWO_ASSISTANTS_PAGE), "CHAT_MODELS": "small,large"}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """If tests were skipped for lack of a browser, say so prominently."""
    skipped = terminalreporter.stats.get("skipped", [])
    if any("NO BROWSER" in str(report.longrepr) for report in skipped):
        terminalreporter.write_sep("!", "THE PAGE WAS NOT TESTED IN A BROWSER", red=True)
        terminalreporter.write_line(str(skipped[0].longrepr))


def find_chromium(env: Mapping[str, str] = os.environ) -> str:
    """The path of a Chromium on PATH. Without one the test is skipped with a notice (see above); in CI it fails."""
    for name in BROWSERS:
        if path := shutil.which(name, path=env.get("PATH")):
            return path
    if env.get("CI"):
        pytest.fail(MISSING, pytrace=False)
    pytest.skip(MISSING)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the browser."""
    return find_chromium()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the page, built from the current sources once per run: a rebuild would disturb other workers."""

    def build() -> str:
        command = [sys.executable, "-m", "infra.bundle.web_page"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return "built"

    once(tmp_path_factory, "page", build)
    return ROOT / "lambda_src" / "web"


@pytest.fixture(scope="package")  # while it is open, tests of other packages cannot run their own event loops
def browser(chromium: str, built: Path) -> Iterator[Browser]:
    """The browser for all tests. Each test has its own context."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=CHROMIUM_FLAGS,
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of `make dev FLAGS=--showcase`, which also admits the pages of the examples."""
    flags = ["--showcase", "--origin", "http://localhost:*", "--origin", "http://127.0.0.1:*"]
    with make_dev(tmp_path_factory.mktemp("dev"), *flags) as (url, printed):
        yield url
    written = "".join(printed)
    assert "threads." in written, "make dev must log each request"
    leaked = content_markers.leaked_markers([("make dev's stdout", written)])
    assert not leaked, f"make dev logged message content: {leaked}"


def script_errors(page: Page) -> list[str]:
    """The growing list of the page's script errors and violations of its policy."""
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(f"{error}\n{error.stack}"))
    page.on(
        "console",
        lambda line: errors.append(line.text) if line.type == "error" and "load resource" not in line.text else None,
    )
    return errors


@contextmanager
def make_dev(data: Path, *flags: str) -> Iterator[tuple[str, list[str]]]:
    """Run `make dev` with these flags; yield its URL and the lines that it printed, which are complete once it ends."""
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "lambda_src.dev", "--port", "0", "--data", str(data), *flags),
            *("--managed", "16", "--no-cancel"),  # one process, in which turns continue as in an on-demand function
        ],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True,
        env={name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        output = ""
        for line in process.stdout:
            output += line
            if "Ctrl-C stops everything" in line:
                break
        match = re.search(r"http://127\.0\.0\.1:\d+", output)
        assert match is not None, output
        printed: list[str] = []
        reader = threading.Thread(target=lambda: printed.extend(process.stdout or ()))  # a full pipe would block it
        reader.start()
        try:
            yield f"{match[0]}/", printed
        finally:
            process.send_signal(signal.SIGINT)
            reader.join()


@contextmanager
def served(env: dict[str, str], handler: str = "tests.web.page_handlers.handler") -> Iterator[str]:
    """Run a handler (tests/web/page_handlers.py) behind an emulated function URL in one process, and yield the URL."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> Emulator:
        # One process that behaves like an on-demand function.
        switches = Switches(managed=16, cancel_when_caller_leaves=False)
        return await Emulator(handler, env=env, task_root=ROOT, switches=switches).__aenter__()

    emulator = asyncio.run_coroutine_threadsafe(start(), loop).result()
    try:
        yield f"{emulator.url}/"
    finally:
        asyncio.run_coroutine_threadsafe(emulator.__aexit__(None, None, None), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def served_in_process(env: dict[str, str], *, languages: Sequence[Path] = (SHIPPED,), **changes: Any) -> Iterator[str]:
    """Serve the chat of tests/web/echo.py with uvicorn in a thread of this process, and yield the URL.

    It starts ten times faster than a process of the emulator. For tests of the page's own logic, such as sign-in;
    tests of streams, Stop and reloads use the emulator. `changes` replace parts of echo.py.
    """
    settings = Settings.from_env(env)
    store, ledger = build_store(settings, Clients())
    server = uvicorn.Server(
        uvicorn.Config(
            build_app(settings, store, ledger, replace(parts(settings), languages=languages, **changes)),
            log_config=None,
        )
    )
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()  # a browser that connects before uvicorn has started must wait
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def guests() -> Iterator[str]:
    """A server that admits guests."""
    with served(GUESTS) as url:
        yield url


@pytest.fixture(scope="session")
def hosted() -> Iterator[str]:
    """A server whose users are signed in by the surrounding site."""
    with served(HOSTED) as url:
        yield url


@pytest.fixture(scope="package")  # so that its thread is gone before other suites run
def people() -> Iterator[str]:
    """A server whose users sign in at ISSUER, which tests fake in the browser's network."""
    with served_in_process(PEOPLE) as url:
        yield url


@pytest.fixture(scope="package")  # so that its thread is gone before other suites run
def visitors() -> Iterator[str]:
    """A server that admits guests, who may sign in later."""
    with served_in_process(PEOPLE | GUESTS) as url:
        yield url


@pytest.fixture(scope="package")  # so that its thread is gone before other suites run
def staffed() -> Iterator[str]:
    """A server with operators: those whose token says so."""
    with served_in_process(STAFFED) as url:
        yield url


@pytest.fixture(scope="package")  # so that its thread is gone before other suites run
def two_assistants() -> Iterator[str]:
    """A server with two assistants, for guests who may sign in later."""
    with served_in_process(TWO_ASSISTANTS) as url:
        yield url


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """A tab in its own context. A script error or a violation of the page's content security policy fails the test."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 860},
        reduced_motion="reduce",
        user_agent=f"Chromium {MARKERS['user-agent']}",
        extra_http_headers={"x-marker": MARKERS["header"]},
    )
    context.add_cookies([{"name": "session", "value": MARKERS["cookie"], "url": "http://127.0.0.1"}])
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    errors = script_errors(page)
    yield page
    context.close()
    assert not errors, "\n".join(errors)


@pytest.fixture
def chat(tab: Page, dev: str) -> ChatPage:
    """The page of `make dev`, not loaded yet."""
    return ChatPage(tab, dev)


def token_of(**claims: str) -> str:
    """A token of a new user for an hour."""
    everybodys = {
        "sub": uuid.uuid4().hex,
        "client_id": "page",
        "exp": int(time.time()) + 3600,
        "marker": MARKERS["token"],
    }
    return jwt.encode(everybodys | claims, "not-looked-at-" * 3)


def sign_in(tab: Page) -> None:
    """Sign in a new user as the surrounding site does: with a token in the tab's session storage."""
    token = token_of()
    tab.add_init_script(f"sessionStorage.getItem('chat.token') ?? sessionStorage.setItem('chat.token', '{token}')")


@pytest.fixture
def echo(tab: Page, hosted: str) -> ChatPage:
    """The page of a new user, with an assistant that echoes messages."""
    sign_in(tab)
    return ChatPage(tab, hosted)


@pytest.fixture
def guest(tab: Page, guests: str) -> ChatPage:
    """The page of a guest, with an assistant that echoes messages."""
    return ChatPage(tab, guests)
