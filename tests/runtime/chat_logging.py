"""A handler whose process logs as the deployed chat does, for the tests of processes."""

import logging
from typing import Any

from lambda_src.observability.logs import configure_logging
from tests.runtime.apps import Answers

configure_logging(root=logging.getLogger())

WORDS = "what a person wrote"


@Answers
def fails(event: Any, context: Any) -> None:
    """Fails, with a cause; a library has its say before."""
    logging.getLogger("some.library").error("about %s \ud800", WORDS)
    try:
        raise KeyError(WORDS)
    except KeyError as fault:
        raise ValueError(f"not understood: {WORDS}") from fault
