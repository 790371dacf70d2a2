"""cfn-lint accepts every committed CloudFormation template."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[2]
REDUNDANT_DEPENDS_ON = "W3005"  # CDK writes out implied dependencies on purpose


def test_cfn_lint_reports_nothing() -> None:
    templates = [TESTS / "template.json", *sorted((TESTS / "infra" / "snapshots").glob("*.json"))]
    command = [
        str(Path(sys.executable).with_name("cfn-lint")),
        "--format",
        "parseable",
        "--ignore-checks",
        REDUNDANT_DEPENDS_ON,
        "--",
    ]
    # Warnings are errors only in our code, not inside the linter.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    done = subprocess.run([*command, *map(str, templates)], env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
