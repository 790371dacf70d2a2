"""What your agent can do. A function with a docstring and types is all it takes."""

from datetime import UTC, datetime

from agents import function_tool


@function_tool
def current_time() -> str:
    """The present date and time in UTC, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
