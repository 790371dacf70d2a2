"""docs/how-to/ and docs/troubleshooting.md: the sections of each page, and the messages that they quote."""

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOW_TO = sorted((ROOT / "docs" / "how-to").glob("*.md"))
OVERVIEWS = {"auth.md", "operations.md"}  # help to choose one of the other pages
NEEDS, FAILS = "## What you need\n", "## If it does not work\n"
SUCCESS = re.compile(
    r"^## (?:\d\. )?(?:Check that it works|Try it|Run it|Run them|Try it on your machine)$", re.MULTILINE
)
STEP = re.compile(r"^ *```|^1\. ", re.MULTILINE)
SYMPTOM = re.compile(r"^\| (.+?) \|", re.MULTILINE)
QUOTED = re.compile(r'`([^`]+)`|"([^"]+)"')
WORDS = 3  # shorter quotes are names, which other tests look up
NOT_OURS = {  # messages of others, by who writes them
    "Refused to load": "Chromium",
    "Refused to load the script": "Chromium",
    "Refused to frame": "Chromium",
    "Refused to ...": "Chromium",
    "blocked by CORS policy": "Chromium",
    "crypto.randomUUID is not a function": "Chromium",
    "Invalid input -> at api": "ChatKit's component",
    "Not authorized to perform sts:AssumeRoleWithWebIdentity": "AWS STS",
    "Function not found": "AWS Lambda",
    "aws logs tail": "a command",
    "out: command not found": "the shell",
    "ModuleNotFoundError: No module named 'lambda_src...'": "Python",
    "fixture 'chat' not found": "pytest",
}


@pytest.mark.parametrize("page", [page for page in HOW_TO if page.name not in OVERVIEWS], ids=lambda page: page.stem)
def test_a_page_has_its_goal_its_needs_steps_a_success_and_symptoms(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    title, goal = text.split("\n\n")[:2]
    assert title.startswith("# ")
    assert not goal.startswith(("#", "|", "*", "!")), "begin with what the reader achieves"
    assert NEEDS in text
    steps = text.partition(NEEDS)[2]
    success = SUCCESS.search(steps)
    assert success is not None, "show how the reader notices that it works"
    assert STEP.search(steps), "give steps that can be copied"
    _, heading, failures = steps[success.end() :].partition(FAILS)
    assert heading, "end with symptoms and their fixes"
    assert len(SYMPTOM.findall(failures)) > 1


def quotes() -> Iterator[tuple[str, str]]:
    """Yield each message in a column of symptoms or a heading of troubleshooting.md, with its page."""
    for page in HOW_TO:
        table = page.read_text(encoding="utf-8").partition(FAILS)[2].partition("\n## ")[0]
        yield from ((page.name, quote) for row in SYMPTOM.findall(table) for quote in _quoted(row))
    headings = re.findall(r"^### (.+)$", (ROOT / "docs" / "troubleshooting.md").read_text("utf-8"), re.MULTILINE)
    yield from (("troubleshooting.md", quote) for heading in headings for quote in _quoted(heading))


def _quoted(text: str) -> list[str]:
    return [quote for pair in QUOTED.findall(text) if len((quote := pair[0] or pair[1]).split()) >= WORDS]


@cache
def our_texts() -> list[list[str]]:
    """The words of every text in the code, the page and its translations. A placeholder is a word with "\\0"."""
    texts: list[str] = []
    for path in [*ROOT.glob("infra/**/*.py"), *ROOT.glob("lambda_src/**/*.py")]:
        if not path.is_relative_to(ROOT / "lambda_src" / "agent"):
            texts += _literals(ast.parse(path.read_text(encoding="utf-8")))
    texts += [line for path in ROOT.glob("web/src/**/*.js") for line in path.read_text("utf-8").splitlines()]
    texts += (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    english = json.loads((ROOT / "lambda_src" / "languages" / "en.json").read_text(encoding="utf-8"))
    texts += [
        text if isinstance(text, str) else text["other"]
        for part in ("page", "server")
        for text in english[part].values()
    ]
    return [re.sub(r"\$?\{\w+\}", "\0", text).split() for text in texts]


def _literals(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.JoinedStr(values=values):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in values)
            case ast.Constant(value=str(text)):
                yield text


def is_ours(quote: str) -> bool:
    """Whether the code contains each part of the quote between `...`, word by word."""
    parts = [part.strip(" ,.;:").split() for part in re.split(r"\.\.\.|<[^>]+>", quote)]
    return all(any(_contains(text, part) for text in our_texts()) for part in parts if part)


def _contains(text: list[str], part: list[str]) -> bool:
    """Whether the words are there in this order, at least half of them not from a placeholder."""
    for start in range(len(text) - len(part) + 1):
        window = text[start : start + len(part)]
        if sum("\0" in written for written in window) * 2 <= len(part) and all(map(_matches, part, window)):
            return True
    return False


def _matches(word: str, written: str) -> bool:
    if "\0" in written:
        return re.search(".*".join(map(re.escape, written.rstrip(".,;:").split("\0"))), word) is not None
    return word.strip(".,;:\"'`(") in written


def test_the_code_contains_every_quoted_message() -> None:
    assert [(page, quote) for page, quote in quotes() if quote not in NOT_OURS and not is_ours(quote)] == []


@pytest.mark.parametrize(
    "quote", ["Another thread has the name ...", "this sentence is not there", "Port 8000 is free."]
)
def test_a_message_that_the_code_does_not_have_is_noticed(quote: str) -> None:
    assert not is_ours(quote)


def test_every_message_of_others_is_quoted() -> None:
    assert NOT_OURS.keys() <= {quote for _, quote in quotes()}
