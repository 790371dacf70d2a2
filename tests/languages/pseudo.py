"""A pseudo-language for tests: every text is long and marked, and the language runs from right to left.

A text that the page shows without the mark is in no table. The language is Arabic as written by nobody (ar-XB), so that
browsers format its dates and numbers as they do for Arabic.
"""

import json
import re
from pathlib import Path
from typing import Any

from lambda_src.languages import SHIPPED

CODE = "ar-XB"
MARK = "¡"


def write_pseudo_language(folder: Path) -> None:
    """Write its table to `folder`."""
    english = json.loads((SHIPPED / "en.json").read_text(encoding="utf-8"))
    table = {
        "name": "Pseudo",
        "direction": "rtl",
        "page": {key: _pseudo(text) for key, text in english["page"].items()},
        "server": {key: _pseudo(text) for key, text in english["server"].items()},
    }
    (folder / f"{CODE}.json").write_text(json.dumps(table), encoding="utf-8")


def _pseudo(text: Any) -> Any:
    """Each word one and a half times as long, its placeholders unchanged."""
    if isinstance(text, dict):
        return {form: _pseudo(words) for form, words in text.items()}
    words = re.sub(r"\{\w+\}|\w+", lambda match: match[0] if match[0][0] == "{" else _longer(match[0]), text)
    return f"{MARK}{words}{MARK}" if text else ""


def _longer(word: str) -> str:
    return word + "~" * (len(word) // 2)
