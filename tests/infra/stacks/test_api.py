"""infra/stacks/api.py: the frontend snippet that a deployment prints matches the page in docs/how-to/frontend.md."""

import re
from pathlib import Path

from infra.stacks.api import frontend_snippet

FRONTEND = Path(__file__).parents[3] / "docs" / "how-to" / "frontend.md"
LOCAL = "http://127.0.0.1:8000/"


def test_the_snippet_is_the_plain_html_page_of_the_docs_with_a_token() -> None:
    text = FRONTEND.read_text(encoding="utf-8")
    page = text[text.index("## Plain HTML") : text.index("## React")]
    [import_line] = re.findall(r"import \{ chatClient \} from .+;", page)
    [chat_line] = re.findall(r"const chat = chatClient\(.+\);", page)
    [api] = re.findall(r"api: \{.+\}", page)
    documented = f"{import_line} {chat_line.replace(' })', ', getToken })')} chatkit.setOptions({{ {api} }});"
    assert frontend_snippet(LOCAL) == documented.replace('"local"', '"YOUR-DOMAIN-KEY"')
