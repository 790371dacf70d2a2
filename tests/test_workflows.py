""".github/workflows: pinned actions, least permissions, no secrets, and the same commands that developers run."""

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from infra.preflight.settings_check import stage_of

ROOT = Path(__file__).parents[1]
BASE_PYTHON: str = getattr(sys, "_base_executable", sys.executable)  # under the virtual environment of these tests
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.name)
def workflow(request: pytest.FixtureRequest) -> str:
    path: Path = request.param
    return path.read_text(encoding="utf-8")


def test_every_action_is_pinned_to_a_commit_with_its_version_beside_it(workflow: str) -> None:
    for used in re.findall(r"uses: (.+)", workflow):
        assert re.fullmatch(r"\./\.github/workflows/[a-z]+\.yml|[\w./-]+@[0-9a-f]{40} # v[\d.]+", used), used


def test_jobs_have_no_permissions_by_default(workflow: str) -> None:
    assert "\npermissions: {}\n" in workflow
    assert "write-all" not in workflow
    written = re.findall(r"(\S+): write", workflow)
    assert set(written) <= {"id-token"}


def test_no_secrets_are_used_and_no_checkout_keeps_its_token(workflow: str) -> None:
    assert "secrets." not in workflow
    assert workflow.count("actions/checkout@") == workflow.count("persist-credentials: false")


def test_no_expression_is_interpolated_into_a_shell_script(workflow: str) -> None:
    runs = re.findall(r"run: (?:\|\n(?: {10}.*\n?)+|.+)", workflow)
    assert not [run for run in runs if "${{" in run]


def test_ci_runs_the_local_ci_script_on_both_pythons() -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert 'python: ["3.11", "3.13"]' in text
    assert "run: .ci/run" in text


def test_a_ci_job_runs_on_the_python_that_it_names() -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert text.count("PYTHON: ${{ steps.python.outputs.python-path }}") == 2
    assert text.index('os.environ["MEANT"]') < text.index("run: .ci/run")


def test_newest_and_oldest_versions_vulnerabilities_and_models_are_checked_every_week() -> None:
    text = (ROOT / ".github" / "workflows" / "weekly.yml").read_text(encoding="utf-8")
    assert re.search(r"schedule:\n +- cron:", text)
    assert text.index("run: make lock FLAGS=--upgrade") < text.index("run: make browser check examples")
    assert text.index("run: make lock RESOLUTION=lowest-direct") < text.index("run: make browser test")
    assert "run: make audit" in text
    assert "run: python3 -m infra.preflight.documented_models" in text


def test_dependabot_watches_every_lock_of_the_repository() -> None:
    text = (ROOT / ".github" / "dependabot.yml").read_text(encoding="utf-8")
    watched = set(re.findall(r"package-ecosystem: (\S+).*\n +directory: (\S+)", text))
    assert watched == {("github-actions", "/"), ("uv", "/"), ("pip", "/requirements")}
    [npm] = re.findall(r"package-ecosystem: npm\n +directories: \[(.*)\]", text)
    locks = [lock for place in ("*", "examples/*", "tests/*/*") for lock in ROOT.glob(f"{place}/package-lock.json")]
    assert set(npm.split(", ")) == {f"/{lock.parent.relative_to(ROOT).as_posix()}" for lock in locks}


def _python_found_by_make(python: str) -> str:
    """The interpreter that the Makefile chooses when `PYTHON` is set."""
    makefile = "include Makefile\nfound:\n\t@$(FIND_PYTHON)\n"
    command = ["make", "-s", "-f", "-", "found", f"PYTHON={python}"]
    return subprocess.run(command, cwd=ROOT, input=makefile, capture_output=True, text=True, check=False).stdout.strip()


def test_make_uses_the_python_that_is_named_or_none(tmp_path: Path) -> None:
    named = tmp_path / "mine"
    named.symlink_to(BASE_PYTHON)
    assert _python_found_by_make(str(named)) == str(named)
    assert _python_found_by_make(str(tmp_path / "missing")) == ""


def test_for_a_virtual_environment_make_uses_its_base_python(tmp_path: Path) -> None:
    subprocess.run([BASE_PYTHON, "-m", "venv", "--without-pip", tmp_path / "theirs"], check=True)
    assert _python_found_by_make(str(tmp_path / "theirs" / "bin" / "python")) == BASE_PYTHON


def test_make_does_not_use_a_python_that_is_too_old(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_text(
        f'#!/bin/sh\nexec "{BASE_PYTHON}" -c "import sys; sys.version_info = (3, 10); $2"\n', encoding="utf-8"
    )
    old.chmod(0o755)
    assert _python_found_by_make(str(old)) == ""


def test_prod_is_deployed_after_dev_passes_its_health_check() -> None:
    text = (ROOT / ".github" / "workflows" / "deploy.yml").read_text(encoding="utf-8")
    assert re.search(r"\n  prod:\n    needs: \[dev, stages\]\n", text)
    stage = (ROOT / ".github" / "workflows" / "stage.yml").read_text(encoding="utf-8")
    assert stage.index("make deploy") < stage.index("chat/health")


@pytest.mark.parametrize(
    ("stages", "output_line"), [({"dev": {}}, "prod=false"), ({"dev": {}, "prod": {}}, "prod=true")]
)
def test_prod_is_deployed_only_if_it_is_configured(stages: dict[str, Any], output_line: str, tmp_path: Path) -> None:
    text = (ROOT / ".github" / "workflows" / "deploy.yml").read_text(encoding="utf-8")
    [script] = re.findall(r"id: known\n +run: \|\n((?: {10}.*\n)+)", text)
    assert "if: needs.stages.outputs.prod == 'true'" in text
    (tmp_path / "cdk.json").write_text(json.dumps({"context": {"stages": stages}}), encoding="utf-8")
    output = tmp_path / "output"
    environ = os.environ | {"GITHUB_OUTPUT": str(output)}
    subprocess.run(["bash", "-euc", textwrap.dedent(script)], cwd=tmp_path, env=environ, check=True)
    assert output.read_text(encoding="utf-8").strip() == output_line


def test_the_prod_stage_in_the_docs_is_valid() -> None:
    text = (ROOT / "docs" / "how-to" / "deploy-from-github.md").read_text(encoding="utf-8")
    [entry] = re.findall(r"```json\n +(\"prod\": .+?)\n +```", text, re.DOTALL)
    config = stage_of({"stage": "prod", "stages": json.loads(f"{{{entry}}}")})
    assert not config.disposable
