"""Which model answers, and how patiently we wait for it. Knows no agent and no thread; loaded off the cold path."""

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
from lambda_src.setting_values import ModelApi

CONNECT_S = 5.0
STALL_S = 30.0  # of silence between two bytes of an answer: a model that thinks longer still sends events
RETRIES = 2  # only before the first byte: the client library never repeats an answer that has begun
BEDROCK = re.compile(r"bedrock-mantle\.([a-z0-9-]+)\.api\.aws")
TRUSTED = httpx2.create_ssl_context()  # one for all clients: to read the authorities takes 25 ms each time
IDLE_S = 120.0  # how long a connection is kept for the next turn; a handshake costs 50 ms and more
KEYLESS = (
    "No model's key is set yet, so nobody can answer. "
    'Whoever runs this must set one: `make chat ARGS="secret set model-key"`, on a laptop OPENAI_API_KEY.'
)

log = logging.getLogger(__name__)


def trace_nothing() -> None:
    """Let the Agents SDK have no exporter: it would build a client for a trace that nobody asked for.

    An agent that wants traces adds its own processor, in agent/; this comes before it.
    """
    agents.set_trace_provider(DefaultTraceProvider())


REFUSALS_OF_KEYS = (400, 401, 403)  # 400: a LiteLLM proxy without a database answers a wrong key so


class RenewedKey(httpx2.Auth):
    """Reads a refused key again, once, and repeats the request if the key has changed."""

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
        except Exception as error:  # noqa: BLE001 - whatever reading raises: the vendor's answer says more
            log.warning("secret_not_read_again", extra={"error_type": type(error).__qualname__})
            return None


async def without_vain_retries(response: httpx2.Response) -> None:
    """Tell the client library not to repeat a request whose refusal will not pass: no credit, a file, a wrong model."""
    if response.status_code == httpx2.codes.TOO_MANY_REQUESTS or response.is_server_error:
        try:
            body = json.loads(await response.aread())
        except ValueError:
            return
        if classified(error_in(body), status=response.status_code).kind not in PASSING:
            response.headers["x-should-retry"] = "false"  # a vendor's own word, which the library obeys


def openai_client(
    key: str,
    *,
    base_url: str | None = None,
    stall_s: float = STALL_S,
    renewal: RenewedKey | None = None,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> AsyncOpenAI:
    """The client library with our patience, for OpenAI or for whoever speaks its API at `base_url`.

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
    """Agents run by OpenAI's models, or by whoever speaks one of its two APIs at `base_url`. Nothing is traced."""
    return _run_by(openai_client(key, base_url=base_url, stall_s=stall_s, renewal=renewal, transport=transport), api)


def is_bedrock(base_url: str) -> bool:
    """Whether this is Amazon Bedrock's own address: none but Amazon may see what our credentials sign."""
    address = urlsplit(base_url)
    return address.scheme == "https" and BEDROCK.fullmatch(address.hostname or "") is not None


def bedrock_run_config(base_url: str, *, api: ModelApi = "responses", stall_s: float = STALL_S) -> RunConfig:
    """Agents run by Amazon Bedrock with the process's own AWS credentials: on Lambda the function's role, no key.

    The region stands in `base_url`: https://bedrock-mantle.eu-central-1.api.aws/openai/v1. Each request is signed.
    """
    host = urlsplit(base_url).hostname or ""
    region = match[1] if (match := BEDROCK.fullmatch(host)) else None  # else AWS_REGION: a test's fake
    client = Client(
        provider=bedrock(region=region, base_url=base_url, api_key=None),
        max_retries=RETRIES,
        timeout=httpx2.Timeout(stall_s, connect=CONNECT_S),
        http_client=_http(stall_s),
    )
    return _run_by(client, api)


def _run_by(client: AsyncOpenAI, api: ModelApi) -> RunConfig:
    """Runs by this client. Over Chat Completions it asks for usage, which the SDK does at OpenAI's own address only."""
    return RunConfig(
        model_provider=OpenAIProvider(openai_client=client, use_responses=api == "responses"),
        model_settings=ModelSettings(include_usage=True) if api == "chat_completions" else None,
        tracing_disabled=True,
    )


def chosen_run_config(
    key: str | None, *, base_url: str | None, api: ModelApi, renewal: RenewedKey | None = None, demo: bool = True
) -> RunConfig:
    """By what is configured: a key, Bedrock's address (by role), or nothing (the demo model).

    UnavailableError: there is no key yet, and the demo model may not answer (`demo`), or the address is somebody
    else's, who must not see what our credentials sign.
    """
    if key is not None:
        return openai_run_config(key, base_url=base_url, api=api, renewal=renewal)
    if base_url is not None and is_bedrock(base_url):
        return bedrock_run_config(base_url, api=api)
    if base_url is not None or not demo:
        raise UnavailableError(KEYLESS)
    return demo_run_config()


def capped(config: RunConfig, max_output_tokens: int) -> RunConfig:
    """The same, with answers of so many tokens at most, whatever agent/ says; 0 leaves it to agent/."""
    if max_output_tokens:
        config.model_settings = replace(config.model_settings or ModelSettings(), max_tokens=max_output_tokens)
    return config


def is_openai(base_url: str | None) -> bool:
    """Whether OpenAI itself answers, also from one of its regional addresses."""
    if base_url is None:
        return True
    host = urlsplit(base_url).hostname or ""
    return host == "api.openai.com" or host.endswith(".api.openai.com")


def private(config: RunConfig) -> RunConfig:
    """The same, with the vendor asked to keep no answer (`store: false`).

    What is not kept there cannot be referred to: reasoning that a vendor returned without its encrypted content is
    left out when a tool's output goes back, or OpenAI would answer 404 ("Items are not persisted").
    """
    config.model_settings = replace(config.model_settings or ModelSettings(), store=False)
    config.call_model_input_filter = _without_lost_reasoning
    return config


def for_user(config: RunConfig, user: User) -> RunConfig:
    """The same, with the hash that stands for the user (`safety_identifier`), if the config is private.

    The vendor can then act against one user instead of the key; the hash is the `user` of our log lines.
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
    """Agents run by the demo model, which says what it is."""
    from lambda_src.models.demo_model import DemoModel  # noqa: PLC0415 - loaded only when it is chosen

    return RunConfig(model=DemoModel(sleep=asyncio.sleep), tracing_disabled=True)
