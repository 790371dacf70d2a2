"""Benchmark of a person's answers: from the operator's request to the user's open page. `make bench-people`.

Writes its section of docs/reference/benchmarks.md. The page runs in Chromium, in our own client and beside a fake of
OpenAI's component. Pages look for news at an interval, so messages are sent at random moments of that interval.
"""

import random
import statistics
import time
from collections.abc import Callable

from playwright.sync_api import Browser, expect, sync_playwright

from tests.bench import report
from tests.web import conftest
from tests.web.chat_page import ChatPage
from tests.web.chatkit_cdn import with_cdn
from tests.web.test_people import Desk, operator_of, taken_beside_chatkit, thread_of

MARK = "bench-people"
MESSAGES = 40
PAUSE_S = 1.5  # our page looks as often
TARGET_S = 2.0
COMPONENT = conftest.STAFFED | {"CHAT_DOMAIN_KEY": "domain_pk_test"}


def seconds(desk: Desk, thread_id: str, shown: Callable[[int], None]) -> list[float]:
    """The seconds from each of the operator's messages to the moment at which `shown` returns."""
    dice = random.Random(1)
    taken = []
    for number in range(MESSAGES):
        time.sleep(dice.uniform(0, PAUSE_S))
        began_s = time.perf_counter()
        desk.do(thread_id, "messages", text=f"message {number}")
        shown(number)
        taken.append(time.perf_counter() - began_s)
    return taken


def own_client(browser: Browser) -> list[float]:
    """Until our own client shows the message."""
    with conftest.served_in_process(conftest.STAFFED) as url, operator_of(url) as desk:
        tab = browser.new_page()
        conftest.sign_in(tab)
        page = ChatPage(tab, url).open()
        page.ask("hello")
        page.button("Talk to a person").click()
        expect(tab.get_by_text("Waiting for a person.")).to_be_visible()
        desk.do(thread_of(page), "take")
        expect(tab.get_by_text("A person answers here.")).to_be_visible()
        return seconds(desk, thread_of(page), lambda number: tab.get_by_text(f"message {number}").first.wait_for())


def component(browser: Browser) -> list[float]:
    """Until the page asks OpenAI's component to fetch what is new."""
    with conftest.served_in_process(COMPONENT) as url, operator_of(url) as desk:
        tab = browser.new_page()
        conftest.sign_in(tab)
        chatkit = with_cdn(tab)
        thread_id = taken_beside_chatkit(chatkit, url, desk)
        tab.wait_for_timeout(2 * PAUSE_S * 1000)
        seen = int(chatkit.element.get_attribute("data-updates") or 0)
        return seconds(desk, thread_id, lambda number: tab.locator(f'[data-updates="{seen + number + 1}"]').wait_for())


def main() -> None:
    """Measure both clients and write the section."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=conftest.find_chromium(), args=conftest.CHROMIUM_FLAGS)
        measured = [("our own client", own_client(browser)), ("beside OpenAI's component (a fake)", component(browser))]
        browser.close()
    rows = [
        (name, f"{statistics.median(taken):.2f} s", f"{statistics.quantiles(taken, n=20)[-1]:.2f} s", f"{TARGET_S} s")
        for name, taken in measured
    ]
    text = report.section(
        MARK,
        [
            "## A person's answers",
            "",
            f"`make bench-people` on {report.machine()}.",
            "",
            "The time from an operator's request, which sends a message to a user, until the user's open page in",
            f"Chromium shows it. {MESSAGES} messages were sent at random moments.",
            "",
            *report.table(("", "median", "p95", report.AIM), rows),
        ],
    )
    report.write(MARK, text)


if __name__ == "__main__":
    main()
