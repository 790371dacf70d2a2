"""Which model answers, and how patiently we wait for it. Knows no agent and no thread; loaded off the cold path."""

import asyncio

import httpx2
from agents import OpenAIProvider, RunConfig
from openai import AsyncOpenAI

from lambda_src.settings import ModelApi

CONNECT_S = 5.0
STALL_S = 30.0  # of silence between two bytes of an answer: a model that thinks longer still sends events
RETRIES = 2  # only before the first byte: the client library never repeats an answer that has begun
IDLE_S = 120.0  # how long a connection is kept for the next turn; a handshake costs 50 ms and more


def openai_client(key: str, *, base_url: str | None = None, stall_s: float = STALL_S) -> AsyncOpenAI:
    """The client library with our patience, for OpenAI or for whoever speaks its API at `base_url`."""
    return AsyncOpenAI(
        api_key=key,
        base_url=base_url,
        max_retries=RETRIES,
        timeout=httpx2.Timeout(stall_s, connect=CONNECT_S),
        http_client=httpx2.AsyncClient(
            timeout=httpx2.Timeout(stall_s, connect=CONNECT_S),
            limits=httpx2.Limits(keepalive_expiry=IDLE_S),
            follow_redirects=True,
        ),
    )


def openai_run_config(
    key: str, *, base_url: str | None = None, api: ModelApi = "responses", stall_s: float = STALL_S
) -> RunConfig:
    """Agents run by OpenAI's models, or by whoever speaks one of its two APIs at `base_url`. Nothing is traced."""
    client = openai_client(key, base_url=base_url, stall_s=stall_s)
    return RunConfig(
        model_provider=OpenAIProvider(openai_client=client, use_responses=api == "responses"), tracing_disabled=True
    )


def demo_run_config() -> RunConfig:
    """Agents run by the demo model, which says what it is."""
    from lambda_src.demo_model import DemoModel  # noqa: PLC0415 - loaded only when it is chosen

    return RunConfig(model=DemoModel(sleep=asyncio.sleep), tracing_disabled=True)
