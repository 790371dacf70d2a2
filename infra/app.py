"""The CDK app: the stacks of one stage. The CDK CLI runs it (cdk.json), and so does `python -m infra.app`.

Knows which stacks there are and what they are called; what is in them is theirs.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aws_cdk import App, Environment, Stack, Tags
from aws_cdk import aws_lambda as lambda_

from infra import bundling, first_start
from infra.api_stack import ApiStack
from infra.cloudfront import Edge
from infra.config import EDGE_REGION, StageConfig
from infra.data_stack import DataStack
from infra.edge_stack import EdgeStack
from infra.errors import ConfigError, InfraError
from infra.wheels import LAMBDA

PROJECT = "chatkit-lambda"


def data_stack_name(stage: str) -> str:
    return f"chatkit-{stage}-data"


def api_stack_name(stage: str) -> str:
    return f"chatkit-{stage}-api"


def edge_stack_name(stage: str) -> str:
    return f"chatkit-{stage}-edge"


def stack_names(config: StageConfig) -> list[str]:
    """All stacks of a stage, in the order in which they are deployed."""
    edge = [edge_stack_name(config.stage)] if config.needs_edge else []
    return [data_stack_name(config.stage), *edge, api_stack_name(config.stage)]


def read_context(path: Path) -> dict[str, Any]:
    """The context of a cdk.json; ConfigError where none can be read."""
    try:
        context = json.loads(path.read_text(encoding="utf-8")).get("context", {})
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError([f"{path} cannot be read: {error}."]) from None
    if not isinstance(context, dict):
        raise ConfigError([f"context must be an object, and is {context!r}."])
    return context


def add_stage(app: App, *, config: StageConfig, code: Path, code_hash: str | None = None) -> None:
    """Put the stacks of one stage into `app`.

    code: what becomes /var/task, a zip or a folder. A template needs a stand-in only, and then `code_hash` names it,
    so that the template does not change with the code.
    """
    asset = lambda_.Code.from_asset(str(code), asset_hash=code_hash)
    env = Environment(account=config.account, region=config.region) if config.account or config.region else None
    data = DataStack(app, data_stack_name(config.stage), config=config, env=env)
    stacks: list[Stack] = [data]
    edge = Edge()
    if config.needs_edge:
        at_the_edge = Environment(account=config.account, region=EDGE_REGION)
        edge_stack = EdgeStack(app, edge_stack_name(config.stage), config=config, env=at_the_edge)
        stacks.append(edge_stack)
        edge = edge_stack.edge
    api = ApiStack(app, api_stack_name(config.stage), config=config, code=asset, data=data, edge=edge, env=env)
    for stack in stacks:
        api.add_stack_dependency(stack)  # CDK's references between stacks are weak: they do not order a deployment
    for stack in [*stacks, api]:
        Tags.of(stack).add("project", PROJECT)
        Tags.of(stack).add("stage", config.stage)


def main(environ: Mapping[str, str]) -> int:
    """Build the zip if need be, then synthesize: to where the CDK CLI says, else to cdk.out/. Returns the exit code."""
    try:
        # The CLI hands over its own reading of the context, `-c stage=...` included; without it we read the file.
        run_by_cdk = "CDK_OUTDIR" in environ
        app = App() if run_by_cdk else App(context=read_context(Path("cdk.json")), outdir="cdk.out")
        config = first_start.stage_of(app.node.get_all_context({}))
        zip_file = bundling.build(Path.cwd(), environ=environ, target=LAMBDA[config.architecture]).zip
        add_stage(app, config=config, code=zip_file)
    except InfraError as error:
        print(error, file=sys.stderr)
        return 1
    app.synth()
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
