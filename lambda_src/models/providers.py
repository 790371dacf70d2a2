"""Model providers: clients for OpenAI, compatible APIs and Bedrock, with timeouts and retries. Knows no thread.

Imported after the cold start.
"""

import asyncio
import json
import logging
import re
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any, cast
from urllib.parse import urlsplit

import agents
import httpx2
from agents import ModelSettings, OpenAIProvider, RunConfig
from agents.run import CallModelData, ModelInputData
from agents.tracing.provider import DefaultTraceProvider
from openai import AsyncOpenAI
from openai.providers import bedrock

from lambda_src.context import User
from lambda_src.errors import UnavailableError
from lambda_src.models.errors import PASSING, classified, error_in
from lambda_src.models.openai_client import Client
from lambda_src.rotating_secret import Secret
from lambda_src.settings import ModelApi

CONNECT_S = 5.0
STALL_S = 30.0  # longest silence between two bytes of an answer: a model that thinks longer still sends events
RETRIES = 2  # before the first byte only: the client library never repeats an answer that has begun
BEDROCK = re.compile(r"bedrock-mantle\.([a-z0-9-]+)\.api\.aws")
TRUSTED = httpx2.create_ssl_context()  # shared by all clients: loading the certificate authorities takes 25 ms
IDLE_S = 120.0  # how long a connection stays open for the next turn; a handshake takes 50 ms or more
KEYLESS = (
    "No model key is set yet, so this assistant cannot answer. "
    'The operator must set one: `make chat ARGS="secret set model-key"`, or on a laptop OPENAI_API_KEY.'
)

log = logging.getLogger(__name__)


def trace_nothing() -> None:
    """Turn off the Agents SDK's trace exporter, which would build a client for traces that nobody reads.

    An agent that wants traces adds a processor of its own in agent/, which is imported later.
    """
    agents.set_trace_provider(DefaultTraceProvider())


REFUSALS_OF_KEYS = (400, 401, 403)  # 400: how a LiteLLM proxy without a database refuses a wrong key


class RenewedKey(httpx2.Auth):
    """HTTP authentication that reads a refused key again, and repeats the request once if the key has changed."""

    def __init__(self, key: Secret) -> None:
        self._key = key

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """httpx's hook."""
        key = await self._key.value()
        request.headers["authorization"] = f"Bearer {key}"
        answer = yield request
        if answer.status_code in REFUSALS_OF_KEYS and (newer := await self._newer_than(key)) is not None:
            request.headers["authorization"] = f"Bearer {newer}"
            yield request

    async def _newer_than(self, refused: str) -> str | None:
        try:
            return await self._key.newer_than(refused)
        except Exception as error:  # noqa: BLE001 - any error: the vendor's answer is more useful
            log.warning("secret_not_read_again", extra={"error_type": type(error).__qualname__})
            return None


async def without_vain_retries(response: httpx2.Response) -> None:
    """Keep the client library from repeating a request that would fail again: no credit, a file, a wrong model."""
    if response.status_code == httpx2.codes.TOO_MANY_REQUESTS or response.is_server_error:
        try:
            body = json.loads(await response.aread())
        except ValueError:
            return
        if classified(error_in(body), status=response.status_code).kind not in PASSING:
            response.headers["x-should-retry"] = "false"  # a vendor's header, which the library obeys


def openai_client(
    key: str,
    *,
    base_url: str | None = None,
    stall_s: float = STALL_S,
    renewal: RenewedKey | None = None,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> AsyncOpenAI:
    """The client library with our timeouts, for OpenAI or for a compatible API at `base_url`.

    `transport` sends the requests instead of a socket.
    """
    return Client(
        api_key=key,
        base_url=base_url,
        max_retries=RETRIES,
        timeout=httpx2.Timeout(stall_s, connect=CONNECT_S),
        http_client=_http(stall_s, auth=renewal, transport=transport),
    )


def _http(
    stall_s: float, *, auth: httpx2.Auth | None = None, transport: httpx2.AsyncBaseTransport | None = None
) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        verify=TRUSTED,
        timeout=httpx2.Timeout(stall_s, connect=CONNECT_S),
        limits=httpx2.Limits(keepalive_expiry=IDLE_S),
        follow_redirects=True,
        auth=auth,
        transport=transport,
        event_hooks={"response": [without_vain_retries]},
    )


