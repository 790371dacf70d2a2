"""Benchmark of the page in Chromium on the emulator: `make bench-page` writes it into docs/reference/benchmarks.md.

Times are measured in the page with its own clock: from the key event to the frame that shows the message bubble, and
from a chunk's arrival in fetch() to the frame that shows its word.
"""

import os
import platform
import statistics
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from playwright.sync_api import Page, expect, sync_playwright

from tests.bench import report
from tests.web import conftest
from tests.web.chat_page import ChatPage

LONG = "a long answer"  # tests/web/echo.py answers this with 100,000 characters
PRESSES = 20
WORDS = 200
MEASURE = """
window.bubbles = []; window.rendered = []; window.frames = [];
const afterPaint = (then) => requestAnimationFrame(() => {
  const port = new MessageChannel();
  port.port1.onmessage = then;
  port.port2.postMessage(0);
});
let pressed = null;
addEventListener("keydown", (event) => { if (event.key === "Enter") pressed = event.timeStamp; }, true);
const arrived = new Map(), real = window.fetch;
window.fetch = async (...what) => {
  const answer = await real(...what);
  if (!answer.headers.get("content-type")?.startsWith("text/event-stream")) return answer;
  const decoder = new TextDecoder();
  const timed = answer.body.pipeThrough(new TransformStream({ transform(chunk, stream) {
    const now = performance.now();
    for (const [word] of decoder.decode(chunk).matchAll(/(?<="delta":" ?)w\\d+/g)) arrived.set(word, now);
    stream.enqueue(chunk);
  } }));
  return new Response(timed, { status: answer.status, headers: answer.headers });
};
addEventListener("DOMContentLoaded", () => new MutationObserver(() => {
  if (pressed !== null && document.querySelector(".bubble")) {
    const began = pressed;
    pressed = null;
    afterPaint(() => window.bubbles.push(performance.now() - began));
  }
  if (!arrived.size) return;
  const text = document.querySelector(".is-assistant_message:last-child")?.textContent ?? "";
  const words = new Set(text.match(/w\\d+/g));
  const seen = [...arrived].filter(([word]) => words.has(word));
  for (const [word] of seen) arrived.delete(word);
  afterPaint(() => { for (const [, at] of seen) window.rendered.push(performance.now() - at); });
}).observe(document.body, { childList: true, subtree: true, characterData: true }));
window.countFrames = () => {
  let last = performance.now();
  const tick = (now) => {
    window.frames.push(now - last);
    last = now;
    if (!window.enough) requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
};
"""


def p95(values: list[float]) -> float:
    """The 95th percentile."""
    return statistics.quantiles(values, n=20)[-1]


@contextmanager
def measured_page() -> Iterator[ChatPage]:
    """The page with the MEASURE script, on its own server."""
    chromium = conftest.find_chromium()
    with ExitStack() as stack:
        url = stack.enter_context(conftest.served(conftest.HOSTED))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=chromium, args=conftest.CHROMIUM_FLAGS)
        stack.callback(browser.close)
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        conftest.sign_in(page)
        page.add_init_script(MEASURE)
        yield ChatPage(page, url).open()


def presses(chat: ChatPage) -> list[float]:
    """Milliseconds from Enter to the message bubble, each in a new thread."""
    for number in range(PRESSES):
        chat.button("New chat").first.click()
        chat.ask(f"hello {number}")
    times_ms: list[float] = chat.page.evaluate("window.bubbles")
    return times_ms


def deltas(chat: ChatPage) -> list[float]:
    """Milliseconds from a word's arrival to the frame that shows it."""
    chat.button("New chat").first.click()
    chat.ask("slowly " + " ".join(f"w{number}" for number in range(WORDS)))
    times_ms: list[float] = chat.page.evaluate("window.rendered")
    return times_ms


def long_answer(chat: ChatPage) -> tuple[list[float], float]:
    """Frame times in milliseconds while 100,000 characters are streamed, and the page's heap in MB afterwards."""
    chat.button("New chat").first.click()
    chat.page.evaluate("window.countFrames()")
    chat.say(LONG)
    expect(chat.button("Send")).to_be_visible(timeout=120_000)
    chat.page.evaluate("window.enough = true")
    frames: list[float] = chat.page.evaluate("window.frames")
    return frames, heap_mb(chat.page)


def heap_mb(page: Page) -> float:
    """The page's heap after a garbage collection, with DOM and buffers."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    usage: dict[str, Any] = session.send("Runtime.getHeapUsage")
    return float(usage["usedSize"] + usage.get("embedderHeapUsedSize", 0) + usage.get("backingStorageSize", 0)) / 1e6


def main() -> None:
    """Measure, then print and write the results."""
    with measured_page() as chat:
        bubbles, rendered = presses(chat), deltas(chat)
        frames, heap = long_answer(chat)
    rows = [
        (f"Enter to the user's bubble, worst of {len(bubbles)}", f"{max(bubbles):.0f} ms", "50 ms"),
        ("... in the median", f"{statistics.median(bubbles):.0f} ms", "-"),
        (f"a delta's arrival to its pixels, p95 of {len(rendered)}", f"{p95(rendered):.0f} ms", "50 ms"),
        ("100,000 characters in 2,000 deltas: a frame, p95", f"{p95(frames):.0f} ms", "50 ms"),
        ("... in the median", f"{statistics.median(frames):.0f} ms", "-"),
        ("... the page's heap afterwards", f"{heap:.0f} MB", "150 MB"),
    ]
    table = "\n".join(f"| {name} | {value} | {most} |" for name, value, most in rows)
    part = (
        "<!-- bench-page: begin -->\n## The page\n\n"
        f"`make bench-page` on {platform.system()} {platform.machine()}, in headless Chromium. The "
        f"browser and the emulator share {os.cpu_count()} cores.\n\n"
        f"| | measured | aimed at |\n|---|---|---|\n{table}\n<!-- bench-page: end -->\n"
    )
    print(part)  # noqa: T201 - a command line
    report.write("bench-page", part)


if __name__ == "__main__":
    main()
