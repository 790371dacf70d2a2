"""What the documentation says, held to the code."""

import re
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from lambda_src.settings import PREFIX, Settings

ROOT = Path(__file__).parents[1]
THE_USERS = ("lambda_src/agent/", "tests/agent/")  # what stands in there, and whether it does, is no test's business
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def settings_table() -> str:
    rows = []
    for setting in fields(Settings):
        default = (
            "required"
            if setting.default is MISSING
            else ""
            if setting.default in (None, ())
            else f"`{setting.default}`"
        )
        rows.append(f"| `{PREFIX}{setting.name.upper()}` | {default} | {setting.metadata['doc']} |")
    return "\n".join(rows)


def test_the_readme_lists_every_setting_as_it_is() -> None:
    assert settings_table() in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    paths = re.findall(r"`((?:lambda_src|infra|tests|docs|web|examples|\.ci|\.github)/[\w./-]*)`", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    missing += [path for path in paths if not path.startswith(THE_USERS) and not (ROOT / path).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:`|\$ )make ([a-z-]+)", page.read_text(encoding="utf-8")))
    assert named <= targets
