"""Quotas for paid requests that are not turns (dictation, synchronous actions): each counts as a message."""

import base64
from dataclasses import dataclass, field
from typing import Any

import pytest
from chatkit.types import AudioInput
from chatkit.widgets import WidgetRoot

from lambda_src.chat.registry import AssistantEndpoint
from lambda_src.context import User
from lambda_src.http.app import create_app
from lambda_src.models.transcription import Transcript, tokens_at_most
from lambda_src.quotas.turn_limits import RESERVED_TOKENS
from lambda_src.quotas.turn_quota import GUEST_PER_MINUTE, PAUSED, SWITCH_S, Quotas
from lambda_src.runs.widget_actions import ActionCall, Actions
from lambda_src.settings import MAX_BODY_BYTES
from lambda_src.store.counters import MemoryCounters
from lambda_src.store.memory.store import MemoryStore
from lambda_src.turns.lifecycle import Turns
from lambda_src.turns.persistence import AnswerStore
from lambda_src.turns.turn_task import TurnServices
from tests.apps.chat import Answer, Chat, known_by_name, message, served, server_with
from tests.quotas.engine import settings_with

SOUND = {"audio_base64": base64.b64encode(b"\x1a\x45\xdf\xa3").decode(), "mime_type": "audio/webm"}


async def guests_by_name(authorization: str | None) -> User:
    """Fake Authenticate: users whose names begin with guest are guests."""
    user = await known_by_name(authorization)
    return User(id=user.id, is_guest=user.id.startswith("guest"))


@dataclass
class PaidRequestsApp:
    """An app with dictation and a button; `done` records what was executed."""

    counters: MemoryCounters
    chat: Chat
    done: list[str] = field(default_factory=list)
    now_ns: int = 1_800_000_000 * 10**9

    async def dictate(self) -> Answer:
        return await self.chat("input.transcribe", **SOUND)

    async def press(self, thread_id: str) -> Answer:
        return await self.chat("threads.sync_custom_action", thread_id=thread_id, action={"type": "go"})

    async def thread(self) -> str:
        answer = await self.chat("threads.create", input=message("hi"))
        return str(answer.of("thread.created")[0]["thread"]["id"])


def app_with_limits(user: str = "ann", **limits: int) -> PaidRequestsApp:
    """Return an app with these limits."""
    store, counters, actions = MemoryStore(), MemoryCounters(), Actions()

    @actions.on("go")
    async def go(_: Any, call: ActionCall) -> WidgetRoot | None:
        app.done.append("pressed")
        return None

    async def transcribe(audio: AudioInput) -> Transcript:
        app.done.append("heard")
        return Transcript("hello")

    quotas = Quotas(store.ledger, counters, settings_with(**limits), clock=lambda: app.now_ns)
    turns = Turns(TurnServices(store.ledger, AnswerStore(store), quotas=quotas))
    server = server_with(store, transcribe=transcribe, actions=actions)
    fastapi_app = create_app(
        AssistantEndpoint(served(server, dictation=True), turns),
        authenticate=guests_by_name,
        sweeps=store,
        max_body_bytes=10_000,
    )
    app = PaidRequestsApp(counters, Chat(fastapi_app, user))
    return app


def is_refused(answer: Answer) -> bool:
    """Whether a quota refused the request with an error that ChatKit displays."""
    return (answer.status, answer.json["error"]) == (429, "quota") and int(answer.headers["retry-after"]) > 0


async def test_a_dictation_counts_as_a_message() -> None:
    app = app_with_limits(messages_per_day=2)
    assert [(await app.dictate()).status for _ in range(2)] == [200, 200]
    assert is_refused(await app.dictate())
    assert app.done == ["heard", "heard"]
    assert is_refused(await app.chat("threads.create", input=message("hi")))


async def test_a_synchronous_action_counts_as_a_message() -> None:
    app = app_with_limits(messages_per_day=2)
    thread_id = await app.thread()
    assert (await app.press(thread_id)).status == 200
    assert is_refused(await app.press(thread_id))
    assert app.done == ["pressed"]


async def test_the_kill_switch_stops_both() -> None:
    app = app_with_limits()
    thread_id = await app.thread()
    app.counters.off = ""
    app.now_ns += int(SWITCH_S * 10**9)
    for answer in (await app.dictate(), await app.press(thread_id)):
        assert is_refused(answer)
        assert answer.json["message"] == PAUSED
    assert app.done == []


async def test_guests_have_the_same_limit_per_minute_for_dictation_as_for_messages() -> None:
    app = app_with_limits("guest", guest_messages_per_day=20)
    answers = [await app.dictate() for _ in range(GUEST_PER_MINUTE + 1)]
    assert [answer.status for answer in answers] == [200] * GUEST_PER_MINUTE + [429]


async def test_a_dictation_spends_tokens_of_the_user_and_the_stage() -> None:
    most = tokens_at_most(SOUND["audio_base64"])
    of_user = app_with_limits(tokens_per_day=2 * most)
    assert [(await of_user.dictate()).status for _ in range(3)] == [200, 200, 429]
    of_stage = app_with_limits(stage_tokens_per_day=2 * most)
    assert [(await of_stage.dictate()).status for _ in range(3)] == [200, 200, 429]


def test_a_dictation_costs_the_tokens_of_its_length_at_the_lowest_bitrate() -> None:
    assert tokens_at_most("A" * MAX_BODY_BYTES) == pytest.approx(1_000 * 15, rel=0.01)  # seconds, tokens a second


async def test_neither_counts_as_a_running_turn() -> None:
    app = app_with_limits(running_turns=1)
    for _ in range(3):
        assert (await app.dictate()).status == 200
    assert (await app.chat("threads.create", input=message("hi"))).status == 200


async def test_a_request_refused_for_another_reason_costs_nothing() -> None:
    app = app_with_limits(messages_per_day=1, tokens_per_day=RESERVED_TOKENS)
    assert (await app.chat("input.transcribe", **{**SOUND, "mime_type": "video/mp4"})).status == 422
    assert (await app.press("thr_no")).status == 404
    assert (await app.dictate()).status == 200
