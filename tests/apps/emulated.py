"""Client for a chat behind the emulated function URL. Knows only the HTTP API, nothing about the server."""

from dataclasses import dataclass, replace
from typing import Any

import httpx2

from lambda_src.dev.emulator import Emulator
from tests import content_markers
from tests.apps.chat import Answer, read_events

TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Client:
    """One user at the emulated function URL: `await client("threads.list")`."""

    emulator: Emulator
    user: str = "ann"
    path: str = "/chatkit"

    def as_(self, user: str) -> "Client":
        """Return a client for another user."""
        return replace(self, user=user)

    def at(self, assistant: str) -> "Client":
        """Return a client of another assistant for the same user."""
        return replace(self, path=f"/chatkit/{assistant}")

    async def __call__(self, operation: str, /, **params: Any) -> Answer:
        return await self.post(content_markers.request_body(operation, params))

    async def post(self, body: bytes) -> Answer:
        """Send a raw request."""
        headers = content_markers.HEADERS | {"authorization": f"Bearer {self.user}", "content-type": "application/json"}
        async with httpx2.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as http:
            url = self.emulator.url + self.path
            answer = await http.post(url, content=body, headers=headers, params=content_markers.QUERY)
        streamed = answer.headers.get("content-type", "").startswith("text/event-stream")
        events = read_events(answer.content) if streamed else []
        return Answer(answer.status_code, dict(answer.headers), answer.content, events)
