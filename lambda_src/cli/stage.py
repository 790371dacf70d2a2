"""Reads from cdk.json what the command line needs to know about a stage. infra/stage/config.py validates the rest.

tests/agreements/test_infra_and_function.py holds the names below to those that the stack uses.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lambda_src.errors import SettingsError

if TYPE_CHECKING:
    import boto3

OPENAI = "https://api.openai.com/v1"  # where the models are, if the stage names no other address


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stage: its account and region (None: from your AWS profile), and the names of its secrets."""

    name: str
    account: str | None
    region: str | None
    model_key: str
    guest_secret: str | None
    model_base_url: str | None
    models: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    dictation_model: str | None = None

    @property
    def data_stack(self) -> str:
        """The stack with its table and bucket."""
        return f"chatkit-{self.name}-data"


def read_stage(cdk_json: Path, name: str | None) -> Stage:
    """The stage called `name`, or the default stage of the file. SettingsError: there is no such stage."""
    try:
        context = json.loads(cdk_json.read_text(encoding="utf-8"))["context"]
        stages = context["stages"]
        wanted = name or context["stage"]
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise SettingsError([f"{cdk_json} cannot be read, or names no stages: {fault!r}."]) from None
    if not isinstance(stages, Mapping) or not isinstance(stages.get(wanted), Mapping):
        names = ", ".join(stages) if isinstance(stages, Mapping) else "none"
        raise SettingsError([f"{cdk_json} has no stage {wanted!r}; known are {names}."])
    entry: Mapping[str, Any] = stages[wanted]
    guests = "guest" in entry.get("auth", {})
    settings = entry.get("settings", {})
    return Stage(
        name=wanted,
        account=entry.get("account"),
        region=entry.get("region"),
        model_key=entry.get("model_key_parameter") or f"/chatkit/{wanted}/model-key",
        guest_secret=f"/chatkit/{wanted}/guest-secret" if guests else None,
        model_base_url=settings.get("model_base_url"),
        models=tuple(entry.get("models", ())),
        secrets=tuple(entry.get("secrets", ())),
        environment=_texts(entry.get("environment")),
        dictation_model=settings.get("dictation_model"),
    )


def _texts(environment: object) -> dict[str, str]:
    """Variables as the function gets them; none where they are no object, which infra/stage/config.py reports."""
    if not isinstance(environment, Mapping):
        return {}
    return {name: json.dumps(value) if isinstance(value, bool) else str(value) for name, value in environment.items()}


def session_for(stage: Stage, endpoint_url: str | None) -> "boto3.Session":
    """An AWS session in the stage's region. SettingsError: these credentials are of another account than the stage."""
    import boto3  # noqa: PLC0415 - a second that no other command needs

    session = boto3.Session(region_name=stage.region or os.environ.get("AWS_REGION"))
    if stage.account is not None:
        account = session.client("sts", endpoint_url=endpoint_url).get_caller_identity()["Account"]
        if account != stage.account:
            raise SettingsError(
                [f"these credentials are for account {account}, stage {stage.name} is of {stage.account}."]
            )
    return session
