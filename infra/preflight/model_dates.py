"""Whether a stage's models are shut down soon. The command line `chat` asks the vendor: infra imports nothing of it."""

import subprocess
import sys
from collections.abc import Mapping

from botocore.exceptions import BotoCoreError, ClientError

from infra.preflight.account import Account
from infra.preflight.stack_states import NOT_YET_MADE
from infra.stacks.names import api_stack_name
from infra.stage.config import StageConfig


def model_faults(config: StageConfig, account: Account, environ: Mapping[str, str]) -> list[str]:
    """Models with which no new stage should be created, each a sentence. Warnings are printed."""
    new = ["--new"] if is_new(config, account) else []
    ask = [sys.executable, "-m", "lambda_src.cli", "models", "--stage", config.stage, *new]
    region = {"AWS_DEFAULT_REGION": account.region}
    done = subprocess.run(ask, env={**environ, **region}, capture_output=True, text=True, check=False)
    warnings = done.stderr.splitlines()
    if done.returncode != 0 and new:
        return warnings
    for line in warnings:
        print(f"warning: {line}", flush=True)
    return []


def is_new(config: StageConfig, account: Account) -> bool:
    """Whether this would be the stage's first deployment. False if AWS refuses the call."""
    try:
        name = api_stack_name(config.stage)
        [stack] = account.clients("cloudformation", account.region).describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        return error.response.get("Error", {}).get("Code") == "ValidationError"  # the stack does not exist
    except BotoCoreError:
        return False
    return bool(stack["StackStatus"] == NOT_YET_MADE)
