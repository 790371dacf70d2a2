"""The handler of `make dev`: the deployed one, but everybody is one local user. In no zip, so no stage can be open."""

import os

from lambda_src.composition import build_handler, dictation, run_config
from lambda_src.context import User
from lambda_src.settings import Settings

NO_ISSUER = {"CHAT_AUTH_ISSUER": "https://nobody.invalid/", "CHAT_AUTH_AUDIENCE": "nobody"}  # required, never asked


async def local_user(authorization: str | None) -> User:
    """Authenticate: everybody who reaches loopback is the same person."""
    return User(id="local")


settings = Settings.from_env({**os.environ, **NO_ISSUER})
key = os.environ.get("OPENAI_API_KEY", "")
handler = build_handler(
    settings,
    authenticate=local_user,
    build_run_config=lambda: run_config(key or None, settings),
    transcribe=dictation(lambda: key, settings) if key else None,
)
