"""Renders docs/reference/configuration.md from infra/stage/schema.py and sections.py, which describe each option."""

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
from tests.docs.page_links import linked

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

This page lists the options of a stage in `cdk.json`. A stage is one deployment of the chat, for example `dev` or
`prod`. Each stage has its own AWS resources and can be in its own account or region. `make deploy STAGE=prod` deploys
the stacks `chatkit-prod-data` and `chatkit-prod-api`.

`context.stages` contains the stages, and `context.stage` is the name of the default one:

```json
{"context": {"stage": "dev", "stages": {
  "dev": {"auth": {"issuer": "https://login.example.com/", "audience": "chat"}},
  "prod": {
    "auth": {"issuer": "https://login.example.com/", "audience": "chat"},
    "region": "eu-central-1",
    "model_key_parameter": "/chatkit/prod/model-key",
    "monitoring": "full",
    "alarm_email": "ops@example.com"
  }
}}}
```

Two names of stages are special:

* `dev` is disposable. If you destroy its stacks, its data is deleted. All other stages keep their table, bucket, users
  and logs.
* In `prod`, the demo model does not answer. Without a model key, messages are refused.

If options are missing, malformed, unknown or contradictory, `make deploy` reports all of them in one message before it
builds anything. A [setting of the function](settings.md) that has no stage option goes into `settings`.

<!-- Generated from infra/stage/schema.py and infra/stage/sections.py: edit these, then run `make snapshots`. -->

## A stage
"""


def page() -> str:
    """The whole page."""
    sections = [HEAD, *table(StageConfig)]
    for name, part in PARTS.items():
        sections += [f"\n### `{name}`\n", f"{linked(inspect.cleandoc(part.__doc__ or ''))}\n", *table(part)]
    return "\n".join(sections) + "\n"


def table(cls: type) -> Iterator[str]:
    yield "| option | takes | default | what it does |"
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
    return linked(doc[0].upper() + doc[1:])