def openai_run_config(
    key: str,
    *,
    base_url: str | None = None,
    api: ModelApi = "responses",
    stall_s: float = STALL_S,
    renewal: RenewedKey | None = None,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> RunConfig:
    """How to run agents with OpenAI's models, or with a compatible API at `base_url`. Nothing is traced."""
    return _run_by(openai_client(key, base_url=base_url, stall_s=stall_s, renewal=renewal, transport=transport), api)


def is_bedrock(base_url: str) -> bool:
    """Whether this is Amazon Bedrock's own address: only Amazon may receive requests signed with our credentials."""
    address = urlsplit(base_url)
    return address.scheme == "https" and BEDROCK.fullmatch(address.hostname or "") is not None


def bedrock_run_config(base_url: str, *, api: ModelApi = "responses", stall_s: float = STALL_S) -> RunConfig:
    """How to run agents with Amazon Bedrock, with the process's AWS credentials (on Lambda, the function's role).

    `base_url` contains the region: https://bedrock-mantle.eu-central-1.api.aws/openai/v1. Each request is signed.
    """
    host = urlsplit(base_url).hostname or ""
    region = match[1] if (match := BEDROCK.fullmatch(host)) else None  # otherwise AWS_REGION: a fake in tests
    client = Client(
        provider=bedrock(region=region, base_url=base_url, api_key=None),
        max_retries=RETRIES,
        timeout=httpx2.Timeout(stall_s, connect=CONNECT_S),
        http_client=_http(stall_s),
    )
    return _run_by(client, api)


def _run_by(client: AsyncOpenAI, api: ModelApi) -> RunConfig:
    """A run config with this client. Requests usage for Chat Completions, as the SDK does at OpenAI's address only."""
    return RunConfig(
        model_provider=OpenAIProvider(openai_client=client, use_responses=api == "responses"),
        model_settings=ModelSettings(include_usage=True) if api == "chat_completions" else None,
        tracing_disabled=True,
    )


def chosen_run_config(
    key: str | None, *, base_url: str | None, api: ModelApi, renewal: RenewedKey | None = None, demo: bool = True
) -> RunConfig:
    """The run config for the settings: with a key, with Bedrock (by role), or with the demo model if `demo` allows it.

    Raises UnavailableError if there is no key, and either the demo model is not allowed or `base_url` is not Amazon's,
    so that it must not receive requests signed with our credentials.
    """
    if key is not None:
        return openai_run_config(key, base_url=base_url, api=api, renewal=renewal)
    if base_url is not None and is_bedrock(base_url):
        return bedrock_run_config(base_url, api=api)
    if base_url is not None or not demo:
        raise UnavailableError(KEYLESS)
    return demo_run_config()


def capped(config: RunConfig, max_output_tokens: int) -> RunConfig:
    """The same config with a limit on each answer that overrides the agent's own; 0 keeps the agent's."""
    if not max_output_tokens:
        return config
    return replace(
        config, model_settings=replace(config.model_settings or ModelSettings(), max_tokens=max_output_tokens)
    )


def is_openai(base_url: str | None) -> bool:
    """Whether this is OpenAI's own address, including the regional ones."""
    if base_url is None:
        return True
    host = urlsplit(base_url).hostname or ""
    return host == "api.openai.com" or host.endswith(".api.openai.com")


def private(config: RunConfig) -> RunConfig:
    """The same config with `store: false`, which asks the vendor not to store answers.

    Answers that are not stored cannot be referred to: reasoning without its encrypted content is removed from later
    requests of the run, for which OpenAI would answer 404 ("Items are not persisted").
    """
    config.model_settings = replace(config.model_settings or ModelSettings(), store=False)
    config.call_model_input_filter = _without_lost_reasoning
    return config


def for_user(config: RunConfig, user: User) -> RunConfig:
    """The same config with a hash of the user as `safety_identifier`, if the config is private.

    It lets the vendor act against one user instead of the whole key. Our log lines have the same hash as `user`.
    """
    settings = config.model_settings
    if settings is None or settings.store is not False:
        return config
    extra = {**(settings.extra_args or {}), "safety_identifier": user.person}
    return replace(config, model_settings=replace(settings, extra_args=extra))


def _without_lost_reasoning(data: CallModelData[Any]) -> ModelInputData:
    kept = [item for item in data.model_data.input if not _is_lost(cast("dict[str, Any]", item))]
    return ModelInputData(input=kept, instructions=data.model_data.instructions)


def _is_lost(item: dict[str, Any]) -> bool:
    return item.get("type") == "reasoning" and not item.get("encrypted_content")


def demo_run_config() -> RunConfig:
    """How to run agents with the demo model."""
    from lambda_src.models.demo_model import DemoModel  # noqa: PLC0415 - loaded only when it is used

    return RunConfig(model=DemoModel(sleep=asyncio.sleep), tracing_disabled=True)
