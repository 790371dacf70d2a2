"""The names of a stage's stacks, and the order in which they are deployed.

Does not import aws_cdk, which takes seconds and 300 MB: `make logs`, `make destroy` and `make bootstrap` need only
the names.
"""

from infra.stage.config import StageConfig


def data_stack_name(stage: str) -> str:
    return f"chatkit-{stage}-data"


def api_stack_name(stage: str) -> str:
    return f"chatkit-{stage}-api"


def edge_stack_name(stage: str) -> str:
    return f"chatkit-{stage}-edge"


def stack_names(config: StageConfig) -> list[str]:
    """All stacks of a stage, in deployment order."""
    edge = [edge_stack_name(config.stage)] if config.needs_edge else []
    return [data_stack_name(config.stage), *edge, api_stack_name(config.stage)]
