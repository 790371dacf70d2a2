"""The command lines in README and docs/ work as written: targets, variables, options, modules and AWS operations exist.

The emulator's page runs for real. The other commands that need no account are run by the tests that RUN_IN names.
"""

import contextlib
import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from itertools import dropwhile, groupby
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import typer
from botocore import xform_name
from typer.exceptions import TyperException

from lambda_src.cli.commands import app
from tests.docs.test_pages import PAGES, ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
SHELL = {"cat", "curl", "echo", "export", "git"}  # what everybody knows
HOW_TO = [page for page in PAGES if page.parent.name == "how-to" and page.stem != "operations"]  # that one lists names
AWS_GLOBALS = {"query", "output", "cli-binary-format"}
ONLY_IN_THE_AWS_CLI = {"logs tail": {"since", "follow"}}  # a command of the CLI alone, not an operation of the service
NEEDS = re.compile(r"AWS|API key|deploy|address of the chat")  # in a page's "What you need"
ACCOUNT = re.compile(
    r"\baws |^make (bootstrap|deploy|destroy|prove|verify|logs)\b(?!-)|--stage|--table|--url https:|import lost"
    r"|secret set|curl .*https:|API_KEY|REAL_MODEL|--real"
)
RENAMED = {"notification-endpoint": "endpoint"}  # by the AWS CLI, whose other options have the names of the API

# The beginning of each command line that needs no account, and the test that runs it (a file and a text in it).
RUN_IN = {
    "make dev": ("tests/e2e/make_dev.py", '"dev"'),
    "make setup": (".ci/run", "make setup browser"),
    "make browser": (".ci/run", "make setup browser"),
    "make check": (".ci/run", "make lint contracts"),  # and its other parts, two at a time
    "make template": (".ci/oldest-python", "make -s template"),
    "make simulate": ("tests/simulation/test_simulation.py", "run"),
    "make cost": ("tests/infra/cost/test_estimate.py", "def test_the_page_shows_what_the_command_prints"),
    "make deploy-local": ("tests/infra/commands/test_offline_deploy.py", "deploy_local"),
    "make test-agent": ("tests/docs/test_tutorial.py", '("pytest", "2 passed")'),
    "make eval": ("tests/docs/test_tutorial.py", '("lambda_src.dev.evals", "2 of 2 passed")'),
    "make lock": ("tests/dev/test_makefile.py", '"lock"'),
    "make knowledge": ("tests/cli/knowledge/test_command.py", '"--dry-run"'),
    'make chat ARGS="user-id': ("tests/cli/test_places_and_users.py", '"user-id"'),
    'make chat ARGS="--store postgres migrate"': ("tests/cli/test_cli.py", '"migrate"'),
    'make chat ARGS="--store postgres --database-url': ("tests/cli/test_cli.py", '"migrate"'),
    'make chat ARGS="--store postgres sweep"': ("tests/cli/test_cli.py", '"sweep"'),
    'make chat ARGS="keys new': ("tests/docs/test_auth.py", '"keys"'),
    'make chat ARGS="talk --url http://127.0.0.1:8000/': ("tests/e2e/test_talk.py", '"--url"'),
    "make chat ARGS=talk": ("tests/e2e/test_talk.py", '"talk"'),
    "make -s chat ARGS=talk": ("tests/e2e/test_talk.py", '"talk"'),
    "CHAT_STORE=postgres .venv/bin/uvicorn": ("tests/e2e/test_uvicorn.py", "uvicorn-and-postgres.md"),
    ".venv/bin/python -m lambda_src.dev.emulator": ("tests/docs/test_console.py", "def test_the_emulators_example"),
    "curl http://127.0.0.1:4566/": ("infra/commands/deploy_local.py", "def check_health"),  # run by its own test
    "curl http://127.0.0.1:8000/chat/health": ("tests/e2e/test_uvicorn.py", "/chat/health"),
    "curl -O http://127.0.0.1:8000/chat-client.js": ("tests/web/test_chat_client.py", "chat-client.js"),
    "curl -N http://127.0.0.1:8000/chatkit": ("tests/e2e/test_make_dev.py", "the_stream_on_the_page"),
    "curl -s": ("tests/docs/test_support_tutorial.py", "REQUEST.findall"),
    "curl http://127.0.0.1:8000/": ("tests/docs/test_console.py", "def test_the_emulators_example"),
}


