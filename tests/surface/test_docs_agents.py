"""docs/agents.md, executed."""

import re
from pathlib import Path
from typing import Any

from lambda_src.assistants import checked

PAGE = Path(__file__).parents[2] / "docs" / "agents.md"
BLOCK = re.compile(r"```python\n# (\S+)\n(.*?)```", re.DOTALL)


def block(name: str) -> dict[str, Any]:
    """What a block of the page defines."""
    [text] = [text for named, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")) if named == name]
    defined: dict[str, Any] = {}
    exec(compile(text, f"agents.md: {name}", "exec"), defined)
    return defined


def test_the_assistants_of_the_page_are_some() -> None:
    agents = checked(block("assistants")["AGENTS"])
    assert [agents[name].build_agent().name for name in agents] == ["Support", "Sales"]
