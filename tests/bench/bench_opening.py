"""Benchmark of a cold page in Chromium: from opening it to the thread list, and from Enter to an answer's first word.

    .venv/bin/python -m tests.bench.bench_opening [--rounds 5] [--quick]

prints a table for docs/explanation/speed.md. The emulator runs the built zip's folder with at most four sandboxes, none
of them running before a round. AWS is MiniStack, and the model is a fake Responses API. Enter is pressed two seconds
after the page is opened, or as soon as the message field exists. The contestants take turns. Linux only.
"""

import argparse
import asyncio
import io
import os
import platform
import signal
import statistics
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2
from playwright.async_api import Browser, async_playwright

from infra.bundle import build
from infra.bundle.wheels import LAMBDA
from lambda_src.dev.emulator import Emulator, Switches
from tests.apps.chat import message
from tests.auth.test_backend_tokens import token
from tests.bench import report
from tests.bench.bench_cold import ROOT, say, surroundings
from tests.web.conftest import CHROMIUM_FLAGS, find_chromium

MEMORY_MB = 1024  # the default of a stage
SHARE = MEMORY_MB / 1769  # CPU share of an invocation: 1,769 MB get a full CPU; INIT always does
PERIOD_S = 0.02  # Lambda's scheduling period
CREATION_S = 0.2  # from request to exec, while Lambda starts a microVM and loads the zip: about 100 to 300 ms
ENTER_S = 2.0
PATIENCE_S = 60.0
START = f"sleep {CREATION_S}; exec sh lambda_src/bootstrap {sys.executable} bootstrap.py"
MEASURE = """
const times = {};
let done;
window.measured = new Promise((resolve) => { done = resolve; });
const painted = (what) => requestAnimationFrame(() => {
  const port = new MessageChannel();
  port.port1.onmessage = () => {
    times[what] ??= performance.now();
    if (times.list && times.word) done(times);
  };
  port.port2.postMessage(0);
});
addEventListener("keydown", (event) => { if (event.key === "Enter") times.enter ??= event.timeStamp; }, true);
addEventListener("DOMContentLoaded", () => new MutationObserver(() => {
  if (document.querySelector("chat-threads li")) painted("list");
  if (document.querySelector(".is-assistant_message chat-markdown")?.textContent) painted("word");
}).observe(document.body, { childList: true, subtree: true, characterData: true }));
"""
CONTESTANTS = {"in INIT, as shipped": "", "by the first message": "prewarm"}  # CHAT_OPTIMIZATIONS_OFF


@dataclass(frozen=True, slots=True)
class Opening:
    """Seconds from opening the page to the thread list, and from Enter to the first word."""

    list_s: float
    word_s: float

    @property
    def sum_s(self) -> float:
        return self.list_s + self.word_s


@asynccontextmanager
async def slowed(pids: Sequence[int]) -> AsyncIterator[None]:
    """Limit these processes to the CPU share of an invocation, as Lambda does after INIT."""

    async def throttle() -> None:
        while True:
            send(pids, signal.SIGSTOP)
            await asyncio.sleep(PERIOD_S * (1 - SHARE))
            send(pids, signal.SIGCONT)
            await asyncio.sleep(PERIOD_S * SHARE)

    task = asyncio.create_task(throttle())
    try:
        yield
    finally:
        task.cancel()
        send(pids, signal.SIGCONT)


def send(pids: Sequence[int], number: int) -> None:
    """Send a signal to the processes that still exist."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


async def opened(built: Path, env: Mapping[str, str], browser: Browser) -> Opening:
    """Open the page once as a user with one thread, while no process is running."""
    bearer = token(sub=uuid.uuid4().hex)
    emulator = Emulator(
        "lambda_src.handler.handler",
        env=env,
        switches=Switches(memory_mb=MEMORY_MB, freeze=False),  # `slowed` stops and continues the processes
        task_root=built,
        command=("sh", "-c", START),
        output=io.StringIO(),
    )
    async with emulator:
        await add_thread(emulator.url, bearer)
        await emulator.reload()
        context = await browser.new_context(viewport={"width": 1280, "height": 860})
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_S * 1000)
        await page.add_init_script(f"sessionStorage.setItem('chat.token', '{bearer.removeprefix('Bearer ')}')")
        await page.add_init_script(MEASURE)
        clock = asyncio.get_running_loop().time
        enter_at = clock() + ENTER_S
        await page.goto(emulator.url, wait_until="commit")
        async with slowed(emulator.pids), asyncio.timeout(PATIENCE_S):
            text = page.get_by_label("Message", exact=True)
            await text.fill("Who are you?")
            await asyncio.sleep(max(0.0, enter_at - clock()))
            await text.press("Enter")
            times = await page.evaluate("window.measured")
        await context.close()
    return Opening(times["list"] / 1000, (times["word"] - times["enter"]) / 1000)


async def add_thread(url: str, bearer: str) -> None:
    """Create a thread for the list."""
    async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE_S, trust_env=False) as client:
        create = {"type": "threads.create", "params": {"input": message("hello")}}
        response = await client.post("/chatkit", json=create, headers={"authorization": bearer})
        if '"type":"error"' in response.text or response.is_error:
            raise RuntimeError(f"the function does not answer: {response.text[:2000]}")


async def measured(built: Path, rounds: int) -> dict[str, list[Opening]]:
    """Every contestant's openings, in turn. The first round warms the page cache and does not count."""
    openings_by_name: dict[str, list[Opening]] = {name: [] for name in CONTESTANTS}
    with tempfile.TemporaryDirectory() as folder:
        async with surroundings(Path(folder)) as (_, env), async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_FLAGS)
            for number in range(rounds + 1):
                for name, switched_off in CONTESTANTS.items():
                    opening = await opened(built, env | {"CHAT_OPTIMIZATIONS_OFF": switched_off}, browser)
                    if number:
                        openings_by_name[name].append(opening)
            await browser.close()
    return openings_by_name


def spread(values: Sequence[float]) -> str:
    """The median and range of times in seconds."""
    return f"{statistics.median(values):.1f} s ({min(values):.1f} to {max(values):.1f})"


def main() -> None:
    """Build, measure and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one round")
    options = parser.parse_args()
    target = LAMBDA["x86_64" if platform.machine() == "x86_64" else "arm64"]
    built = build.build(ROOT, environ=os.environ, target=target, say=say)
    load = os.getloadavg()[0]
    openings_by_name = asyncio.run(measured(built.folder, 1 if options.quick else options.rounds))
    rows = [
        (
            name,
            *(spread([getattr(opening, column) for opening in openings]) for column in ("list_s", "word_s", "sum_s")),
        )
        for name, openings in openings_by_name.items()
    ]
    lines = report.table(("the model's libraries are loaded", "list drawn", "Enter to the first word", "sum"), rows)
    sys.stdout.write("\n".join([*lines, f"On {report.machine()}, load {load:.1f} at the start.", ""]))


if __name__ == "__main__":
    main()
