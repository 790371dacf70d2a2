"""infra/proof/prove.py: `make prove` asks first, resumes after an interruption, and reports a stage that it leaves."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.errors import PreflightError, ToolError
from infra.preflight.account import Account
from infra.proof import prove
from infra.proof.configurations import CONFIGURATIONS, Configuration, Place
from infra.proof.stage import ProofStage
from lambda_src.dev.verify import result
from tests.infra.stubbed_account import ACCOUNT, REGION, Stubs

ROOT = Path(__file__).parents[3]
STEPS = ["build", "prepare", *(f"{step} {c.name}" for c in CONFIGURATIONS for step in ("deploy", "look")), "down"]


class FakeStage:
    """A fake stage that exists once it is deployed. The run fails with `fault` at the step `stop_at`."""

    def __init__(self, stop_at: str = "", fault: BaseException | None = None) -> None:
        self.stop_at, self.fault = stop_at, fault or KeyboardInterrupt()
        self.exists, self.done = False, list[str]()
        self.place: Place | None = None
        self.without: dict[str, str] = {}
        self.outcome = "ok"

    def _step(self, name: str) -> None:
        if name == self.stop_at:
            self.stop_at = ""
            raise self.fault
        self.done.append(name)

    def check(self, *, ours: bool) -> None:
        if self.exists and not ours:
            raise PreflightError(["it exists already"])

    def resources(self, configuration: Configuration) -> list[dict[str, Any]]:
        return []

    def lacks(self, configuration: Configuration) -> list[str]:
        return [self.without[configuration.name]] if configuration.name in self.without else []

    def build(self) -> Path:
        self._step("build")
        return Path("zip")

    def prepare(self) -> None:
        self._step("prepare")

    def deploy(self, configuration: Configuration) -> str:
        self.exists = True
        self._step(f"deploy {configuration.name}")
        return "https://abc.lambda-url.eu-central-1.on.aws/"

    def look(self, configuration: Configuration, url: str) -> list[dict[str, Any]]:
        self._step(f"look {configuration.name}")
        return [{"name": configuration.name, "outcome": self.outcome, "what": "it answers", "figures": {}}]

    def take_down(self) -> None:
        self._step("down")
        self.exists = False


Prove = Callable[..., int]


@pytest.fixture
def stubs() -> Stubs:
    return Stubs()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stubs: Stubs) -> Prove:
    """The command in its own folder, with a fake stage and an account with a concurrency limit of ten."""
    (tmp_path / "cdk.json").write_text(json.dumps({"context": {"stage": "dev", "stages": {"dev": {}}}}))
    monkeypatch.chdir(tmp_path)

    def run_prove(stage: FakeStage, *arguments: str, answer: str = "proof", region: str = REGION) -> int:
        few = {"ConcurrentExecutions": 10, "UnreservedConcurrentExecutions": 10}
        stubs.of("lambda", region).add_response("get_account_settings", {"AccountLimit": few})
        stubs.of("cloudformation", region).add_client_error("describe_stack_resources", "ValidationError")

        def make(**parts: Any) -> FakeStage:
            stage.place = parts["place"]
            return stage

        return prove.main(
            ["--out", "out", *arguments],
            {},
            ask=lambda _: answer,
            account_of=lambda *_: Account(ACCOUNT, region, clients=stubs.client),
            make=make,
        )

    return run_prove


def _rows(folder: Path) -> list[dict[str, Any]]:
    [path] = (folder / "out").glob("*-proof.json")
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return rows


def test_every_configuration_is_deployed_and_verified_once_and_the_stage_is_destroyed(
    run: Prove, tmp_path: Path
) -> None:
    stage = FakeStage()
    assert run(stage) == 0
    assert stage.done == STEPS
    assert [row["name"] for row in _rows(tmp_path)] == [configuration.name for configuration in CONFIGURATIONS]
    assert not (tmp_path / ".local/proof/progress.json").exists()


def test_it_prints_the_cost_and_changes_nothing_without_confirmation(
    run: Prove, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = FakeStage()
    assert run(stage, answer="no") == 1
    assert stage.done == []
    printed = capsys.readouterr()
    assert "It costs about $0." in printed.out
    assert "nothing was changed" in printed.out
    assert "may still be" not in printed.err


@pytest.mark.parametrize("step", STEPS)
def test_after_an_interruption_at_any_step_it_reports_what_is_left_and_the_next_run_resumes(
    step: str, run: Prove, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = FakeStage(stop_at=step)
    assert run(stage) == 130
    left = f"Stage proof may still be in account {ACCOUNT}, region {REGION}" in capsys.readouterr().err
    assert left == (step != "build"), "the warning is printed whenever something may have been deployed"
    assert run(stage) == 0
    assert not stage.exists
    verified = [step for step in stage.done if step.startswith("look ")]
    assert verified == [f"look {c.name}" for c in CONFIGURATIONS], "no configuration may be verified twice"


@pytest.mark.parametrize(
    "fault",
    [
        ToolError("cdk deploy failed"),
        ClientError({"Error": {"Code": "ExpiredToken", "Message": "expired"}}, "DescribeStacks"),
        ConnectionError("the network is gone"),
    ],
)
def test_a_failure_is_reported_without_a_traceback_and_with_what_is_left(
    fault: Exception, run: Prove, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(FakeStage("deploy SnapStart", fault)) == 1
    message = capsys.readouterr().err
    assert str(fault) in message
    assert "`make prove DESTROY=1` destroys the stage" in message


def test_destroy_removes_what_an_earlier_run_left(run: Prove, capsys: pytest.CaptureFixture[str]) -> None:
    stage = FakeStage(stop_at="look SnapStart")
    run(stage)
    assert run(stage, "--destroy") == 0
    assert not stage.exists
    assert "Nothing of stage proof is left" in capsys.readouterr().out


def test_a_run_is_not_resumed_with_credentials_for_another_region(
    run: Prove, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = FakeStage(stop_at="look SnapStart")
    run(stage)
    assert run(stage, region="us-west-2") == 1
    assert f"an earlier run created stage proof in account {ACCOUNT}, region {REGION}" in capsys.readouterr().err


def test_a_configuration_that_is_skipped_or_unavailable_in_the_region_gets_a_row(run: Prove, tmp_path: Path) -> None:
    stage = FakeStage()
    stage.without = {"SnapStart": "ap-east-2 has no SnapStart."}
    assert run(stage, "--skip", "CloudFront") == 0
    rows = {row["name"]: (row["outcome"], row["what"]) for row in _rows(tmp_path)}
    assert rows["SnapStart"] == ("not here", "ap-east-2 has no SnapStart.")
    assert rows["CloudFront"] == ("not here", "It was skipped.")
    assert "deploy CloudFront" not in stage.done


def test_an_unknown_configuration_cannot_be_skipped(run: Prove, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(FakeStage(), "--skip", "Cloudfront") == 1
    assert (
        "SKIP=Cloudfront is not a configuration. The configurations are function URL, SnapStart"
        in capsys.readouterr().err
    )


def test_a_failed_row_exits_with_1_and_the_stage_is_still_destroyed(run: Prove) -> None:
    stage = FakeStage()
    stage.outcome = "failed"
    assert run(stage) == 1
    assert not stage.exists


def test_an_account_with_a_concurrency_limit_of_ten_gets_a_stage_without_a_cap(
    run: Prove, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = FakeStage()
    assert run(stage) == 0
    assert stage.place is not None
    assert stage.place.uncapped
    assert "cannot set aside 50 concurrent executions" in capsys.readouterr().out


def test_a_users_own_stage_named_proof_is_never_touched(
    run: Prove, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cdk.json").write_text(json.dumps({"context": {"stage": "proof", "stages": {"proof": {}}}}))
    stage = FakeStage()
    assert run(stage) == 1
    assert stage.done == []
    assert "cdk.json has a stage proof" in capsys.readouterr().err


def test_without_credentials_one_line_is_printed(tmp_path: Path) -> None:
    (tmp_path / "cdk.json").write_text(json.dumps({"context": {"stage": "dev", "stages": {"dev": {}}}}))
    missing = str(tmp_path / "missing")
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "AWS_CONFIG_FILE": missing,
        "AWS_SHARED_CREDENTIALS_FILE": missing,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    command = [sys.executable, "-m", "infra.proof.prove"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("no AWS credentials found: ")
    assert done.stderr.count("\n") == 1


def test_the_result_names_no_account(run: Prove, tmp_path: Path) -> None:
    assert run(FakeStage()) == 0
    [path] = (tmp_path / "out").glob("*.json")
    text = path.read_text(encoding="utf-8")
    assert ACCOUNT not in text
    assert result.scrubbed(text) == text


# The real stage


def _stage(stubs: Stubs, tmp_path: Path, *, region: str = REGION) -> ProofStage:
    account = Account(ACCOUNT, region, clients=stubs.client)
    unused: Any = None  # these tests do not use it
    return ProofStage(
        account=account,
        place=Place(account=ACCOUNT, region=region),
        flags={},
        deployment=unused,
        environ={},
        target=unused,
    )


def test_a_region_without_snapstart_lacks_only_that_configuration(stubs: Stubs, tmp_path: Path) -> None:
    stage = _stage(stubs, tmp_path, region="ap-east-2")
    assert [c.name for c in CONFIGURATIONS if stage.lacks(c)] == ["SnapStart"]


def test_a_stage_left_by_another_machine_is_not_overwritten(stubs: Stubs, tmp_path: Path) -> None:
    stubs.stack("CREATE_COMPLETE")
    stubs.stack("CREATE_COMPLETE")
    with pytest.raises(
        PreflightError, match=r"chatkit-proof-api and chatkit-proof-data .* created by a run on another machine"
    ):
        _stage(stubs, tmp_path).check(ours=False)


def test_a_stack_that_is_not_ours_is_never_deleted(stubs: Stubs, tmp_path: Path) -> None:
    stubs.stack("CREATE_COMPLETE", tags=[])
    with pytest.raises(PreflightError, match="belongs to something else and was not touched"):
        _stage(stubs, tmp_path).take_down()


def test_taking_down_deletes_what_is_left_and_empties_the_bucket_first(stubs: Stubs, tmp_path: Path) -> None:
    cloudformation, s3 = stubs.of("cloudformation"), stubs.of("s3")
    stubs.stack()  # the API is gone already
    stubs.stack("UPDATE_ROLLBACK_COMPLETE")
    bucket = {
        "LogicalResourceId": "any",
        "Timestamp": "2026-01-01",
        "ResourceStatus": "CREATE_COMPLETE",
        "ResourceType": "AWS::S3::Bucket",
        "PhysicalResourceId": "files",
    }
    cloudformation.add_response("describe_stack_resources", {"StackResources": [bucket]})
    s3.add_response("list_objects_v2", {"Contents": [{"Key": "kept/a"}]}, {"Bucket": "files"})
    s3.add_response(
        "delete_objects", {}, {"Bucket": "files", "Delete": {"Objects": [{"Key": "kept/a"}], "Quiet": True}}
    )
    cloudformation.add_response("delete_stack", {}, {"StackName": "chatkit-proof-data"})
    cloudformation.add_client_error("describe_stacks", "ValidationError", "does not exist")
    stubs.of("ssm").add_client_error("delete_parameter", "ParameterNotFound")
    _stage(stubs, tmp_path).take_down()
    stubs.assert_all_called()
