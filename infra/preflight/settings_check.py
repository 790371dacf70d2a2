"""Checks, before anything is deployed, the settings that the function would refuse at its first start.

Runs the function's own check in a process (lambda_src/dev/first_start.py): infra imports nothing of lambda_src.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.errors import ConfigError, ToolError
from infra.stage.config import StageConfig
from infra.stage.environment import ResourceNames, variables

MAX_BYTES = 4096  # of all variables together: Lambda's quota, names and values
ROOT = Path(__file__).parents[2]
OPTIONS = {
    "CHAT_AUTH_PUBLIC_KEYS": "auth.public_keys",
    "CHAT_CORS_ORIGINS": "cors_origins",
    "CHAT_MODELS": "models",
    "CHAT_PAGE": "page",
}


def stage_of(context: Mapping[str, Any]) -> StageConfig:
    """The stage that `context` selects. ConfigError lists every setting with which the function would not start."""
    config = StageConfig.from_context(context)
    if faults := [*_refused(config), *_too_large(config)]:
        raise ConfigError([f"stages.{config.stage}.{fault}" for fault in faults])
    return config


def _refused(config: StageConfig) -> list[str]:
    """A sentence for each variable that the function refuses, beginning with the option to change."""
    question = json.dumps({"variables": _variables(config), "options": OPTIONS})
    ask = [sys.executable, "-m", "lambda_src.dev.first_start"]
    done = subprocess.run(ask, cwd=ROOT, input=question, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ToolError(f"the settings could not be checked:\n{done.stderr[-2000:]}")
    return [f"{fault['option']} {fault['problem']}" for fault in json.loads(done.stdout)]


def _too_large(config: StageConfig) -> list[str]:
    variables = _variables(config).items()
    sizes = {name: len(name.encode()) + len(value.encode()) for name, value in variables}
    if (total := sum(sizes.values())) <= MAX_BYTES:
        return []
    largest = max(sizes, key=sizes.__getitem__)
    return [
        f"settings and the other options make an environment of {total} bytes, and Lambda takes {MAX_BYTES}: "
        f"{largest} alone has {sizes[largest]}."
    ]


def _variables(config: StageConfig) -> dict[str, str]:
    """The function's variables, with names as long as CloudFormation makes them where it will fill them in."""
    auth, pool = config.auth, config.auth.cognito is not None
    names = ResourceNames(
        table="t" * 80,
        bucket="b" * 63,  # S3's longest
        issuer=f"https://cognito-idp.ap-southeast-2.amazonaws.com/{'p' * 24}" if pool else auth.issuer,
        audience="c" * 26 if pool else auth.audience,
        client_id="c" * 26 if pool else auth.client_id,
        sign_in_url=f"https://{'d' * 63}.auth.ap-southeast-2.amazoncognito.com" if pool else auth.sign_in_url,
        origin_secrets=("a" * 140,) * 2 if config.has_origin_secret else (),
    )
    return variables(config, names)
