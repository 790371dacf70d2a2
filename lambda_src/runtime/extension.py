"""An internal extension, registered for one purpose: with one, Lambda sends SIGTERM before it ends the sandbox.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-shutdown. Best effort:
AWS promises neither the signal nor the time after it (some 150 ms were seen).
"""

import asyncio
import logging

from lambda_src.runtime.client import RuntimeClient
from lambda_src.runtime.errors import RuntimeFault

NAME = "chat-runtime"

logger = logging.getLogger(__name__)


async def register(client: RuntimeClient) -> "asyncio.Task[None] | None":
    """Register while the function loads, on a client of its own; the task then waits, for as long as the sandbox lives.

    None when the service refuses: the function runs without a warning of its end.
    """
    try:
        identifier = await client.register_extension(NAME)
    except (RuntimeFault, OSError, KeyError) as refusal:
        logger.warning("runtime.extension_refused", extra={"detail": str(refusal)})
        return None
    return asyncio.get_running_loop().create_task(_wait(client, identifier))


async def _wait(client: RuntimeClient, identifier: str) -> None:
    try:
        await client.extension_next(identifier)
    except OSError as end:
        logger.warning("runtime.extension_lost", extra={"detail": str(end)})
