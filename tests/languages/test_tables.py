"""The shipped tables are complete, and no text of the page or sentence of the server is outside of them."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lambda_src.languages import SHIPPED, table_faults

ROOT = Path(__file__).parents[2]
TABLES: dict[str, dict[str, Any]] = {
    file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(SHIPPED.glob("*.json"))
}
ENGLISH = TABLES["en"]
PAGE = ROOT / "web" / "src"
SOURCES = [path for path in sorted([*PAGE.glob("*.js"), *PAGE.glob("operator/*.js")]) if path.name != "chat-client.js"]

# Texts that no user of the page reads: names of keys, of widgets and of their sides, what a model reads as the result
# of a tool, lists of words, and the developer's console. Each is the beginning of the text.
UNREAD_IN_PAGE = (
    *(
        "Escape",
        "Control+B",
        "Enter",
        "Files",
        "Box",
        "Row",
        "Col",
        "Form",
        "Icon",
        "ListViewItem",
        "Divider",
        "Table.",
        "Left",
        "Right",
        "Top",
        "Bottom",
    ),
    *("This page has no such tool.", "The user refused.", "The browser did not allow it.", "ChatKit"),
    *("ChatEmbed", "\n:host", "left or right", "true or false", "at most"),  # for who puts the chat on a site
    "The access token is not a JWT. Set auth.audience",  # in the console, for the operator of the chat
    "Markdown",
    *("noopener noreferrer", "bg bn bs", "sk sl so"),
)
WORDS = re.compile(r"(?<![A-Za-z])[A-Z][a-z]{2,}|[a-z]{3,} [a-z]{2,} [a-z]{2,}")
PARTS = re.compile(r"\$\{[^}]*\}|\\n")  # of template literals

# Modules whose sentences are for those who write code, deploy or run a command, and what models read.
OTHER_READERS = {"cli", "dev", "runtime", "startup", "settings.py", "agent", "languages"}
FOR_DEVELOPERS = {
    "TypeError", "ValueError", "RuntimeError", "SettingsError", "AttributeError", "KeyError", "SecretReadError",
    "UnreadableError", "NotFoundError", "add_note",
}  # fmt: skip
UNREAD_IN_SERVER = (  # by the module that has them
    *("auth/account_linking.py", "auth/oidc.py: The access token", "chat/prewarm.py", "chat/scheduled_events.py"),
    *("chat/validation.py: Only a widget", "chat/validation.py: The audio is not base64"),
    *(
        "http/app.py: The page is not built",
        "http/page.py",
        "http/edge.py",
        "http/multipart.py",
        "http/request_parsing.py",
    ),
    *(f"http/request_limits.py: {text}" for text in ("Send the body", "The body", "The headers", "The URL")),
    *("http/chat_routes.py: Nobody answers", "runs/ask_a_human.py", "support/desk.py: Members of the support team"),
    *("support/desk.py: This turn id", "support/events.py: The event could not"),
    *("models/demo_model.py", "runs/approvals.py: The user did not allow", "runs/run_events.py: The answer above"),
    *("runs/widget_actions.py", "store/aws_calls.py: This is too", "store/codec.py", "store/dynamodb/items.py"),
    *("store/dynamodb/maintenance/handover.py", "store/dynamodb/payloads.py", "store/dynamodb/threads.py"),
    *("store/memory/store.py", "store/ports.py", "store/postgres/", "store/userdata.py"),
    *("store/thread_snapshots.py: Another thread", "turns/lifecycle.py: This turn id", "turns/persistence.py"),
    "json_settings.py: Nobody is available",  # a default of the stage, and stored where no browser's language is known
)
SENTENCE = re.compile(r"[A-Z“][^\n]*\s[^\n]*[.!?]")
PLACEHOLDER = re.compile(r"\{(\w+)\}")


def test_the_shipped_tables_have_no_fault() -> None:
    assert table_faults(SHIPPED) == []


@pytest.mark.parametrize("code", TABLES)
@pytest.mark.parametrize("part", ["page", "server"])
def test_every_table_has_the_same_keys_and_placeholders(code: str, part: str) -> None:
    table = TABLES[code][part]
    assert table.keys() == ENGLISH[part].keys()
    for key, text in table.items():
        forms = text if isinstance(text, dict) else {"other": text}
        english = ENGLISH[part][key]
        wanted = set(PLACEHOLDER.findall(english["other"] if isinstance(english, dict) else english))
        assert set(PLACEHOLDER.findall(forms["other"])) == wanted, f"{code}: {key}"
        assert (forms["other"] == "") == (english == ""), f"{code}: {key} is not translated"


def test_the_english_sentences_are_their_own_keys() -> None:
    assert all(key == text for key, text in ENGLISH["server"].items())


def literals(source: str) -> Iterator[str]:
    """The string literals of JavaScript code, without its comments."""
    code = re.sub(r"(^|\s)//.*", "", re.sub(r"/\*.*?\*/", "", source, flags=re.DOTALL))
    for quoted, template in re.findall(r'"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`', code):
        yield quoted or template


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(PAGE)))
def test_no_text_of_the_page_is_outside_the_tables(source: Path) -> None:
    texts = literals(source.read_text(encoding="utf-8"))
    outside = [text for text in texts if WORDS.search(PARTS.sub(" ", text)) and not text.startswith(UNREAD_IN_PAGE)]
    assert not outside, f"use t() of web/src/texts.js, and add the text to {SHIPPED.name}/*.json: {outside}"


def test_the_page_uses_every_text_and_no_other() -> None:
    sources = [path.read_text(encoding="utf-8") for path in SOURCES]
    sources.append((ROOT / "lambda_src" / "http" / "page.py").read_text(encoding="utf-8"))
    quoted = {text for source in sources for text in literals(source)}
    assert not ENGLISH["page"].keys() - quoted, "texts that nothing shows"
    called = {key for source in sources for key in re.findall(r'\bt\("(\w+)"', source)}
    assert not called - ENGLISH["page"].keys(), "texts that are in no table"


def called_name(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def sentences_of(node: ast.AST) -> Iterator[str]:
    """What looks like a sentence for users: literals, f-strings with their placeholders empty, titles of notices."""
    match node:
        case ast.Call() if called_name(node) in FOR_DEVELOPERS:
            return
        case ast.Expr(value=ast.Constant()) | ast.Assert():
            return  # a docstring
        case ast.Call() if called_name(node) == "Sentence":
            yield from (str(arg.value) for arg in node.args if isinstance(arg, ast.Constant))
        case ast.Call() if called_name(node) == "NoticeEvent":
            yield from (str(word.value.value) for word in node.keywords
                        if word.arg in ("title", "message") and isinstance(word.value, ast.Constant))  # fmt: skip
        case ast.JoinedStr(values=values):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in values)
            if SENTENCE.fullmatch(text):
                yield text
            return
        case ast.Constant(value=str(text)) if SENTENCE.fullmatch(text):
            yield text
            return
    for child in ast.iter_child_nodes(node):
        yield from sentences_of(child)


def server_sentences() -> Iterator[tuple[str, str]]:
    """Every sentence of the server with its module."""
    root = ROOT / "lambda_src"
    for path in sorted(root.rglob("*.py")):
        place = path.relative_to(root)
        if place.parts[0] not in OTHER_READERS:
            for text in sentences_of(ast.parse(path.read_text(encoding="utf-8"))):
                yield place.as_posix(), text


def test_no_sentence_of_the_server_is_outside_the_tables() -> None:
    outside = [
        f"{place}: {text}"
        for place, text in server_sentences()
        if text not in ENGLISH["server"] and not f"{place}: {text}".startswith(UNREAD_IN_SERVER)
    ]
    assert not outside, f"add them to {SHIPPED.name}/*.json (values: Sentence), or say who reads them: {outside}"


def test_no_table_has_a_sentence_that_the_server_lacks() -> None:
    modules = [path for path in (ROOT / "lambda_src").rglob("*.py") if "agent" not in path.parts]
    sources = "\n".join(path.read_text(encoding="utf-8") for path in modules)
    written = {text for _, text in server_sentences()}
    unused = [key for key in ENGLISH["server"] if key not in written and f'"{key}"' not in sources]
    assert not unused


def test_the_style_of_the_page_names_no_side_that_would_differ_from_right_to_left() -> None:
    style = (ROOT / "web" / "src" / "page.css").read_text(encoding="utf-8")
    sides = re.findall(r"(?:padding|margin|border)-(?:left|right)|(?<![\w-])(?:left|right): (?!50%)", style)
    for value in re.findall(r"(?<![\w-])(?:padding|margin): ([^;(]+);", style):
        match value.split():
            case [_, right, _, left] if right != left:
                sides.append(value)
    assert not sides, "use padding-inline-start, margin-inline, inset-inline ..."
