"""OpenAI's public tokenizer. It is loaded when it is first needed, because that takes seconds."""

from functools import cache
from typing import Any


@cache
def _vocabulary() -> Any:
    from bpe_openai import get_encoding

    return get_encoding("o200k_base")  # OpenAI's models since GPT-4o


def count_tokens(text: str) -> int:
    """The number of tokens that a model reads."""
    return len(_vocabulary().encode_ordinary(text))
