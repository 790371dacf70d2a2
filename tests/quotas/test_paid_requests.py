"""What costs without being a turn, dictation and sync actions: counted as a message, and stopped by the switch."""

import base64
from dataclasses import dataclass, field
from typing import Any

import pytest
from chatkit.types import AudioInput
from chatkit.widgets import WidgetRoot

from lambda_src.chat.registry import AssistantEndpoint
from lambda_src.context import User
from lambda_src.http.app import create_app
from lambda_src.models.transcription import tokens_at_most
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


async def guests_are_called_so(authorization: str | None) -> User:
    """Authenticate: who calls himself guest is one."""
    user = await known_by_name(authorization)
    return User(id=user.id, is_guest=user.id.startswith("guest"))


@dataclass
class Booth:
    """An app that hears and has a button, and notes what it was made to do."""

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


def booth(user: str = "ann", **limits: int) -> Booth:
    """One whose users may spend that much."""
    store, counters, actions = MemoryStore(), MemoryCounters(), Actions()

    @actions.on("go")
    async def go(_: Any, call: ActionCall) -> WidgetRoot | None:
        here.done.append("pressed")
        return None

    async def heard(audio: AudioInput) -> str:
        here.done.append("heard")
        return "hello"

    quotas = Quotas(store.ledger, counters, settings_with(**limits), clock=lambda: here.now_ns)
    turns = Turns(TurnServices(store.ledger, AnswerStore(store), quotas=quotas))
    server = server_with(store, transcribe=heard, actions=actions)
    app = create_app(
        AssistantEndpoint(served(server, dictation=True), turns),
        authenticate=guests_are_called_so,
        sweeps=store,
        max_body_bytes=10_000,
    )
    here = Booth(counters, Chat(app, user))
    return here


def refused(answer: Answer) -> bool:
    """Whether a quota said no, in words that ChatKit shows."""
    return (answer.status, answer.json["error"]) == (429, "quota") and int(answer.headers["retry-after"]) > 0


async def test_a_dictation_is_a_message() -> None:
    here = booth(messages_per_day=2)
    assert [(await here.dictate()).status for _ in range(2)] == [200, 200]
    assert refused(await here.dictate())
    assert here.done == ["heard", "heard"]
    assert refused(await here.chat("threads.create", input=message("hi")))


async def test_an_action_without_a_stream_is_a_message() -> None:
    here = booth(messages_per_day=2)
    thread_id = await here.thread()
    assert (await here.press(thread_id)).status == 200
    assert refused(await here.press(thread_id))
    assert here.done == ["pressed"]


async def test_the_switch_stops_both() -> None:
    here = booth()
    thread_id = await here.thread()
    here.counters.off = ""
    here.now_ns += int(SWITCH_S * 10**9)
    for answer in (await here.dictate(), await here.press(thread_id)):
        assert refused(answer)
        assert answer.json["message"] == PAUSED
    assert here.done == []


async def test_a_guest_dictates_as_often_as_a_guest_may_write() -> None:
    here = booth("guest", guest_messages_per_day=20)
    answers = [await here.dictate() for _ in range(GUEST_PER_MINUTE + 1)]
    assert [answer.status for answer in answers] == [200] * GUEST_PER_MINUTE + [429]


async def test_a_dictation_spends_tokens_of_the_user_and_of_the_stage() -> None:
    most = tokens_at_most(SOUND["audio_base64"])
    of_user = booth(tokens_per_day=2 * most)
    assert [(await of_user.dictate()).status for _ in range(3)] == [200, 200, 429]
    of_stage = booth(stage_tokens_per_day=2 * most)
    assert [(await of_stage.dictate()).status for _ in range(3)] == [200, 200, 429]


def test_a_dictation_costs_what_its_bytes_hold_at_the_lowest_bitrate() -> None:
    assert tokens_at_most("A" * MAX_BODY_BYTES) == pytest.approx(1_000 * 15, rel=0.01)  # seconds, tokens a second


async def test_neither_takes_the_place_of_an_answer() -> None:
    here = booth(running_turns=1)
    for _ in range(3):
        assert (await here.dictate()).status == 200
    assert (await here.chat("threads.create", input=message("hi"))).status == 200


async def test_what_is_refused_for_another_reason_costs_nothing() -> None:
    here = booth(messages_per_day=1, tokens_per_day=RESERVED_TOKENS)
    assert (await here.chat("input.transcribe", **{**SOUND, "mime_type": "video/mp4"})).status == 422
    assert (await here.press("thr_no")).status == 404
    assert (await here.dictate()).status == 200
