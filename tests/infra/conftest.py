"""Session fixtures: templates of the reference stage, its variants and stage dev, and the real zip.

Imports aws_cdk, which takes seconds, only in fixtures: the process that starts the workers loads this file, too.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from infra.bundle import build
from infra.bundle.build import Bundle
from infra.bundle.wheels import for_this_interpreter
from infra.errors import BundleError, ToolError
from tests.once import once

if TYPE_CHECKING:
    from aws_cdk.assertions import Template

ROOT = Path(__file__).parents[2]
REFERENCE = Path(__file__).with_name("reference.json")

# Stages that differ from the reference, for example in front door or mode. Their templates: tests/infra/snapshots/.
VARIANTS: dict[str, dict[str, Any]] = json.loads(REFERENCE.with_name("variants.json").read_text(encoding="utf-8"))

Templates = Mapping[str, dict[str, Any]]
Parse = Callable[[Mapping[str, Any]], "Template"]
StackOf = Callable[[str], "Template"]


@pytest.fixture(scope="session")
def context() -> dict[str, Any]:
    """The context that tests/template.json is synthesized from, with the feature flags that `cdk init` writes."""
    loaded: dict[str, Any] = json.loads(REFERENCE.read_text(encoding="utf-8"))
    return loaded


def synthesized(context: Mapping[str, Any], folders: pytest.TempPathFactory) -> Templates:
    """The templates of the stage that `context` selects, by stack name, synthesized once per run."""
    from infra.commands import template

    stage = context["stage"]
    text = once(folders, stage, lambda: json.dumps(template.synthesize(context, outdir=folders.mktemp(stage))))
    templates: Templates = json.loads(text)
    return templates


@pytest.fixture(scope="session")
def templates(context: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Templates:
    """Both templates of stage `reference`, by stack name."""
    return synthesized(context, tmp_path_factory)


@pytest.fixture(scope="session")
def dev_templates(context: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Templates:
    """Both templates of stage `dev`, whose data is deleted with its stack."""
    return synthesized(context | {"stage": "dev"}, tmp_path_factory)


@pytest.fixture(scope="session")
def variants(context: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Templates]:
    """The templates of each variant, by its name, which is also the name of its stage."""
    from tests.infra import template_files

    return {
        name: synthesized(template_files.variant(context, name, options), tmp_path_factory)
        for name, options in VARIANTS.items()
    }


@pytest.fixture(scope="session")
def parsed() -> Parse:
    """Parses a template for CDK's assertions."""
    from aws_cdk.assertions import Template

    return Template.from_json


@pytest.fixture(scope="session")
def api_of(variants: dict[str, Templates], parsed: Parse) -> StackOf:
    """The API stack of a variant."""
    return lambda name: parsed(variants[name][f"chatkit-{name}-api"])


@pytest.fixture(scope="session")
def data_of(variants: dict[str, Templates], parsed: Parse) -> StackOf:
    """The data stack of a variant."""
    return lambda name: parsed(variants[name][f"chatkit-{name}-data"])


@pytest.fixture(scope="session")
def data(templates: Templates, parsed: Parse) -> "Template":
    return parsed(templates["chatkit-reference-data"])


@pytest.fixture(scope="session")
def api(templates: Templates, parsed: Parse) -> "Template":
    return parsed(templates["chatkit-reference-api"])


@pytest.fixture(scope="session")
def dev_data(dev_templates: Templates, parsed: Parse) -> "Template":
    return parsed(dev_templates["chatkit-dev-data"])


@pytest.fixture(scope="session")
def dev_api(dev_templates: Templates, parsed: Parse) -> "Template":
    return parsed(dev_templates["chatkit-dev-api"])


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    """The real zip for this machine, in build/, where the commands expect it.

    Tests that use it share the xdist group `bundle`, so it is built once.
    """
    try:
        return build.build(ROOT, environ=os.environ, target=for_this_interpreter())
    except ToolError as error:
        pytest.skip(str(error))
    except BundleError as error:
        if "Failed to download" not in str(error):
            raise
        pytest.skip("offline, and the locked wheels are not in uv's cache")
