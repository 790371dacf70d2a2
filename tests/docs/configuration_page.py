"""Renders docs/reference/configuration.md from infra/stage/schema.py, where each option is described. Pure."""

import inspect
import json
from collections.abc import Iterator
from dataclasses import MISSING
from typing import Any

from infra.stage.config import StageConfig
from infra.stage.parsers import options_of
from infra.stage.sections import (
    AuthConfig,
    CognitoConfig,
    DomainConfig,
    GuestConfig,
    LabelConfig,
    ManagedInstancesConfig,
    NetworkConfig,
    OperatorsConfig,
    PageAssistantConfig,
    PageConfig,
    PolicyConfig,
    PromptConfig,
    QuotaConfig,
)

PARTS: dict[str, type] = {
    "auth": AuthConfig,
    "auth.cognito": CognitoConfig,
    "auth.guest": GuestConfig,
    "quotas": QuotaConfig,
    "domain": DomainConfig,
    "page": PageConfig,
    "page.prompts": PromptConfig,
    "page.assistants": PageAssistantConfig,
    "page.labels": LabelConfig,
    "operators": OperatorsConfig,
    "policy": PolicyConfig,
    "vpc": NetworkConfig,
    "managed_instances": ManagedInstancesConfig,
}

HEAD = """# Configuration

Generated from `infra/stage/schema.py` by `make snapshots`: edit that file instead of this page.

A stage is an entry of `context.stages` in `cdk.json`; `context.stage` is the default stage. Each has its own account,
region and names, so that two never meet: `make deploy STAGE=prod` deploys `chatkit-prod-data` and `chatkit-prod-api`.
Every problem (missing, malformed, unknown or contradictory options) is reported in one message before anything is
built.

```json
{"context": {"stage": "dev", "stages": {
  "dev":  {"auth": {"issuer": "https://login.example.com/", "audience": "chat"}},
  "prod": {"auth": {"issuer": "https://login.example.com/", "audience": "chat"}, "region": "eu-central-1",
           "model_key_parameter": "/chatkit/prod/model-key", "monitoring": "full", "alarm_email": "ops@example.com"}
}}}
```

Only stage `dev` is disposable: destroying its stacks deletes what they hold. Every other stage keeps its table, bucket,
users and logs. In stage `prod` the demo model does not answer: without a model's key turns are refused.

Anything without its own option goes under `settings`: [settings.md](settings.md) lists the function's settings.

## A stage
"""


def page() -> str:
    """The whole page."""
    sections = [HEAD, *table(StageConfig)]
    for name, part in PARTS.items():
        sections += [f"\n### `{name}`\n", f"{inspect.cleandoc(part.__doc__ or '')}\n", *table(part)]
    return "\n".join(sections) + "\n"


def table(cls: type) -> Iterator[str]:
    yield "| option | takes | default | |"
    yield "|---|---|---|---|"
    for name, option in options_of(cls).items():
        takes = option.metadata["takes"].replace("|", "\\|")
        yield f"| `{name}` | {takes} | {_default(option)} | {_sentence(option.metadata['doc'])} |"


def _default(option: Any) -> str:
    if option.default is MISSING:
        return "required"
    is_empty_object = option.default == () and option.metadata["takes"].startswith("object")
    return "`{}`" if is_empty_object else f"`{json.dumps(option.default)}`"


def _sentence(doc: str) -> str:
    return doc[0].upper() + doc[1:]
