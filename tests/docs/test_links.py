"""Links: docs/index.md lists every page once, as the site's navigation does, and the pages at the root, which
`make docs` does not check, link to what exists.
"""

import re
from pathlib import Path

import pytest

from tests.docs.page_links import linked

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def test_every_page_is_listed_once() -> None:
    listed = re.findall(r"\]\(([^)#:]+\.md)\)", (DOCS / "index.md").read_text("utf-8"))
    pages = [path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")]
    assert sorted(["index.md", *listed]) == sorted(pages)


def navigation() -> str:
    """Return `nav` of mkdocs.yml: the sections of docs/index.md, the groups in them and their pages, in that order."""
    lines = ["nav:", "  - Home: index.md"]
    grouped = False
    for heading, group, page in re.findall(
        r"^## (.+)$|^([A-Z].+):$|\]\(([^)#:]+\.md)\)", (DOCS / "index.md").read_text("utf-8"), re.MULTILINE
    ):
        if heading:
            lines.append(f"  - {heading}:")
        elif group:
            lines.append(f"      - {group}:")
        else:
            lines.append(f"{'          ' if grouped else '      '}- {page}")
        grouped = not heading and (grouped or bool(group))
    return "\n".join(lines) + "\n"


def test_the_sites_navigation_follows_the_list_of_pages() -> None:
    """Run `python -m tests.docs.test_links` to write it."""
    assert (ROOT / "mkdocs.yml").read_text("utf-8").partition("nav:\n")[2] == navigation().removeprefix("nav:\n")


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")), ids=lambda page: page.name)
def test_the_links_of_a_page_at_the_root_resolve(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text("utf-8")):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize(
    ("description", "rendered"),
    [
        ("Days: docs/how-to/a.md.", "Days ([details](../how-to/a.md))."),
        ("Days: docs/how-to/a.md. No hours.", "Days ([details](../how-to/a.md)). No hours."),
        ("Days, as in docs/reference/b-c.md.", "Days, as in [b-c.md](b-c.md)."),
        ("docs/explanation/a.md explains it.", "[a.md](../explanation/a.md) explains it."),
        ("The docs/ folder.", "The docs/ folder."),
    ],
)
def test_paths_of_pages_in_descriptions_become_links(description: str, rendered: str) -> None:
    assert linked(description) == rendered


if __name__ == "__main__":
    before, _, _ = (ROOT / "mkdocs.yml").read_text("utf-8").partition("nav:\n")
    (ROOT / "mkdocs.yml").write_text(before + navigation(), "utf-8")
