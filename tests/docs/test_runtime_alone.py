"""docs/how-to/runtime-alone.md: the files of each part import no other module of this project."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "runtime-alone.md"
PATHS = re.compile(r"`(lambda_src/[\w./]+)`")


def parts() -> list[tuple[str, ...]]:
    """Return the paths in each row of the table of parts."""
    table = PAGE.read_text(encoding="utf-8").partition("| part | folders and files |")[2].partition("\n\n")[0]
    return [tuple(PATHS.findall(row)) for row in table.splitlines() if PATHS.search(row)]


def imported_by(path: str) -> set[str]:
    """Return the modules of this project that a file, or any file of a folder, imports."""
    files = [ROOT / path] if path.endswith(".py") else (ROOT / path).rglob("*.py")
    imports = [node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
    modules = {node.module for node in imports if isinstance(node, ast.ImportFrom) and node.module}
    return {module for module in modules if module.startswith("lambda_src.")}


@pytest.mark.parametrize("paths", parts(), ids=lambda paths: paths[0])
def test_a_part_imports_only_files_that_the_page_lists(paths: tuple[str, ...]) -> None:
    listed = tuple(path.removesuffix(".py").rstrip("/").replace("/", ".") for path in paths)
    missing = {
        module
        for path in paths
        for module in imported_by(path)
        if not any(module == name or module.startswith(f"{name}.") for name in listed)
    }
    assert missing == set()


def test_the_page_lists_three_parts() -> None:
    assert len(parts()) == 3
