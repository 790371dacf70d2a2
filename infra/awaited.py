"""What a stage can be asked for and the function cannot do yet: refused at synth, in a sentence each.

The stack is ready for all of it: it sets the variable named here. As soon as lambda_src/settings.py reads that
variable, tests/test_agreements.py fails until the entry is gone from this list.
"""

from collections.abc import Callable
from dataclasses import dataclass

from infra.config import StageConfig
from infra.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Awaited:
    """`variable`: the setting whose arrival ends the waiting; `wanted`: whether a stage asks for it."""

    variable: str
    wanted: Callable[[StageConfig], bool]
    sentence: str


AWAITED = (
    Awaited(
        "CHAT_MODELS",
        lambda config: bool(config.models),
        "models: the function holds no list of models yet; name the model in lambda_src/agent/ and leave this out.",
    ),
)


def refuse_awaited(config: StageConfig) -> None:
    """ConfigError with one sentence for each thing that the function of today would not do."""
    faults = [f"stages.{config.stage}.{one.sentence}" for one in AWAITED if one.wanted(config)]
    if faults:
        raise ConfigError(faults)
