"""Deployments by the real CDK CLI from code: synthesize a context, deploy it, read its outputs.

Knows one account and region; not whether that is AWS or a local one.
"""

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.bundle import toolchain
from infra.commands import template
from infra.errors import ToolError
from infra.preflight import guest_secret
from infra.preflight.account import Account
from infra.stage.config import StageConfig


class Deployment:
    """The CDK CLI against one account and region. Everything it writes is in `folder`.

    environ: what the CLI finds its credentials in.
    """

    def __init__(self, account: Account, *, folder: Path, environ: Mapping[str, str]) -> None:
        self._account = account
        self._folder = folder.absolute()
        self._environ = toolchain.with_node(environ) | {
            "CDK_DISABLE_CLI_TELEMETRY": "1",
            "CDK_DISABLE_VERSION_CHECK": "1",
            "CDK_HOME": str(self._folder / "cdk-home"),
        }

    def bootstrap(self) -> None:
        """Prepare the account, as is done once in each account and region."""
        self._cdk("bootstrap", f"aws://{self._account.account}/{self._account.region}")

    def deploy(self, context: Mapping[str, Any], *, code: Path) -> dict[str, dict[str, str]]:
        """All stacks of the stage that `context` means, and its guests' secret; returns the outputs, by stack."""
        outputs = self._folder / "outputs.json"
        app = self._synthesize(context, code=code)
        guest_secret.ensure(StageConfig.from_context(context), self._account)
        self._cdk("deploy", "--all", "--app", str(app), "--require-approval", "never", "--outputs-file", str(outputs))
        deployed: dict[str, dict[str, str]] = json.loads(outputs.read_text(encoding="utf-8"))
        return deployed

    def _synthesize(self, context: Mapping[str, Any], *, code: Path) -> Path:
        app = self._folder / "cdk.out"
        shutil.rmtree(app, ignore_errors=True)
        template.synthesize(context, outdir=app, code=code)
        return app

    def _cdk(self, *words: str) -> None:
        # In a folder without a cdk.json: the CLI would run the app that it names, for bootstrap too.
        command = [*toolchain.find_cdk(), *words, "--no-notices"]
        done = subprocess.run(command, cwd=self._folder, env=self._environ, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ToolError(f"cdk {words[0]} failed:\n{(done.stdout + done.stderr)[-4000:]}")
