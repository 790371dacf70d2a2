"""Content markers: ten strings sent as user content in every test, which must never reach a log, metric or trace.

The test clients put them into every request, and tests/conftest.py searches each test's output for them.
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
    """Return a ChatKit request with a marker in `metadata`, the field that clients may fill freely."""
    return json.dumps({"type": operation, "params": params, "metadata": {"marker": MARKERS["body"]}}).encode()


def leaked_markers(sections: Iterable[tuple[str, str]]) -> list[str]:
    """Name the markers in a test's stdout and stderr. Pytest's own capture of log calls is not output."""
    written = "".join(text for name, text in sections if "stdout" in name or "stderr" in name)
    return [place for place, marker in MARKERS.items() if marker in written]
