""".github/workflows: pinned, without rights that are not needed, without keys; they run what people run."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.name)
def workflow(request: pytest.FixtureRequest) -> str:
    path: Path = request.param
    return path.read_text(encoding="utf-8")


def test_every_action_is_pinned_to_a_commit_with_its_version_beside_it(workflow: str) -> None:
    for used in re.findall(r"uses: (.+)", workflow):
        assert re.fullmatch(r"\./\.github/workflows/[a-z]+\.yml|[\w./-]+@[0-9a-f]{40} # v[\d.]+", used), used


def test_nothing_is_allowed_but_what_a_job_names(workflow: str) -> None:
    assert "\npermissions: {}\n" in workflow
    assert "write-all" not in workflow
    written = re.findall(r"(\S+): write", workflow)
    assert set(written) <= {"id-token"}


def test_there_are_no_keys_and_no_checkout_keeps_its_token(workflow: str) -> None:
    assert "secrets." not in workflow
    assert workflow.count("actions/checkout@") == workflow.count("persist-credentials: false")


def test_what_comes_from_outside_reaches_no_shell(workflow: str) -> None:
    runs = re.findall(r"run: (?:\|\n(?: {10}.*\n?)+|.+)", workflow)
    assert not [run for run in runs if "${{" in run]


def test_ci_runs_what_a_person_runs_on_both_pythons() -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert 'python: ["3.11", "3.13"]' in text
    assert "run: .ci/run" in text


def test_prod_comes_after_dev_has_answered() -> None:
    text = (ROOT / ".github" / "workflows" / "deploy.yml").read_text(encoding="utf-8")
    assert re.search(r"\n  prod:\n    needs: dev\n", text)
    stage = (ROOT / ".github" / "workflows" / "stage.yml").read_text(encoding="utf-8")
    assert stage.index("make deploy") < stage.index("chat/health")
