"""Ten words that whatever the suite sends carries, and that no process may ever tell: not in a log, a metric, a trace.

The clients of the tests plant them in every request; tests/conftest.py looks for them in what every test wrote. Pure.
"""

import json
from collections.abc import Iterable
from typing import Any

MARKERS = {
    place: f"marker-{place}-7f3a9c"
    for place in (
        "header", "user-agent", "cookie", "referer", "query",
        "body", "token", "file", "exception", "answer",
    )
}  # fmt: skip

HEADERS = {
    "x-marker": MARKERS["header"],
    "user-agent": MARKERS["user-agent"],
    "cookie": f"session={MARKERS['cookie']}",
    "referer": f"https://{MARKERS['referer']}.test/",
}
QUERY = {"marker": MARKERS["query"]}


def request_body(operation: str, params: dict[str, Any]) -> bytes:
    """A ChatKit request with a marker where ChatKit lets clients put what they like."""
    return json.dumps({"type": operation, "params": params, "metadata": {"marker": MARKERS["body"]}}).encode()


def leaked_markers(sections: Iterable[tuple[str, str]]) -> list[str]:
    """The markers in what a test wrote to stdout and stderr; pytest's own record of log calls is not an output."""
    written = "".join(text for name, text in sections if "stdout" in name or "stderr" in name)
    return [place for place, marker in MARKERS.items() if marker in written]
