"""Formats the function's JSON log for people: one short line for each event, none for metrics. Pure.

Lines that are not our JSON pass unchanged.
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
)  # fields that are shown elsewhere in the line, or not at all

BROKEN = "\nlambda_src.dev.broken.BrokenAgentError: "  # broken.py has printed it as one sentence


def readable(line: str) -> str | None:
    """The readable form of a log line without its newline; None for lines that are only for machines."""
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
            summary = f"{fields.get('status', '???')}  {fields.get('operation', '')}  {_seconds(fields['duration_ms'])}"
            return f"{summary}  ({fields['code']})" if "code" in fields else summary
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
    """A text stream that writes the readable form of complete lines to `out`. Times are UTC, as in the log."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._begun = ""  # an incomplete line

    def write(self, text: str, /) -> None:
        """Write more of the log."""
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            if (event := readable(line)) is not None:
                self._out.write(event + "\n")

    def flush(self) -> None:
        """Flush `out`; complete lines were written already."""
        self._out.flush()
