"""The SDK for users (lambda_src.sdk): docs and examples import nothing else; docs/reference/sdk.md lists its names."""

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.docs.test_pages import PAGES, blocks

ROOT = Path(__file__).parents[2]
MODULES = ("lambda_src.sdk", "lambda_src.sdk.testing", "lambda_src.sdk.store_contract")
OUR_EXAMPLES = sorted((ROOT / ".ci" / "own_agent").glob("*.py"))  # a contract in pyproject.toml covers the agent itself
NOT_FOR_AGENTS = (
    ROOT / "docs/reference/emulator.md",  # how to run any ASGI app on the emulator
    ROOT / "docs/explanation/stores.md",  # how to build a server of your own on PostgreSQL
)


def imports_of_ours(source: str) -> set[str]:
    """Return the lambda_src modules that `source` imports, except the user's own."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import():
                names |= {alias.name for alias in node.names}
            case ast.ImportFrom(module=str(module), level=0):
                names.add(module)
    return {name for name in names if re.match(r"lambda_src\b(?!\.agent\b)", name)}


@pytest.mark.parametrize("page", [p for p in PAGES if p not in NOT_FOR_AGENTS], ids=lambda page: page.name)
def test_code_in_the_docs_imports_only_the_sdk(page: Path) -> None:
    for block in blocks(page, "python"):
        assert imports_of_ours(block) <= set(MODULES)


@pytest.mark.parametrize("path", OUR_EXAMPLES, ids=lambda path: path.name)
def test_the_examples_import_only_the_sdk(path: Path) -> None:
    assert imports_of_ours(path.read_text(encoding="utf-8")) <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_the_page_lists_exactly_the_exported_names(name: str) -> None:
    _, _, section = (ROOT / "docs" / "reference" / "sdk.md").read_text(encoding="utf-8").partition(f"## `{name}`\n")
    section = section.partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    listed = [item for row in rows for item in re.findall(r"`(\w+)`", row)] or re.findall(r"`([A-Z]\w+)`", section)
    assert sorted(listed) == sorted(import_module(name).__all__)


@pytest.mark.parametrize("name", MODULES)
def test_every_exported_name_has_a_docstring(name: str) -> None:
    module = import_module(name)
    assert [item for item in module.__all__ if not getattr(module, item).__doc__] == []


def test_importing_the_sdk_loads_neither_the_agents_sdk_nor_openai() -> None:
    code = (
        "import sys\nfrom lambda_src.startup import lazy_packages\nlazy_packages.install()\nimport lambda_src.sdk\n"
        "print([name for name in ('agents', 'openai', 'mcp', 'pytest', 'boto3') if name in sys.modules])"
    )
    completed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert completed.stdout.strip() == "[]"
