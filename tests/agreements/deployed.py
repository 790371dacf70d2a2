"""Resources in the committed template, which tests/infra/commands/test_template.py keeps current."""

import json
from pathlib import Path
from typing import Any

TEMPLATE = Path(__file__).parents[1] / "template.json"

Properties = dict[str, Any]


def resources(kind: str) -> list[Properties]:
    """Return the properties of every resource of one type."""
    template = json.loads(TEMPLATE.read_text(encoding="utf-8"))
    return [r["Properties"] for r in template["Resources"].values() if r["Type"] == kind]
