"""Test handler whose process logs like the deployed chat, and which fails with a user's text in the error."""

import logging
from typing import Any

from lambda_src.observability.logs import configure_logging
from tests.runtime.apps import Answers

configure_logging(root=logging.getLogger())

USER_TEXT = "what a person wrote"


@Answers
def fails(event: Any, context: Any) -> None:
    """Let a library log an error, then fail with a cause."""
    logging.getLogger("some.library").error("about %s \ud800", USER_TEXT)
    try:
        raise KeyError(USER_TEXT)
    except KeyError as fault:
        raise ValueError(f"not understood: {USER_TEXT}") from fault
