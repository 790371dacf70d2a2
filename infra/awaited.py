"""What a stage can be asked for and the function cannot do yet: refused at synth, in a sentence each.

The stack is ready for all of it: it sets the variable named here. As soon as lambda_src/settings.py reads that
variable, tests/test_agreements.py fails until the entry is gone from this list.
"""

from collections.abc import Callable
from dataclasses import dataclass

from infra.config import StageConfig
from infra.config_parts import GuestConfig
from infra.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Awaited:
    """`variable`: the setting whose arrival ends the waiting; `wanted`: whether a stage asks for it."""

    variable: str
    wanted: Callable[[StageConfig], bool]
    sentence: str


AWAITED = (
    Awaited(
        "CHAT_GUEST_MESSAGES_PER_DAY",
        lambda config: isinstance(config.auth, GuestConfig),
        "auth.guest: the function mints no guest tokens yet; take issuer and audience, or cognito.",
    ),
    Awaited(
        "CHAT_MODELS",
        lambda config: bool(config.models),
        "models: the function holds no list of models yet; name the model in lambda_src/agent/ and leave this out.",
    ),
    Awaited(
        "CHAT_STAGE_TOKENS_PER_DAY",
        lambda config: config.quotas is not None,
        "quotas: the function counts neither messages nor tokens yet; set a limit at your model's vendor.",
    ),
    Awaited(
        "CHAT_ORIGIN_SECRETS",
        lambda config: config.front_door == "cloudfront" and config.origin_access == "secret",
        "front_door cloudfront: the function does not check the secret header yet, so its own URL would stay open; "
        "take url or apigw.",
    ),
    Awaited(
        "CHAT_TOKEN_HEADER",
        lambda config: config.origin_access == "iam",
        "origin_access iam: CloudFront signs in Authorization, and the function reads the token from nowhere else yet.",
    ),
    Awaited(
        "CHAT_CORS_ORIGINS",
        lambda config: config.front_door == "apigw" and bool(config.cors_origins),
        "cors_origins with front_door apigw: the function sends no CORS headers yet; leave them out, our own page "
        "needs none, or take url.",
    ),
)


def refuse_awaited(config: StageConfig) -> None:
    """ConfigError with one sentence for each thing that the function of today would not do."""
    faults = [f"stages.{config.stage}.{one.sentence}" for one in AWAITED if one.wanted(config)]
    if faults:
        raise ConfigError(faults)