def lines(page: Path) -> list[str]:
    """Return the command lines of a page, without prompts and with continued lines joined."""
    found = []
    text = page.read_text(encoding="utf-8")
    for language, body in re.findall(r"^ *```(console|sh)\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE):
        written = (line.strip() for line in re.sub(r"\\\n\s*", "", body).splitlines())
        found += [line.removeprefix("$ ") for line in written if language == "sh" or line.startswith("$ ")]
    return [line for line in found if line]


def commands(line: str) -> Iterator[list[str]]:
    """Yield the words of each command of a line, also of those in `$(...)` and in a function's body."""
    line = re.sub(r"\$\(out \w+ \w+\)|<[^<>]*>", "PLACEHOLDER", line)  # docs/how-to/operations.md defines `out`
    line = re.sub(r"^\w+=\$\((.*)\)$|^out\(\) \{ (.*?); \}$", lambda inner: inner[1] or inner[2], line)
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|")
    lexer.whitespace_split = True
    for is_operator, group in groupby(lexer, lambda word: set(word) <= {"&", "|"}):
        words = list(dropwhile(re.compile(r"\w+=").match, group))
        if words and not is_operator:
            yield words


def problem(words: list[str]) -> str | None:
    """Return what is wrong with a command, or None."""
    match words:
        case ["make", *rest]:
            return make_problem([word for word in rest if word != "-s"])
        case ["aws", service, operation, *rest]:
            return aws_problem(service, operation, rest)
        case [".venv/bin/python", "-m", module, *_]:
            return None if find_spec(module) else f"there is no module {module}"
        case [".venv/bin/uvicorn", *_]:
            return None
        case [name, *_]:
            return None if name in SHELL | {"cd", "true"} else f"{name} is not known"
    return "it is empty"


def make_problem(words: list[str]) -> str | None:
    target, *variables = words
    if not re.search(rf"^{target}:", MAKEFILE, re.MULTILINE):
        return f"there is no target {target}"
    for variable in variables:
        name, _, value = variable.partition("=")
        if f"$({name})" not in MAKEFILE and f"$${{{name}" not in MAKEFILE and f"${name}" not in MAKEFILE:
            return f"no target reads {name}"
        if name == "ARGS":
            return chat_problem(shlex.split(value))
        unknown = [flag for flag in re.findall("--[a-z-]+", value) if f'"{flag}"' not in sources()]
        if unknown:
            return f"no command has the option {unknown}"
    return None


def chat_problem(words: list[str]) -> str | None:
    """Parse a command line of `chat` with the parser that the command has, without running it."""
    command: Any = typer.main.get_command(app)
    name, parent = "chat", None
    try:
        while True:
            context = command.make_context(name, list(words), parent=parent)
            if not hasattr(command, "commands"):
                return None
            rest = [*context._protected_args, *context.args]
            name, command, words = command.resolve_command(context, rest)
            parent = context
    except TyperException as error:
        text = error.format_message()
        return None if text.endswith(" does not exist.") else text  # the reader's own file


def aws_problem(service: str, operation: str, rest: list[str]) -> str | None:
    options = {RENAMED.get(word[2:], word[2:]) for word in rest if word.startswith("--")} - AWS_GLOBALS
    if f"{service} {operation}" in ONLY_IN_THE_AWS_CLI:
        unknown = options - ONLY_IN_THE_AWS_CLI[f"{service} {operation}"]
        return f"{service} {operation} has no {unknown}" if unknown else None
    session = aws_session()
    if operation == "wait":
        waiters = session.get_waiter_model(service)
        [wanted] = [name for name in waiters.waiter_names if xform_name(name, "-") == rest[0]]
        names = [waiters.get_waiter(wanted).operation]
    else:
        model = session.get_service_model(service)
        names = [name for name in model.operation_names if xform_name(name, "-") == operation]
    if not names:
        return f"{service} has no operation {operation}"
    shape = session.get_service_model(service).operation_model(names[0]).input_shape
    unknown = options - {xform_name(member, "-") for member in (shape.members if shape is not None else ())}
    return f"{service} {operation} has no {unknown}" if unknown else None


@cache
def aws_session() -> botocore.session.Session:
    return botocore.session.get_session()


@cache
def sources() -> str:
    """The code that could define an option."""
    folders = ("lambda_src/cli", "lambda_src/dev", "infra", "tests/simulation")
    return "\n".join(path.read_text(encoding="utf-8") for folder in folders for path in (ROOT / folder).rglob("*.py"))


def needs_an_account(line: str) -> bool:
    """Whether a command reaches a deployed stage, an account or a vendor."""
    return ACCOUNT.search(line) is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_on_a_page_exists_with_its_options(page: Path) -> None:
    wrong = [(line, cause) for line in lines(page) for words in commands(line) if (cause := problem(words))]
    assert not wrong


@pytest.mark.parametrize(
    "line",
    [
        "make no-such-target",
        "make deploy STAGEE=prod",
        "make dev FLAGS=--no-such-option",
        'make chat ARGS="erase USER --no-such-option"',
        'make chat ARGS="no-such-command"',
        "aws lambda no-such-operation",
        "aws lambda get-alias --no-such-option x",
        "TABLE=$(aws dynamodb describe-tabel --table-name x)",
        ".venv/bin/python -m lambda_src.no_such_module",
        "no-such-program",
    ],
)
def test_a_command_that_does_not_exist_is_found(line: str) -> None:
    assert any(problem(words) for words in commands(line))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_without_an_account_runs_in_a_test(page: Path) -> None:
    local = [line for line in lines(page) if not needs_an_account(line)]
    programs = [line for line in local if re.match(r"(\w+=\S+ )?(make|\.venv|curl)\b", line)]
    assert [line for line in programs if not line.startswith(tuple(RUN_IN))] == []


@pytest.mark.parametrize("command", RUN_IN)
def test_the_named_test_runs_the_command(command: str) -> None:
    file, text = RUN_IN[command]
    assert text in (ROOT / file).read_text(encoding="utf-8")
    assert any(command in line for page in PAGES for line in lines(page)), "no page has this command any more"


@pytest.mark.parametrize("page", HOW_TO, ids=lambda page: page.name)
def test_a_page_that_needs_an_account_says_so_first(page: Path) -> None:
    if any(needs_an_account(line) for line in lines(page)):
        needed = page.read_text(encoding="utf-8").partition("## What you need\n")[2].partition("\n## ")[0]
        assert NEEDS.search(needed)


def test_the_emulators_example_answers_as_shown(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "explanation" / "runtime.md").read_text(encoding="utf-8")
    code = re.search(r"^\$ cat hello\.py\n(.*?)^\$ ", page, re.DOTALL | re.MULTILINE)
    shown = re.search(r"^\$ curl \S+\n(.*)\n```", page, re.MULTILINE)
    assert code is not None
    assert shown is not None
    (tmp_path / "hello.py").write_text(code[1], encoding="utf-8")
    command = [sys.executable, "-m", "lambda_src.dev.emulator", "hello:app", "--port", "0"]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as emulator:
        try:
            assert emulator.stdout is not None
            url = emulator.stdout.readline().strip()
            with contextlib.closing(urllib.request.urlopen(f"{url}/", timeout=60)) as response:
                assert response.read().decode() == shown[1]
        finally:
            emulator.terminate()
