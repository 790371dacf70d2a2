"""A browser, the page in it, and servers behind it. The browser is the system's: `make browser` installs one.

Where there is none these tests are skipped, and the run ends with a line that says so. In CI they fail.
"""

import asyncio
import fcntl
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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import jwt
import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect, sync_playwright

from lambda_src.composition.app import build_app
from lambda_src.composition.aws import Clients
from lambda_src.composition.stores import build_store
from lambda_src.dev.emulator import Emulator, Switches
from lambda_src.settings import Settings
from tests import content_markers
from tests.content_markers import MARKERS
from tests.web.chat_page import ChatPage
from tests.web.echo import parts

ROOT = Path(__file__).parents[2]
expect.set_options(timeout=20_000)  # a busy machine; nothing waits as long where all is well
# The headless shell first: it needs a third of the CPU time, and is what Playwright itself takes for headless runs.
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
GUESTS = {"CHAT_STORE": "memory", "CHAT_GUEST_SECRET": "arn:browser-tests"}
MISSING = f"NO BROWSER: none of {', '.join(BROWSERS)} is here. `make browser` brings one."
CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]  # root in a container has no sandbox
ISSUER = "https://issuer.test"
HOSTED = {"CHAT_STORE": "memory", "CHAT_AUTH_ISSUER": f"{ISSUER}/", "CHAT_AUTH_AUDIENCE": "chat"}
PEOPLE = HOSTED | {"CHAT_AUTH_CLIENT_ID": "page"}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """No browser is no small matter: say it where nobody overlooks it."""
    skipped = terminalreporter.stats.get("skipped", [])
    if any("NO BROWSER" in str(report.longrepr) for report in skipped):
        terminalreporter.write_sep("!", "THE PAGE WAS NOT TESTED IN A BROWSER", red=True)
        terminalreporter.write_line(str(skipped[0].longrepr))


def find_chromium(env: Mapping[str, str] = os.environ) -> str:
    """The path of a Chromium on PATH. Without one the test is skipped, loudly (above); in CI it fails."""
    for name in BROWSERS:
        if found := shutil.which(name, path=env.get("PATH")):
            return found
    if env.get("CI"):
        pytest.fail(MISSING, pytrace=False)
    pytest.skip(MISSING)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the browser."""
    return find_chromium()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page that is served, as its sources are now. Built once in a run: the others would see it replaced."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", uuid.uuid4().hex)
    mark = tmp_path_factory.getbasetemp().parent / f"page-{run}"
    with mark.open("a+") as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        if mark.stat().st_size == 0:
            done = subprocess.run(
                [sys.executable, "-m", "infra.bundle.web_page"], cwd=ROOT, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
            one_at_a_time.write("built")
    return ROOT / "lambda_src" / "web"


@pytest.fixture(scope="package")  # not longer: while it lives, no test of another suite can run a loop of its own
def browser(chromium: str, built: Path) -> Iterator[Browser]:
    """One for all tests; each has a context of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=CHROMIUM_FLAGS,
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`make dev FLAGS=--showcase`, which lets in the examples' pages: its URL."""
    flags = ["--showcase", "--origin", "http://localhost:*", "--origin", "http://127.0.0.1:*"]
    with made(tmp_path_factory.mktemp("dev"), *flags) as (url, said):
        yield url
    written = "".join(said)
    assert "threads." in written, "make dev names each request, and none was heard of"
    assert not (told := content_markers.leaked_markers([("make dev's stdout", written)])), (
        f"make dev told what was sent: {told}"
    )


@contextmanager
def made(data: Path, *flags: str) -> Iterator[tuple[str, list[str]]]:
    """`make dev` with these flags: its URL, and what it printed, once it has ended."""
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "lambda_src.dev", "--port", "0", "--data", str(data), *flags),
            *("--managed", "16", "--no-cancel"),  # one process, in which turns go on as in an on-demand function
        ],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True,
        env={name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        printed = ""
        for line in process.stdout:
            printed += line
            if "Ctrl-C stops everything" in line:
                break
        found = re.search(r"http://127\.0\.0\.1:\d+", printed)
        assert found is not None, printed
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.extend(process.stdout or ()))  # a full pipe would stop it
        reader.start()
        try:
            yield f"{found[0]}/", said
        finally:
            process.send_signal(signal.SIGINT)
            reader.join()


@contextmanager
def served(env: dict[str, str], handler: str = "tests.web.page_handlers.handler") -> Iterator[str]:
    """A handler (tests/web/page_handlers.py) behind an emulated function URL, in one process: its URL."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> Emulator:
        switches = Switches(managed=16, cancel_when_caller_leaves=False)  # one process, but an on-demand function
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
def served_here(env: dict[str, str]) -> Iterator[str]:
    """The chat of tests/web/echo.py on uvicorn in a thread of this process: its URL.

    It starts in a tenth of the time that a process of the emulator takes. For tests of the page's own logic, such as
    signing in; those of streams, Stop and reloads go through the emulator.
    """
    settings = Settings.from_env(env)
    store, ledger = build_store(settings, Clients())
    server = uvicorn.Server(uvicorn.Config(build_app(settings, store, ledger, parts(settings)), log_config=None))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()  # a browser that connects before uvicorn has started waits
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def guests() -> Iterator[str]:
    """A server that takes guests."""
    with served(GUESTS) as url:
        yield url


@pytest.fixture(scope="session")
def hosted() -> Iterator[str]:
    """A server whose users are signed in by the site around the page."""
    with served(HOSTED) as url:
        yield url


@pytest.fixture(scope="package")  # no thread of it is left when other suites run
def people() -> Iterator[str]:
    """A server whose users sign in at ISSUER, which tests play in the browser's network."""
    with served_here(PEOPLE) as url:
        yield url


@pytest.fixture(scope="package")  # no thread of it is left when other suites run
def visitors() -> Iterator[str]:
    """A server that takes guests, who may sign in later."""
    with served_here(PEOPLE | GUESTS) as url:
        yield url


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """A tab in a context of its own. Whatever goes wrong in its scripts, or against its policy, fails the test."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 860},
        reduced_motion="reduce",
        user_agent=f"Chromium {MARKERS['user-agent']}",
        extra_http_headers={"x-marker": MARKERS["header"]},
    )
    context.add_cookies([{"name": "session", "value": MARKERS["cookie"], "url": "http://127.0.0.1"}])
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(f"{error}\n{error.stack}"))
    page.on(
        "console",
        lambda said: wrong.append(said.text) if said.type == "error" and "load resource" not in said.text else None,
    )
    yield page
    context.close()
    assert not wrong, "\n".join(wrong)


@pytest.fixture
def chat(tab: Page, dev: str) -> ChatPage:
    """The page of `make dev`, not loaded yet."""
    return ChatPage(tab, dev)


def sign_in(tab: Page) -> None:
    """As the site around the page does: a token in the tab's own storage, of somebody who was never there before."""
    claims = {
        "sub": uuid.uuid4().hex,
        "client_id": "page",
        "exp": int(time.time()) + 3600,
        "marker": MARKERS["token"],
    }
    token = jwt.encode(claims, "not-looked-at-" * 3)
    tab.add_init_script(f"sessionStorage.getItem('chat.token') ?? sessionStorage.setItem('chat.token', '{token}')")


@pytest.fixture
def echo(tab: Page, hosted: str) -> ChatPage:
    """The page of somebody new, whose assistant says what was said."""
    sign_in(tab)
    return ChatPage(tab, hosted)


@pytest.fixture
def guest(tab: Page, guests: str) -> ChatPage:
    """The page as a guest, whose assistant says what was said."""
    return ChatPage(tab, guests)
