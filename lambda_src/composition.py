"""The composition root: settings and parts in, the handler that Lambda calls out. Nothing else joins parts together."""

import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from lambda_src.app import create_app
from lambda_src.auth import Authenticate, BearerToken, IssuerKeys
from lambda_src.dispatcher import AgentDispatcher, BuildAgent, BuildRunConfig, shipped_agent
from lambda_src.events import Events
from lambda_src.observability import configure_logging
from lambda_src.runtime.adapter import StreamingMangum
from lambda_src.server import ChatServer
from lambda_src.settings import Settings
from lambda_src.turns.keeping import Keeper
from lambda_src.turns.running import Surroundings
from lambda_src.turns.turns import Turns

if TYPE_CHECKING:
    from agents import RunConfig

    from lambda_src.store.dynamodb import DynamoDBStore
    from lambda_src.store.memory import MemoryStore

STORE_THREADS = 32  # boto3 blocks: as many calls at once as some ten turns make; Lambda's default would be 5 or 6


def build_handler(
    settings: Settings,
    *,
    authenticate: Authenticate,
    build_run_config: BuildRunConfig,
    build_agent: BuildAgent = shipped_agent,
) -> StreamingMangum:
    """The chat server as a Lambda handler. What differs between Lambda, a laptop and a test is handed in."""
    os.environ["TZ"] = (
        "UTC"  # the SDK writes naive local times: with this they mean UTC, in every region and on laptops
    )
    time.tzset()
    configure_logging()
    store = build_store(settings)
    server = ChatServer(
        store,
        AgentDispatcher(build_agent, build_run_config=build_run_config),
        feedback=store,
        history_items=settings.history_items,
    )
    turns = Turns(Surroundings(store.ledger, Keeper(store)))
    app = create_app(server, turns, authenticate=authenticate, sweeps=store, max_body_bytes=settings.max_body_bytes)
    return StreamingMangum(app, lifespan="on", on_event=Events(store))


def lambda_handler(env: Mapping[str, str]) -> StreamingMangum:
    """What runs on Lambda: everything from `env`; SettingsError lists all that is wrong with it."""
    settings = Settings.from_env(env)
    keys = IssuerKeys(settings.auth_issuer)
    return build_handler(
        settings,
        authenticate=BearerToken(settings.auth_issuer, settings.auth_audience, keys=keys),
        build_run_config=lambda: run_config(model_key(settings.model_key_parameter)),
    )


def build_store(settings: Settings) -> "DynamoDBStore | MemoryStore":
    """The store that CHAT_STORE names."""
    match settings.store:
        case "dynamodb":
            from lambda_src.store.dynamodb import DynamoDBStore  # noqa: PLC0415 - only what is chosen is loaded

            return DynamoDBStore(
                aws_client("dynamodb"),
                settings.table,
                bucket=settings.bucket,
                s3=None if settings.bucket is None else aws_client("s3"),
                executor=ThreadPoolExecutor(STORE_THREADS, thread_name_prefix="store"),
            )
        case "memory":
            from lambda_src.store.memory import MemoryStore  # noqa: PLC0415 - only what is chosen is loaded

            return MemoryStore()


def run_config(key: str | None) -> "RunConfig":
    """How the agent is run: by OpenAI's models with `key`, by the demo model without one."""
    from lambda_src import models  # noqa: PLC0415 - off the cold path

    return models.demo_run_config() if key is None else models.openai_run_config(key)


def model_key(parameter: str | None) -> str | None:
    """The model's key from SSM (a SecureString), or None when no parameter is named."""
    if parameter is None:
        return None
    answer = aws_client("ssm").get_parameter(Name=parameter, WithDecryption=True)
    key: str = answer["Parameter"]["Value"]
    return key


def aws_client(service: str) -> Any:  # noqa: ANN401 - boto3's clients have no common type
    """A boto3 client with a chat's patience."""
    import boto3  # noqa: PLC0415 - 0.2 s that the memory store does not need

    from lambda_src.store.calls import CLIENT_CONFIG  # noqa: PLC0415 - imports botocore

    return boto3.client(service, config=CLIENT_CONFIG)  # type: ignore[call-overload] # the service is not known to mypy
