"""The environment variables of the function, from a stage's options; lambda_src/settings.py reads them. Pure."""

import json
from dataclasses import asdict, dataclass

from infra.stage.config import StageConfig
from infra.stage.sections import GuestConfig, OperatorsConfig, PageConfig, QuotaConfig

WRAPPER = "/var/task/lambda_src/bootstrap"  # Lambda unpacks the zip to /var/task
TOKEN_HEADER = "x-chat-authorization"  # noqa: S105 - a header's name; CloudFront's signature uses Authorization


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceNames:
    """Names of other resources, which CloudFormation fills in. None: the stage has no such resource."""

    table: str
    bucket: str
    issuer: str | None = None
    audience: str | None = None
    client_id: str | None = None
    sign_in_url: str | None = None
    origin_secrets: tuple[str, ...] = ()  # ARNs, the newest first
    events_topic: str | None = None  # its ARN


def variables(config: StageConfig, names: ResourceNames) -> dict[str, str]:
    """All environment variables of the function. An option that the stage does not set has no variable."""
    values: dict[str, str | int | None] = {
        **dict(config.environment),
        **{f"CHAT_{name.upper()}": value for name, value in config.settings},
        "AWS_LAMBDA_EXEC_WRAPPER": WRAPPER,
        "CHAT_TABLE": names.table,
        "CHAT_BUCKET": names.bucket,
        "CHAT_AUTH_ISSUER": names.issuer,
        "CHAT_AUTH_AUDIENCE": names.audience,
        "CHAT_AUTH_CLIENT_ID": names.client_id,
        "CHAT_AUTH_SIGN_IN_URL": names.sign_in_url,
        "CHAT_AUTH_PUBLIC_KEYS": f"[{','.join(config.auth.public_keys)}]" if config.auth.public_keys else None,
        "CHAT_CLAIMS": ",".join(config.claims) or None,
        "CHAT_OPERATORS": _as_json(config.operators),
        "CHAT_EVENTS_TOPIC": names.events_topic,
        "CHAT_GUEST_SECRET": config.guest_secret_name,
        "CHAT_PAGE": _as_json(config.page),
        "CHAT_QUOTAS": _as_json(config.quotas),
        "CHAT_GUEST_QUOTAS": _as_json(config.auth.guest),
        "CHAT_MODEL_KEY_PARAMETER": config.model_key_name,
        "CHAT_SECRETS": ",".join(config.secret_parameters) or None,
        "CHAT_DEMO_MODEL": None if config.demo_model else "false",
        "CHAT_MODELS": ",".join(config.models) or None,
        "CHAT_RETENTION_DAYS": config.thread_retention_days,
        "CHAT_ORIGIN_SECRETS": ",".join(names.origin_secrets) or None,
        "CHAT_TOKEN_HEADER": TOKEN_HEADER if config.front_door == "cloudfront-signed" else None,
        "CHAT_ORIGIN_SIGNED": "true" if config.front_door == "cloudfront-signed" else None,
        "CHAT_CORS_ORIGINS": ",".join(config.cors_origins) or None,
        # A function URL answers CORS itself; API Gateway answers preflights only, so the app must add its headers.
        "CHAT_CORS_AT_URL": "true" if config.cors_origins and config.front_door != "apigw" else None,
    }
    return {name: str(value) for name, value in values.items() if value is not None}


def _as_json(section: PageConfig | QuotaConfig | GuestConfig | OperatorsConfig | None) -> str | None:
    """The options of a section that are not null, as JSON; None if there are none."""
    options = {} if section is None else {name: value for name, value in asdict(section).items() if value is not None}
    return json.dumps(options) if options else None
