"""cfn-lint: every template that is committed is one that CloudFormation takes."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[2]
OF_CDK = "W3005"  # a dependency that is implied is written out: CDK does so on purpose


def test_cfn_lint_finds_nothing() -> None:
    templates = [TESTS / "template.json", *sorted((TESTS / "infra" / "snapshots").glob("*.json"))]
    command = [
        str(Path(sys.executable).with_name("cfn-lint")),
        "--format",
        "parseable",
        "--ignore-checks",
        OF_CDK,
        "--",
    ]
    # Of warnings, only ours are errors: the linter's own are its makers' affair.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    done = subprocess.run([*command, *map(str, templates)], env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
