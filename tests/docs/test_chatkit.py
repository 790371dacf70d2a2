"""chatkit.md and attachments.md in docs/reference/: the showcase's phrases and the file limits match the code."""

import re
from pathlib import Path

from lambda_src.attachments import file_types
from lambda_src.dev.showcase import TOOLS
from lambda_src.http import multipart
from lambda_src.runs.conversion import history
from lambda_src.settings import MAX_FILE_BYTES, MAX_IMAGE_BYTES

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_names_every_phrase_of_the_showcase() -> None:
    phrases = set(
        re.findall(r'^\| "([a-z ]+)" \|', (DOCS / "reference" / "chatkit.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert phrases == {tool.name.replace("_", " ") for tool in TOOLS}


def test_the_page_lists_the_current_file_limits() -> None:
    page = (DOCS / "reference" / "attachments.md").read_text(encoding="utf-8")
    assert f"`CHAT_MAX_FILE_BYTES`, but at most {MAX_IMAGE_BYTES // 10**6} MB" in page
    assert f"`CHAT_MAX_FILE_BYTES`, {MAX_FILE_BYTES // 10**6} MB" in page
    assert f"| files of one message | {file_types.MAX_FILES} |" in page
    assert f"| a form in a direct upload | {multipart.MAX_BYTES / 10**6:.1f} MB |" in page
    assert f"its first {history.TEXT_SHOWN_BYTES // 1000} KB" in page
    assert f"{history.FILES_SHOWN_BYTES // 10**6} MB, the newest first" in page
