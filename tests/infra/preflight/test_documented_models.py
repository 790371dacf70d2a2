"""infra/preflight/documented_models.py: the weekly check for upcoming shutdowns of models that we ship or document.

Only the workflow checks the real repository.
"""

from datetime import date, timedelta
from pathlib import Path

import pytest

from infra.preflight.documented_models import LIST, found, shutdowns

ROOT = Path(__file__).parents[3]
TODAY = date(2026, 11, 28)
SOON = {"gpt-5": TODAY + timedelta(days=13), "gpt-5-mini": TODAY + timedelta(days=13)}


@pytest.mark.parametrize(
    ("line", "models"),
    [
        ('MODEL = "gpt-5-mini"', ["gpt-5-mini"]),
        ("Use gpt-5.", ["gpt-5"]),
        ("CHAT_MODELS=gpt-5-mini,gpt-5", ["gpt-5-mini", "gpt-5"]),
        ("gpt-5.6-luna, my-gpt-5, gpt-5-nano and gpt-50", []),
    ],
)
def test_a_model_is_matched_by_its_whole_name(line: str, models: list[str], tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "models.md").write_text(f"\n{line}\n", encoding="utf-8")
    lines = list(found(tmp_path, SOON, today=TODAY))
    assert lines == [f"docs/models.md:2 names {model}, which is shut down on {SOON[model]}." for model in models]


@pytest.mark.parametrize(("days", "lines"), [(90, 0), (89, 1), (-1, 1)])
def test_a_shutdown_in_fewer_than_90_days_is_reported(days: int, lines: int, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("gpt-5", encoding="utf-8")
    assert len(list(found(tmp_path, {"gpt-5": TODAY + timedelta(days=days)}, today=TODAY))) == lines


def test_the_committed_list_has_the_dates_that_openai_announced() -> None:
    days = shutdowns((ROOT / LIST).read_text(encoding="utf-8"))
    assert {days[model] for model in ("gpt-5", "gpt-5-mini", "gpt-5-nano")} == {date(2026, 12, 11)}
    assert days["gpt-4o-mini-transcribe"] == date(2027, 2, 26)
