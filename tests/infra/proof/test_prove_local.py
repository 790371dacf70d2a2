"""`make prove LOCAL=1`: the whole command with the real CDK CLI and `make verify`, on a local AWS."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from infra.commands import local_cloud
from infra.proof import prove
from infra.proof.configurations import CONFIGURATIONS
from lambda_src.dev.verify import result

pytestmark = [
    pytest.mark.deploys,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("bundle"),
    pytest.mark.usefixtures("bundle"),
]

AWS_ONLY = {"deltas", "stop", "resume", "deadline", "cold-starts", "longest-timeout", "alarm-delivered"}


def test_on_a_local_aws_every_row_passes_or_is_marked_as_not_available_there(
    context: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if not local_cloud.PYTHON.is_file():
        pytest.skip("MiniStack is not installed")
    (tmp_path / "cdk.json").write_text(json.dumps({"context": context}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert prove.main(["--local", "--yes", "--folder", "run", "--email", "ops@example.org"], os.environ) == 0
    printed = capfd.readouterr().out
    assert "It costs about $" in printed
    assert "Nothing of stage proof is left" in printed
    [path] = (tmp_path / "run").glob("*-local-proof.json")
    text = path.read_text(encoding="utf-8")
    rows = {row["name"]: row["outcome"] for row in json.loads(text)["rows"]}
    not_here = {name for name, outcome in rows.items() if outcome == "not here"}
    assert not_here >= AWS_ONLY | {configuration.name for configuration in CONFIGURATIONS if configuration.not_local}
    passed = ("health", "page", "no token", "CORS", "odd path", "upload", "caller's address", "URL permissions")
    assert {name: rows[name] for name in passed} == dict.fromkeys(passed, "ok")
    assert result.scrubbed(text) == text, "the result must hold nothing private"
