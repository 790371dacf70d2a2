"""Settings of `make dev`: no sign-in, and the model may run on this machine. Never in the zip."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lambda_src.settings import Settings

if TYPE_CHECKING:
    from agents import RunConfig

NO_ISSUER = {"CHAT_AUTH_ISSUER": "https://nobody.invalid/", "CHAT_AUTH_AUDIENCE": "nobody"}  # required, but unused
BASE_URL = "CHAT_MODEL_BASE_URL"
ANY_KEY = "none"  # Ollama and others need no key, but the client library must send one


def local_settings(env: Mapping[str, str]) -> Settings:
    """Settings from `env`, where CHAT_MODEL_BASE_URL may be http:// on this machine. SettingsError: see Settings."""
    url = env.get(BASE_URL, "")
    if not _on_this_machine(url):
        return Settings.from_env({**env, **NO_ISSUER})
    others = {name: value for name, value in env.items() if name != BASE_URL}
    return replace(Settings.from_env({**others, **NO_ISSUER}), model_base_url=url)


def local_key(settings: Settings, env: Mapping[str, str]) -> str | None:
    """The model's key: OPENAI_API_KEY; a model on this machine may do without. None: the demo model answers."""
    if key := env.get("OPENAI_API_KEY"):
        return key
    return ANY_KEY if _on_this_machine(settings.model_base_url or "") else None


def local_run_config(settings: Settings, env: Mapping[str, str]) -> "RunConfig | None":
    """The configuration that runs agents with the real model; None if there is none."""
    from lambda_src.composition import app  # noqa: PLC0415 - callers that only read settings need not load it

    key = local_key(settings, env)
    return None if key is None else app.run_config(key, settings)


def _on_this_machine(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
