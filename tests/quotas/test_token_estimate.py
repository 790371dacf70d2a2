"""The estimate of a request's tokens, compared with the count of a public tokenizer, kind by kind."""

import base64
import json
import random
import re
import string
from pathlib import Path
from typing import Any

import pytest
from bpe_openai import get_encoding

from lambda_src.quotas import token_estimate

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus"
O200K = get_encoding("o200k_base")  # OpenAI's models since GPT-4o
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


def counted(text: str) -> int:
    return len(O200K.encode_ordinary(text))


@pytest.mark.parametrize("kind", [*KINDS, *HOSTILE])
def test_the_estimate_is_an_upper_bound_of_what_a_tokenizer_counts(kind: str) -> None:
    text = (KINDS | HOSTILE)[kind]
    assert counted(text) <= token_estimate.at_most(text)


@pytest.mark.parametrize("seed", range(20))
def test_no_repeated_pattern_is_more_than_half_above_the_estimate(seed: int) -> None:
    """Somebody who searches finds patterns above it; docs/auth.md states by how much."""
    chosen = random.Random(seed)
    for _ in range(200):
        text = "".join(chosen.choice(string.printable) for _ in range(chosen.randrange(2, 7))) * 30
        assert counted(text) <= token_estimate.at_most(text) * 3 / 2


def test_the_page_states_the_margin_of_each_kind() -> None:
    told = dict(
        re.findall(r"^\| ([A-Za-z0-9]+) \| ([0-9.]+) \|$", (ROOT / "docs" / "auth.md").read_text(), re.MULTILINE)
    )
    assert {kind: f"{token_estimate.at_most(text) / counted(text):.1f}" for kind, text in KINDS.items()} == told


def test_the_mean_is_near_for_prose() -> None:
    for kind in ("English", "German", "Python", "JSON", "Chinese"):
        assert 0.7 < token_estimate.about(KINDS[kind]) / counted(KINDS[kind]) < 1.7


def patches(width: int, height: int) -> int:
    """OpenAI's formula for pictures: 32 x 32 pixels are a patch, and no picture has more than 1,536."""
    return min(1_536, -(-width // 32) * -(-height // 32))


def tiles(width: int, height: int) -> int:
    """The older formula, in high detail: fit into 2,048 x 2,048, the short side to 768, tiles of 512 pixels."""
    scale = min(1.0, 2_048 / max(width, height))
    scale *= min(1.0, 768 / (min(width, height) * scale))
    return -(-round(width * scale) // 512) * -(-round(height * scale) // 512)


@pytest.mark.parametrize("size", [(1, 1), (512, 512), (1_024, 1_024), (4_096, 2_304), (768, 2_048), (10_000, 10_000)])
def test_a_picture_is_counted_as_the_largest_by_the_vendors_formulas(size: tuple[int, int]) -> None:
    costs = [patches(*size) * factor for factor in (1.0, 1.62, 2.46)] + [
        85 + 170 * tiles(*size),
        70 + 140 * tiles(*size),
    ]
    assert max(costs) <= token_estimate.IMAGE_TOKENS


def test_a_request_is_bounded_with_its_instructions_its_tools_and_its_messages() -> None:
    image = {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64," + "x" * 10**6}
    said = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": KINDS["English"]}, image]}
    called = {"type": "function_call_output", "call_id": "c", "output": KINDS["JSON"]}
    tool = {"name": "look_up", "description": "Looks a word up.", "parameters": {"type": "object"}}
    bound = token_estimate.input_at_most("Be brief.", [said, called], [tool])
    text = counted(json.dumps([{**said, "content": KINDS["English"]}, called, tool, "Be brief."]))
    assert text + token_estimate.IMAGE_TOKENS <= bound < 4 * text + token_estimate.IMAGE_TOKENS


@pytest.mark.parametrize(("text", "about"), [("word " * 1_000, 1_666), ("ä" * 1_000, 666), ("", 0)])
def test_tokens_are_counted_by_bytes_on_average(text: str, about: int) -> None:
    shown: list[Any] = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}]
    assert about <= token_estimate.shown_about(shown) <= about + 50
