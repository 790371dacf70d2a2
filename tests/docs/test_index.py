"""docs/index.md lists every page once."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_every_page_is_listed_once() -> None:
    listed = re.findall(r"\]\(([^)#:]+\.md)\)", (DOCS / "index.md").read_text("utf-8"))
    pages = [path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")]
    assert sorted(["index.md", *listed]) == sorted(pages)
