"""Ten words that whatever the suite sends carries, and that no process may ever tell: not in a log, a metric, a trace.

The clients of the tests plant them in every request; tests/conftest.py looks for them in what every test wrote. Pure.
"""

import json
from collections.abc import Iterable
from typing import Any

CANARIES = {
    place: f"canary-{place}-7f3a9c"
    for place in (
        "header", "user-agent", "cookie", "referer", "query",
        "body", "token", "file", "exception", "answer",
    )
}  # fmt: skip

HEADERS = {
    "x-canary": CANARIES["header"],
    "user-agent": CANARIES["user-agent"],
    "cookie": f"session={CANARIES['cookie']}",
    "referer": f"https://{CANARIES['referer']}.test/",
}
QUERY = {"canary": CANARIES["query"]}


def request_body(operation: str, params: dict[str, Any]) -> bytes:
    """A ChatKit request with a canary where ChatKit lets clients put what they like."""
    return json.dumps({"type": operation, "params": params, "metadata": {"canary": CANARIES["body"]}}).encode()


def told(sections: Iterable[tuple[str, str]]) -> list[str]:
    """The canaries in what a test wrote to stdout and stderr; pytest's own record of log calls is not an output."""
    written = "".join(text for name, text in sections if "stdout" in name or "stderr" in name)
    return [place for place, canary in CANARIES.items() if canary in written]
