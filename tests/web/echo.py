"""The chat for browser tests that `make dev` cannot cover: signed-in users, quotas, and answers with any text.

The model echoes the user's message word by word. "slowly ..." leaves time to stop, leave or reload during the answer.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import jwt
from agents import Agent, RunConfig, TResponseInputItem, function_tool
from agents.items import TResponseStreamEvent
from chatkit.types import AudioInput
from openai.types import responses as r

from lambda_src.auth import FirstOf, GuestTokens
from lambda_src.auth.operators import OperatorRoles
from lambda_src.composition.app import Parts
from lambda_src.context import User
from lambda_src.errors import AuthError
from lambda_src.json_settings import OperatorSettings
from lambda_src.models.demo_model import DemoModel, Output, events_of, message_of, tool_call_of
from lambda_src.models.transcription import Transcript
from lambda_src.rotating_secret import Secret
from lambda_src.runs.assistants import Assistant
from lambda_src.runs.widget_actions import Actions
from lambda_src.settings import Settings

PAUSE_S = 0.004
SLOW_S = 0.06
LONG = "a long answer"
LONG_CHARS, LONG_DELTAS = 100_000, 2_000
PARAGRAPHS = """## A part

Some **bold** words, a [link](https://example.com/), and `code` in a paragraph that fills more than one line here.

- one thing
- another, with *stress*
- a third

```python
def answer(question: str) -> int:
    return len(question)
```

| name | figure |
|---|---|
| first | 1 |
| second | 2 |

"""
CLIENT = "page"  # the client ID in the tokens of the fake issuer


class Echo(DemoModel):
    """A model that echoes the user's last message. "pay {...}" calls the tool `pay`, "fail ..." ends in an error."""

    async def stream_response(
        self, system_instructions: str | None, input: str | list[TResponseInputItem], *_: Any, **__: Any
    ) -> AsyncIterator[TResponseStreamEvent]:
        text = last_user_message(input)
        if text.startswith("fail "):
            raise RuntimeError("The model failed.")
        output: Output = message_of(text)
        if text.startswith("pay ") and isinstance(input, list) and input[-1].get("type") != "function_call_output":
            output = tool_call_of("pay").model_copy(update={"arguments": text.removeprefix("pay ")})
        for number, event in enumerate(long_answer() if text == LONG else events_of(output)):
            if isinstance(event, r.ResponseTextDeltaEvent):
                await asyncio.sleep(SLOW_S if text.startswith("slowly") else PAUSE_S)
            event.sequence_number = number
            yield event


@function_tool(needs_approval=True)
def pay(memo: str, payee: str) -> str:
    """Pays somebody."""
    return f"paid to {payee}"


def long_answer() -> list[TResponseStreamEvent]:
    """100,000 characters of markdown in 2,000 deltas."""
    text = (PARAGRAPHS * (LONG_CHARS // len(PARAGRAPHS) + 1))[:LONG_CHARS]
    events = events_of(message_of(text))
    [first, *_] = [event for event in events if isinstance(event, r.ResponseTextDeltaEvent)]
    size = LONG_CHARS // LONG_DELTAS
    deltas = [first.model_copy(update={"delta": text[at : at + size]}) for at in range(0, LONG_CHARS, size)]
    place = events.index(first)
    return [
        *events[:place],
        *deltas,
        *(event for event in events[place:] if not isinstance(event, r.ResponseTextDeltaEvent)),
    ]


def last_user_message(model_input: str | list[TResponseInputItem]) -> str:
    """The text of the user's last message."""
    items: list[Any] = [{"role": "user", "content": model_input}] if isinstance(model_input, str) else list(model_input)
    content = next(item["content"] for item in reversed(items) if item.get("role") == "user")
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


async def person(authorization: str | None) -> User:
    """The user named in the token of the fake issuer. The signature is not verified, because it is not tested here."""
    try:
        claims = jwt.decode((authorization or "").removeprefix("Bearer "), options={"verify_signature": False})
    except jwt.InvalidTokenError:
        raise AuthError("Sign in first.") from None
    if claims.get("client_id") != CLIENT:
        raise AuthError("Sign in first.")
    return User(id=str(claims["sub"]), operates=OperatorRoles(OperatorSettings()).of_backend(claims))


async def transcribe(_: AudioInput) -> Transcript:
    """The same words for every recording."""
    return Transcript("answer my question.\n")


def build_agent() -> Agent[Any]:
    """The agent of both assistants."""
    return Agent(name="Echo", tools=[pay])


def parts(settings: Settings) -> Parts:
    """The parts of this chat. Guests are admitted if the settings name their secret, and dictation is offered if they
    name its model.
    """
    guest_tokens = GuestTokens(Secret(lambda: "browser-tests-" * 4)) if settings.guest_secret else None
    return Parts(
        authenticate=person if guest_tokens is None else FirstOf(guest_tokens, person),
        build_agent=build_agent,
        build_actions=Actions,
        load_assistants=lambda: {"": Assistant(build_agent), "sales": Assistant(build_agent)},
        build_run_config=lambda: RunConfig(model=Echo(), tracing_disabled=True),
        guest_tokens=guest_tokens,
        transcribe=transcribe if settings.dictation_model else None,
    )
