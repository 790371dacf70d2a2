"""infra/stacks/api.py: what a deployment prints for the page of a site of one's own is what docs/frontend.md shows."""

import re
from pathlib import Path

from infra.stacks.api import frontend_snippet

FRONTEND = Path(__file__).parents[3] / "docs" / "frontend.md"
LOCAL = "http://127.0.0.1:8000/"


def test_the_snippet_is_the_plain_page_of_the_docs_with_a_token() -> None:
    text = FRONTEND.read_text(encoding="utf-8")
    page = text[text.index("## Plain HTML") : text.index("## React")]
    [imported] = re.findall(r"import \{ chatClient \} from .+;", page)
    [made] = re.findall(r"const chat = chatClient\(.+\);", page)
    [api] = re.findall(r"api: \{.+\}", page)
    shown = f"{imported} {made.replace(' })', ', getToken })')} chatkit.setOptions({{ {api} }});"
    assert frontend_snippet(LOCAL) == shown.replace('"local"', '"YOUR-DOMAIN-KEY"')
