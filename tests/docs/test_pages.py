"""README and docs/: settings, links, commands, make targets, benchmark figures and packages match the code."""

import json
import re
import sys
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest

from lambda_src.dev.testing import AgentChat
from lambda_src.settings import PREFIX, Settings
from tests.bench import repeated, report
from tests.docs.page_links import linked

ROOT = Path(__file__).parents[2]
THE_USERS = ("lambda_src/agent/", "tests/agent/")  # the user's folders: tests must not depend on their content
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]


def settings_table() -> str:
    """Return the table for docs/reference/settings.md. When a setting changes, replace the table there with this."""
    return "\n".join(
        f"| `{PREFIX}{setting.name.upper()}` | {_default(setting.default)} | {linked(setting.metadata['doc'])} |"
        for setting in fields(Settings)
    )


def _default(value: object) -> str:
    """Format a default as an environment variable's value, so that it can be copied from the page."""
    if value is MISSING:
        return "required"
    if value in (None, ()) or is_dataclass(value):  # the page of options has the defaults of the latter
        return ""
    if isinstance(value, tuple):
        return f"`{','.join(value)}`"
    return f"`{json.dumps(value) if isinstance(value, bool) else value}`"


def blocks(page: Path, language: str) -> list[str]:
    """Return a page's code blocks in one language."""
    text = page.read_text(encoding="utf-8")
    return [dedent(block) for block in re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)]


def test_the_settings_page_is_up_to_date() -> None:
    assert settings_table() in (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")


def test_every_default_on_the_settings_page_is_accepted() -> None:
    documented = re.findall(r"^\| `(CHAT_\w+)` \| `(.+?)` \|", settings_table(), re.MULTILINE)
    needed = {"CHAT_AUTH_ISSUER": "https://issuer.test/", "CHAT_AUTH_AUDIENCE": "chat", "CHAT_TABLE": "t"}
    assert Settings.from_env(needed | dict(documented)) == Settings.from_env(needed)


async def test_the_agent_in_the_readme_works_as_described(monkeypatch: pytest.MonkeyPatch) -> None:
    [block] = blocks(README, "python")
    module = ModuleType("lambda_src.agent.model")  # the user's folder may no longer have that file
    monkeypatch.setattr(module, "MODEL", "a-model", raising=False)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    defined: dict[str, Any] = {}
    exec(compile(block, "README.md", "exec"), defined)
    phrase = re.search(r'^Say "(.+?)"', README.read_text(encoding="utf-8"), re.MULTILINE)
    assert phrase is not None
    reply = await AgentChat(defined["build_agent"]).say(phrase[1])
    assert reply.tools == ["opening_hours"]
    assert "Monday to Friday" in reply.text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_pages_import_the_default_model_instead_of_naming_it(page: Path) -> None:
    assert re.findall(r'model="gpt[^"]*"', page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_named_on_a_page_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    paths = re.findall(r"`((?:lambda_src|infra|tests|docs|web|examples|\.ci|\.github)/[\w./-]*)`", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    missing += [path for path in paths if not path.startswith(THE_USERS) and not (ROOT / path).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_blocks_in_numbered_steps_are_indented_by_four_spaces(page: Path) -> None:
    """With fewer, Python-Markdown ends the list, and the site numbers the next step 1 again."""
    assert re.findall(r"^ {1,3}```.*", page.read_text(encoding="utf-8"), re.MULTILINE) == [], "indent by four spaces"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_named_on_a_page_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:`|\$ )make ([a-z-]+)", page.read_text(encoding="utf-8")))
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_on_a_page_runs_as_written(page: Path) -> None:
    """A new shell at the project's root has no `chat` and no `uv` on its PATH, and a different `python`."""
    text = page.read_text(encoding="utf-8")
    fenced = [line for block in blocks(page, "(?:console|sh|text)?") for line in block.splitlines()]
    inline = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))
    commands = [line.removeprefix("$ ").strip() for line in [*fenced, *inline]]
    assert not [line for line in commands if re.match(r"(python3?|uv|chat|cdk|pytest) (?!=)", line)]


@pytest.mark.parametrize(
    ("measured", "aim", "is_missed"),
    [
        ("0.70x", "0.6", True),
        ("1.21x (5.43 / 4.50 ms)", "1.25x", False),
        ("1.26x (53.8 / 42.7 ms)", "1.2x", True),
        ("137.3", "50 ms", True),
        ("22 s at load 3, 36 s at load 8", "25 s", True),
        ("32.9 MB, 94.2 MB unzipped", "40 MB, 110 MB", False),
        ("1.01 s, 230 bytes", "2 s or 2 KB", False),
        ("99 of 100", "all", True),
        ("100 of 100", "all", False),
        ("0", "0", False),
        ("5,408.1 ms", "-", False),
    ],
)
def test_a_figure_above_its_target_counts_as_missed(measured: str, aim: str, is_missed: bool) -> None:
    assert report.is_missed(measured, aim) is is_missed
    row = f"| what | {measured} | {aim}{report.MISSED * is_missed} |"
    assert report.marked(f"| | measured | aimed at |\n{row}").endswith(row)


def test_every_figure_that_missed_its_target_is_marked() -> None:
    page = report.REPORT.read_text(encoding="utf-8")
    assert report.marked(page) == page, "tests/bench/report.py marks missed targets when it writes a section"


@pytest.mark.parametrize(
    ("runs", "merged"),
    [
        (["0.4x", "0.7x", "0.5x"], "0.5x (0.4 to 0.7)"),
        (["1.2x (5 / 4 ms)", "1.3x (6 / 4 ms)", "1.3x (7 / 5 ms)"], "1.3x (1.2 to 1.3; 6 / 4 ms)"),
        (["1.10 s, 230 bytes", "0.9 s, 1,200 bytes"], "1.00 s (0.9 to 1.10), 715 bytes (230 to 1,200)"),
        (["100 of 100", "99 of 100"], "99 of 100"),
        (["0.6 **missed**", "0.6"], "0.6"),
    ],
)
def test_several_runs_of_a_benchmark_become_medians_and_ranges(runs: list[str], merged: str) -> None:
    sections = [f"Intro.\n\n| | measured | aimed at |\n|---|---|---|\n| what | {run} | 0.6 |" for run in runs]
    row = repeated.merged(sections, "Note.").split("\n")
    assert row[2:] == ["Note.", "", "| | measured | aimed at |", "|---|---|---|", f"| what | {merged} | 0.6 |"]


def test_the_last_column_of_a_table_is_merged_too() -> None:
    assert repeated.merged(["| a | 1 | 2.0 |", "| a | 1 | 3.0 |"], "").endswith("| a | 1 | 2.5 (2.0 to 3.0) |")


def test_runs_with_other_rows_are_not_merged() -> None:
    with pytest.raises(repeated.MismatchError):
        repeated.merged(["| a | 1 |", "| a | 1 |\n| b | 2 |"], "Note.")


def test_the_architecture_page_names_every_package() -> None:
    section = (
        (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8").partition("## Packages")[2]
    )
    rows = [row.split(" | ")[0] for row in section.partition("\n## ")[0].splitlines() if row.startswith("| `")]
    named = [name.rstrip("/") for row in rows for name in re.findall(r"`(.+?)`", row)]
    packages = {path.name for path in (ROOT / "lambda_src").iterdir() if not path.name.startswith("__")}
    assert sorted(named) == sorted(
        packages | {"web", "agent"}
    )  # built files and the user's folder, which may be missing
