"""Plain CDK CLI without our Makefile: `cdk deploy --all` and `cdk diff` in a clone after `make setup`.

Both synthesize first, as `cdk synth` does.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.bundle import toolchain, web_page
from infra.commands import local_cloud
from infra.commands.local_cloud import LocalCloud
from infra.errors import ToolError

pytestmark = [pytest.mark.deploys, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[3]
CLONED = ("infra", "lambda_src", "web", "pyproject.toml", "uv.lock", ".venv")


@pytest.fixture
def clone(context: dict[str, Any], tmp_path: Path) -> Path:
    """A clone as `make setup` leaves it, with a test stage in its cdk.json."""
    if not (ROOT / web_page.PAGE).is_file():
        pytest.skip("the page is not built: make page")
    folder = tmp_path / "clone"
    folder.mkdir()
    for name in CLONED:
        (folder / name).symlink_to(ROOT / name)
    uv = toolchain.find_uv(os.environ)[0]
    (folder / ".local/uv/bin").mkdir(parents=True)
    (folder / ".local/uv/bin/uv").symlink_to(uv)
    app = json.loads((ROOT / "cdk.json").read_text(encoding="utf-8"))["app"]
    (folder / "cdk.json").write_text(json.dumps({"app": app, "context": context}), encoding="utf-8")
    return folder


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[LocalCloud]:
    try:
        cloud = local_cloud.start(tmp_path / "cloud", environ=os.environ)
    except ToolError as error:
        pytest.skip(str(error))
    try:
        yield cloud
    finally:
        local_cloud.stop(cloud)


def test_the_plain_cdk_cli_deploys_every_stack_and_then_reports_no_difference(clone: Path, cloud: LocalCloud) -> None:
    inherited = {
        name: value for name, value in os.environ.items() if name in ("HOME", "UV_CACHE_DIR", "UV_DEFAULT_INDEX")
    }
    environ = cloud.environ(inherited | {"PATH": f"{Path(toolchain.find_node()[0]).parent}{os.pathsep}/usr/bin:/bin"})
    environ |= {"CDK_HOME": str(clone / "home"), "CDK_DISABLE_CLI_TELEMETRY": "1", "CDK_DISABLE_VERSION_CHECK": "1"}

    def cdk(*arguments: str) -> str:
        command = [*toolchain.find_cdk(), *arguments, "--no-notices"]
        done = subprocess.run(command, cwd=clone, env=environ, capture_output=True, text=True, check=False)
        if "Failed to download" in done.stderr:
            pytest.skip("offline, and the locked wheels are not in uv's cache")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    cdk("bootstrap")
    cdk("deploy", "--all", "--require-approval", "never")
    assert "Number of stacks with differences: 0" in cdk("diff")
