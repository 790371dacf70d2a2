"""The configuration of one stage: read from cdk.json's context and validated, with every fault in one message.

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
from infra.stage.parsers import nearest, read
from infra.stage.rules import violated_rules
from infra.stage.schema import MAX_CONCURRENCY, StageOptions

GUEST_CONCURRENCY = 50  # default cap on concurrent turns of a stage with guests, if the account's limit allows it
UNCAPPED = "chatkit:uncapped"  # context key that `make deploy` sets if the account's limit is too low for that cap
ACCOUNT_LIMIT = "chatkit:account-limit"  # context key for the account's Lambda concurrency, set by `make deploy`
TEMPORARY = "chatkit:temporary"  # context key that `make prove` sets for the stage that it deploys and destroys
EDGE_REGION = "us-east-1"  # CloudFront accepts certificates and web ACLs only from there


def read_context(path: Path) -> dict[str, Any]:
    """The context of a cdk.json; ConfigError if the file cannot be read or its context is not an object."""
    try:
        context = json.loads(path.read_text(encoding="utf-8")).get("context", {})
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError([f"{path} cannot be read: {error}."]) from None
    if not isinstance(context, dict):
        raise ConfigError([f"context must be an object, not {context!r}."])
    return context


@dataclass(frozen=True, slots=True, kw_only=True)
class StageConfig(StageOptions):
    """The options of one stage, and values derived from them.

    uncapped: the account has no concurrency to reserve. account_limit: the concurrency of the whole account.
    temporary: `make prove` deploys and destroys the stage.
    """

    uncapped: bool = False
    account_limit: int = MAX_CONCURRENCY
    temporary: bool = False

    @property
    def capped_by_default(self) -> bool:
        """Whether guests may call and the stage sets no limit on concurrent turns itself."""
        return self.open_to_strangers and self.reserved_concurrency is None and self.managed_instances is None

    @property
    def concurrency_cap(self) -> int | None:
        """The maximum of concurrent turns: the stage's own, or the default with guests; None: the account's limit."""
        return GUEST_CONCURRENCY if self.capped_by_default and not self.uncapped else self.reserved_concurrency

    @property
    def warnings(self) -> list[str]:
        """Valid options that are probably not intended, one sentence each; printed before a deployment."""
        auth = self.auth
        takes_id_tokens = auth.client_id is not None and auth.client_id == auth.audience
        if takes_id_tokens and not (auth.issuer or "").startswith("https://cognito-idp."):  # its ID tokens are refused
            return [
                "auth.audience is auth.client_id, so its ID tokens pass too: docs/how-to/openid-issuer.md, ID tokens."
            ]
        return []

    @property
    def model_key_name(self) -> str:
        """The SSM parameter for the model's key, whether it exists or not."""
        return self.model_key_parameter or f"/chatkit/{self.stage}/model-key"

    @property
    def guest_secret_name(self) -> str | None:
        """The SSM parameter with the secret that signs guests' tokens (infra/preflight/guest_secret.py), if any."""
        return f"/chatkit/{self.stage}/guest-secret" if self.auth.guest is not None else None

    @property
    def secret_parameters(self) -> tuple[str, ...]:
        """The SSM parameters of the secrets that tools read, in the order of `secrets`."""
        return tuple(f"/chatkit/{self.stage}/{name}" for name in self.secrets)

    @property
    def demo_model(self) -> bool:
        """Whether the demo model answers while there is no key. Not in stage prod, where users would believe it."""
        return self.stage != "prod"

    @property
    def counts_usage(self) -> bool:
        """Whether the function counts tokens by assistant, model and release."""
        return self.operators is not None or dict(self.settings).get("usage") == "true"

    @property
    def has_origin_secret(self) -> bool:
        """Whether CloudFront adds a secret to each request, as proof that it came through CloudFront."""
        return self.front_door == "cloudfront"

    @property
    def disposable(self) -> bool:
        """Whether destroying the stacks deletes the threads: in stage dev and the stage of `make prove`."""
        return self.stage == "dev" or self.temporary

    @classmethod
    def from_context(cls, context: Mapping[str, Any]) -> Self:
        """The stage that `context` selects; ConfigError with every fault of the context and of that stage."""
        keys = ("stage", "stages")
        faults = [
            f"{key} is not an option{nearest(key, keys)}."
            for key in context
            if key.isidentifier() and key not in keys  # CDK's own keys contain a colon, a hyphen or an @
        ]
        stages, stage = context.get("stages"), context.get("stage")
        config: Self | None = None
        if not isinstance(stages, Mapping) or not stages:
            faults.append('stages is missing: it needs at least {"dev": {"auth": {...}}}.')
        elif not isinstance(stage, str) or stage not in stages:
            faults.append(f"stage {stage!r} is not in stages{nearest(str(stage), tuple(stages))}.")
        elif not re.fullmatch(r"[a-z][a-z0-9-]{0,19}", stage):
            faults.append(f"stages.{stage}: a stage's name has 1 to 20 of a-z, 0-9 and -, and begins with a letter.")
        elif not isinstance(stages[stage], Mapping):
            faults.append(f"stages.{stage} must be an object, not {stages[stage]!r}.")
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
            faults += [f"stages.{stage}.{fault}" for fault in violated_rules(config)]
        if faults or config is None:
            raise ConfigError(faults)
        return config
