"""The function's log as a person reads it: one short line for what Lambda would get as JSON, none for metrics. Pure.

Whatever is none of our JSON comes through as it is.
"""

import json
from collections.abc import Mapping
from typing import Any, TextIO

TOLD = (
    "level",
    "location",
    "message",
    "timestamp",
    "request_id",
    "user",
    "source",
    "cold_start",
    "traceback",
    "stack",
    "logger",
    "requestId",
)  # or of no interest here

BROKEN = "\nlambda_src.dev.broken.BrokenAgentError: "  # that was printed by broken.py, as one sentence


def readable(line: str) -> str | None:
    """A line of the log, without its end, as a person reads it; None for one that is only for machines."""
    if not line.startswith("{"):
        return line
    try:
        fields = json.loads(line)
    except ValueError:
        return line
    if "_aws" in fields or BROKEN in fields.get("traceback", ""):
        return None
    if not {"level", "message", "timestamp"} <= fields.keys():
        return line
    return f"{fields['timestamp'][11:19]}  {_event(fields)}"


def _event(fields: Mapping[str, Any]) -> str:
    match fields["message"]:
        case "request":
            told = f"{fields.get('status', '???')}  {fields.get('operation', '')}  {_seconds(fields['duration_ms'])}"
            return f"{told}  ({fields['code']})" if "code" in fields else told
        case "turn":
            first = f"first word after {_seconds(fields['first_token_ms'])}, " if "first_token_ms" in fields else ""
            tokens = f", {fields['tokens_in']} + {fields['tokens_out']} tokens" if fields.get("tokens_in") else ""
            end = "" if fields.get("kind") == "whole" else f", {fields.get('kind')}"
            return f"     answer: {first}all after {_seconds(fields['duration_ms'])}{tokens}{end}"
        case event:
            rest = " ".join(f"{name}={value}" for name, value in fields.items() if name not in TOLD)
            level = "" if fields["level"] == "INFO" else f"{fields['level']} "
            traceback = f"\n{fields['traceback'].rstrip()}" if "traceback" in fields else ""
            return f"{level}{event} {rest}".rstrip() + traceback


def _seconds(duration_ms: float) -> str:
    return f"{duration_ms / 1000:.2f} s"


class Readable:
    """Passes whole lines on to `out`, made readable. Times are UTC, as in the log."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._begun = ""  # a line whose end has not come yet

    def write(self, text: str, /) -> None:
        """Take more of the log."""
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            if (told := readable(line)) is not None:
                self._out.write(told + "\n")

    def flush(self) -> None:
        """What has a whole line is out already."""
        self._out.flush()
