"""The configuration of one stage: read from cdk.json's context, validated, every fault in one message.

Knows no construct and no AWS. The shape of the context:

    "stage": "dev",                    the default stage (`-c stage=prod` selects another)
    "stages": {"dev": {...}, ...}      one entry for each stage: the options of infra/stage/schema.py
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from infra.errors import ConfigError
from infra.stage.contradictions import contradictions
from infra.stage.parsers import nearest, read
from infra.stage.schema import MAX_CONCURRENCY, StageOptions

GUEST_CONCURRENCY = 50  # turns at a time that a stage with guests runs, if it names no number and the account has room
UNCAPPED = "chatkit:uncapped"  # context key that `make deploy` sets if the account has no room for that cap
ACCOUNT_LIMIT = "chatkit:account-limit"  # context key for the account's Lambda concurrency, set by `make deploy`
TEMPORARY = "chatkit:temporary"  # context key that `make prove` sets for the stage that it deploys and destroys
EDGE_REGION = "us-east-1"  # CloudFront takes its certificate and its web ACL from there only


def read_context(path: Path) -> dict[str, Any]:
    """The context of a cdk.json; ConfigError if the file cannot be read or its context is not an object."""
    try:
        context = json.loads(path.read_text(encoding="utf-8")).get("context", {})
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError([f"{path} cannot be read: {error}."]) from None
    if not isinstance(context, dict):
        raise ConfigError([f"context must be an object, and is {context!r}."])
    return context


@dataclass(frozen=True, slots=True, kw_only=True)
class StageConfig(StageOptions):
    """What one stage chose, and what follows from it.

    uncapped: the account has no concurrency to set aside. account_limit: the concurrency of the whole account.
    temporary: `make prove` deploys the stage and destroys it.
    """

    uncapped: bool = False
    account_limit: int = MAX_CONCURRENCY
    temporary: bool = False

    @property
    def capped_by_default(self) -> bool:
        """True where strangers may call and the stage names no number of turns at a time itself."""
        return self.open_to_strangers and self.reserved_concurrency is None and self.managed_instances is None

    @property
    def concurrency_cap(self) -> int | None:
        """Turns at a time, at most: the stage's own number, or the one for guests; None leaves it to the account."""
        return GUEST_CONCURRENCY if self.capped_by_default and not self.uncapped else self.reserved_concurrency

    @property
    def warnings(self) -> list[str]:
        """What is allowed and probably not intended, a sentence each; shown before a deployment."""
        auth = self.auth
        takes_id_tokens = auth.client_id is not None and auth.client_id == auth.audience
        if takes_id_tokens and not (auth.issuer or "").startswith("https://cognito-idp."):  # its ID tokens are refused
            return [
                "auth.audience is auth.client_id, so ID tokens of the issuer are accepted too: docs/auth.md, ID tokens."
            ]
        return []

    @property
    def model_key_name(self) -> str:
        """The SSM parameter with the model's key, whether or not it is there yet."""
        return self.model_key_parameter or f"/chatkit/{self.stage}/model-key"

    @property
    def guest_secret_name(self) -> str | None:
        """The SSM parameter that signs guests' tokens, made by infra/preflight/guest_secret.py; None without guests."""
        return f"/chatkit/{self.stage}/guest-secret" if self.auth.guest is not None else None

    @property
    def secret_parameters(self) -> tuple[str, ...]:
        """The SSM parameters of the secrets that tools read, in the order of `secrets`."""
        return tuple(f"/chatkit/{self.stage}/{name}" for name in self.secrets)

    @property
    def demo_model(self) -> bool:
        """Whether the demo model answers while there is no key. In stage prod it does not: people would believe it."""
        return self.stage != "prod"

    @property
    def has_origin_secret(self) -> bool:
        """Whether CloudFront sends a secret with each request, which proves that it came through CloudFront."""
        return self.front_door == "cloudfront"

    @property
    def disposable(self) -> bool:
        """True for stage dev and for the stage of `make prove`: destroying the stacks deletes the threads."""
        return self.stage == "dev" or self.temporary

    @classmethod
    def from_context(cls, context: Mapping[str, Any]) -> Self:
        """The stage that `context` means; ConfigError names every fault of the context and of that stage at once."""
        ours = ("stage", "stages")
        faults = [
            f"{key} is not an option{nearest(key, ours)}."
            for key in context
            if key.isidentifier() and key not in ours  # CDK's own keys hold a colon, a hyphen or an @
        ]
        stages, stage = context.get("stages"), context.get("stage")
        config: Self | None = None
        if not isinstance(stages, Mapping) or not stages:
            faults.append('stages is missing: {"dev": {"auth": {...}}} is the least.')
        elif not isinstance(stage, str) or stage not in stages:
            faults.append(f"stage {stage!r} is not in stages{nearest(str(stage), tuple(stages))}.")
        elif not re.fullmatch(r"[a-z][a-z0-9-]{0,19}", stage):
            faults.append(f"stages.{stage} must be called by 1 to 20 of a-z, 0-9 and -, a letter first.")
        elif not isinstance(stages[stage], Mapping):
            faults.append(f"stages.{stage} must be an object, and is {stages[stage]!r}.")
        else:
            try:
                config = cls(
                    stage=stage,
                    uncapped=bool(context.get(UNCAPPED)),
                    account_limit=int(context.get(ACCOUNT_LIMIT, MAX_CONCURRENCY)),
                    temporary=bool(context.get(TEMPORARY)),
                    **read(cls, stages[stage]),
                )
            except ConfigError as error:
                faults += [f"stages.{stage}.{fault}" for fault in error.faults]
        if config is not None:
            faults += [f"stages.{stage}.{fault}" for fault in contradictions(config)]
        if faults or config is None:
            raise ConfigError(faults)
        return config
