"""The CDK app: the stacks of one stage. The CDK CLI runs it (cdk.json); `python -m infra.app` does the same."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from aws_cdk import App, Environment, Stack, Tags
from aws_cdk import aws_lambda as lambda_

from infra.bundle import build, web_page
from infra.bundle.wheels import LAMBDA
from infra.errors import reports_errors
from infra.ingress.cloudfront import Edge
from infra.preflight import settings_check
from infra.stacks.api import ApiStack
from infra.stacks.data import DataStack
from infra.stacks.edge import EdgeStack
from infra.stacks.names import api_stack_name, data_stack_name, edge_stack_name
from infra.stage.config import EDGE_REGION, StageConfig, read_context

PROJECT = "chatkit-lambda"


def add_stage(app: App, *, config: StageConfig, code: Path, code_hash: str | None = None) -> None:
    """Put the stacks of one stage into `app`.

    code: the zip or folder that becomes /var/task. For a template without code, pass a placeholder and a fixed
    `code_hash`, so that the template does not change with the code.
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
        for key, value in {"project": PROJECT, "stage": config.stage}.items():
            Tags.of(stack).add(key, value)  # on its resources
            stack.add_stack_tag(key, value)  # on the stack, by which infra/preflight/account.py recognizes it


@reports_errors
def main(environ: Mapping[str, str]) -> int:
    """Build page and zip if needed, then synthesize into the CDK CLI's folder or cdk.out/. Returns the exit code."""
    # The CLI passes the context, including `-c stage=...`; without the CLI we read cdk.json ourselves.
    run_by_cdk = "CDK_OUTDIR" in environ
    app = App() if run_by_cdk else App(context=read_context(Path("cdk.json")), outdir="cdk.out")
    config = settings_check.stage_of(app.node.get_all_context({}))
    if not web_page.PAGE.is_file():  # the CDK CLI was run without our Makefile
        web_page.build(Path.cwd())
    zip_file = build.build(Path.cwd(), environ=environ, target=LAMBDA[config.architecture]).zip
    add_stage(app, config=config, code=zip_file)
    app.synth()
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
