"""The token estimate, compared with a public tokenizer for each kind of text and for hostile input."""

import base64
import json
import random
import re
import string
from pathlib import Path
from typing import Any

import pytest

from lambda_src.quotas import token_estimate
from tests.quotas.tokenizer import count_tokens

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus"
pytestmark = pytest.mark.xdist_group("tokenizer")  # loaded once
RANDOM = random.Random(17)


def _chosen_from(alphabet: str, length: int = 3_000) -> str:
    return "".join(RANDOM.choice(alphabet) for _ in range(length))


def _points(first: int, last: int) -> str:
    return "".join(map(chr, range(first, last)))


KINDS = {
    "English": (CORPUS / "english.txt").read_text(),
    "German": (CORPUS / "german.txt").read_text(),
    "Chinese": (CORPUS / "chinese.txt").read_text(),
    "Python": (CORPUS / "code.txt").read_text(),
    "JSON": (CORPUS / "records.json").read_text(),
    "base64": base64.b64encode(RANDOM.randbytes(2_000)).decode(),
}
HOSTILE = {
    "hexadecimal": RANDOM.randbytes(1_500).hex(),
    "small letters": _chosen_from(string.ascii_lowercase),
    "capitals": _chosen_from(string.ascii_uppercase),
    "letters": _chosen_from(string.ascii_letters),
    "rare pairs": _chosen_from("jqxzvk"),
    "digits": _chosen_from(string.digits),
    "lone digits": " ".join(_chosen_from(string.digits)),
    "lone letters": " ".join(_chosen_from(string.ascii_letters)),
    "punctuation": _chosen_from(string.punctuation),
    "printable": _chosen_from(string.printable),
    "a pair that is two tokens": "\\o" * 1_000,
    "white space": _chosen_from(" \t\n"),
    "control characters": _chosen_from(_points(0, 32)),
    "accents": _chosen_from(_points(0xC0, 0x180)),
    "Greek": _chosen_from(_points(0x391, 0x3CA)),
    "Cyrillic": _chosen_from(_points(0x410, 0x450)),
    "Arabic": _chosen_from(_points(0x621, 0x64B)),
    "rare Chinese": _chosen_from(_points(0x4E00, 0xA000)),
    "Hangul": _chosen_from(_points(0xAC00, 0xD7A4)),
    "all of the first plane": _chosen_from(_points(0x100, 0xD800)),
    "emoji": _chosen_from(_points(0x1F300, 0x1F700)),
    "the second plane": _chosen_from(_points(0x20000, 0x2A6DF)),
}


@pytest.mark.parametrize("kind", [*KINDS, *HOSTILE])
def test_the_estimate_is_an_upper_bound_of_the_tokenizers_count(kind: str) -> None:
    text = (KINDS | HOSTILE)[kind]
    assert count_tokens(text) <= token_estimate.at_most(text)


@pytest.mark.parametrize("seed", range(20))
def test_no_repeated_pattern_exceeds_the_estimate_by_more_than_half(seed: int) -> None:
    """A search finds patterns above the estimate; docs/reference/limits.md states by how much."""
    generator = random.Random(seed)
    for _ in range(200):
        text = "".join(generator.choice(string.printable) for _ in range(generator.randrange(2, 7))) * 30
        assert count_tokens(text) <= token_estimate.at_most(text) * 3 / 2


def test_the_page_states_the_margin_of_each_kind() -> None:
    documented = dict(
        re.findall(
            r"^\| ([A-Za-z0-9]+) \| ([0-9]+\.[0-9]) \|$",
            (ROOT / "docs" / "reference" / "limits.md").read_text(),
            re.MULTILINE,
        )
    )
    assert {
        kind: f"{token_estimate.at_most(text) / count_tokens(text):.1f}" for kind, text in KINDS.items()
    } == documented


def test_the_average_estimate_is_close_for_prose() -> None:
    for kind in ("English", "German", "Python", "JSON", "Chinese"):
        assert 0.7 < token_estimate.about(KINDS[kind]) / count_tokens(KINDS[kind]) < 1.7


def patches(width: int, height: int) -> int:
    """OpenAI's formula for images: patches of 32 x 32 pixels, at most 1,536 per image."""
    return min(1_536, -(-width // 32) * -(-height // 32))


def tiles(width: int, height: int) -> int:
    """OpenAI's older formula, high detail: scale to 2,048 x 2,048, then the short side to 768; tiles of 512 pixels."""
    scale = min(1.0, 2_048 / max(width, height))
    scale *= min(1.0, 768 / (min(width, height) * scale))
    return -(-round(width * scale) // 512) * -(-round(height * scale) // 512)


@pytest.mark.parametrize("size", [(1, 1), (512, 512), (1_024, 1_024), (4_096, 2_304), (768, 2_048), (10_000, 10_000)])
def test_an_image_costs_at_least_as_much_as_by_any_vendor_formula(size: tuple[int, int]) -> None:
    costs = [patches(*size) * factor for factor in (1.0, 1.62, 2.46)] + [
        85 + 170 * tiles(*size),
        70 + 140 * tiles(*size),
    ]
    assert max(costs) <= token_estimate.IMAGE_TOKENS


def test_the_bound_of_a_request_includes_instructions_tools_and_messages() -> None:
    image = {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64," + "x" * 10**6}
    user_message = {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": KINDS["English"]}, image],
    }
    tool_output = {"type": "function_call_output", "call_id": "c", "output": KINDS["JSON"]}
    tool = {"name": "look_up", "description": "Looks a word up.", "parameters": {"type": "object"}}
    bound = token_estimate.input_at_most("Be brief.", [user_message, tool_output], [tool])
    text_tokens = count_tokens(
        json.dumps([{**user_message, "content": KINDS["English"]}, tool_output, tool, "Be brief."])
    )
    assert text_tokens + token_estimate.IMAGE_TOKENS <= bound < 4 * text_tokens + token_estimate.IMAGE_TOKENS


@pytest.mark.parametrize(("text", "about"), [("word " * 1_000, 1_666), ("ä" * 1_000, 666), ("", 0)])
def test_the_average_estimate_counts_bytes(text: str, about: int) -> None:
    items: list[Any] = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}]
    assert about <= token_estimate.shown_about(items) <= about + 50
