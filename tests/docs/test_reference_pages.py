"""docs/reference/limits.md, model-errors.md and tokens.md: limits, kinds of errors and sizes are those of the code."""

import re
from dataclasses import fields
from pathlib import Path
from typing import get_args

from infra.stage.sections import GuestConfig, QuotaConfig
from lambda_src.auth.guest_access import PER_ADDRESS, PER_STAGE
from lambda_src.auth.jwt_claims import ALGORITHMS, MAX_SUBJECT_CHARS, MAX_TOKEN_CHARS
from lambda_src.json_settings import GUEST_TURN_TOKENS
from lambda_src.models.errors import Kind
from lambda_src.quotas.file_quota import GUEST_FILE_BYTES, GUEST_FILES
from lambda_src.quotas.turn_quota import GUEST_PER_MINUTE, GUEST_RUNNING
from lambda_src.settings import MESSAGE_CHARS

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def _section(page: str, heading: str) -> str:
    """Return the text below a heading, up to the next one."""
    text = (REFERENCE / page).read_text(encoding="utf-8").partition(f"## {heading}\n")[2]
    assert text, f"{page} has no section '{heading}'"
    return text.partition("\n## ")[0]


def _rows(text: str) -> dict[str, str]:
    """Return the second cell of each table row by its first cell."""
    return dict(re.findall(r"^\| (.+?) \| (.*?) \|", text, re.MULTILINE))


def test_the_limits_page_lists_every_quota_of_a_stage() -> None:
    named = {
        name for cell in _rows(_section("limits.md", "Quotas of a stage")) for name in re.findall(r"`(.+?)`", cell)
    }
    assert named == {field.name for field in fields(QuotaConfig)}


def test_the_limits_page_states_the_limits_of_guests() -> None:
    rows = _rows(_section("limits.md", "Guests"))
    quotas = GuestConfig()
    expected = {
        "messages per minute": f"{GUEST_PER_MINUTE}",
        "messages per day": f"{quotas.messages_per_day}",
        "answers at the same time": f"{GUEST_RUNNING}",
        "characters in a message": f"{GUEST_TURN_TOKENS:,}",
        "tokens of the thread that the model sees": f"{GUEST_TURN_TOKENS:,}",
        "tokens in one response of the model": f"{GUEST_TURN_TOKENS // 4:,}",
        "files per day": f"{GUEST_FILES}",
        "bytes of files per day": f"{GUEST_FILE_BYTES // 1_000_000} MB",
        "new guests from one address in a day": f"{PER_ADDRESS}",
        "new guests of the stage in a day": f"{PER_STAGE:,}",
    }
    assert {name: rows[name] for name in expected} == expected


def test_the_limits_page_states_the_default_length_of_a_message() -> None:
    assert _rows(_section("limits.md", "One turn"))["characters in a message"] == f"{MESSAGE_CHARS:,}"


def test_the_page_about_model_errors_explains_every_kind() -> None:
    page = (REFERENCE / "model-errors.md").read_text(encoding="utf-8")
    documented = {kind for cell in _rows(page) for kind in re.findall(r"`(\w+)`", cell)} - {"kind"}
    assert documented == set(get_args(Kind))


def test_the_page_about_tokens_states_algorithms_and_sizes() -> None:
    page = (REFERENCE / "tokens.md").read_text(encoding="utf-8")
    assert "{}, {} or {}".format(*ALGORITHMS) in page
    assert f"at most {MAX_SUBJECT_CHARS} characters" in page
    assert f"at most {MAX_TOKEN_CHARS:,} characters" in page
