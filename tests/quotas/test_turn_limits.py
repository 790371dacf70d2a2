"""Turn limits: the maximum size of a message, a history and an answer, smaller for guests than for signed-in users."""

from collections.abc import Callable
from typing import Any

import pytest
from agents import ModelSettings
from agents.testing import ScriptedModel, assistant_message

from lambda_src.chat.registry import AssistantEndpoint
from lambda_src.context import User
from lambda_src.dev.store_contract.samples import context_of, item_of, thread_of
from lambda_src.http.app import create_app
from lambda_src.json_settings import GuestQuotaSettings, QuotaSettings
from lambda_src.quotas.turn_limits import TurnLimits, turn_limits
from lambda_src.settings import MESSAGE_CHARS, Settings
from lambda_src.store.memory.store import MemoryStore
from lambda_src.turns.lifecycle import Turns
from lambda_src.turns.persistence import AnswerStore
from lambda_src.turns.turn_task import TurnServices
from tests.apps.chat import Chat, known_by_name, message, served, server_with
from tests.quotas.engine import OF_GUESTS

ANN, GUEST = "ann", "guest-1"


async def guests_by_name(authorization: str | None) -> User:
    """Fake Authenticate: users whose names begin with guest are guests."""
    user = await known_by_name(authorization)
    return User(id=user.id, is_guest=user.id.startswith("guest"))


class RecordingModel(ScriptedModel):
    """A model that records the settings and the input of each call."""

    def __init__(self, answers: int = 1) -> None:
        super().__init__([[assistant_message("hello")]] * answers)
        self.settings: list[ModelSettings] = []
        self.inputs: list[Any] = []

    def stream_response(self, system_instructions: Any, input: Any, model_settings: Any, *args: Any, **kw: Any) -> Any:
        self.settings.append(model_settings)
        self.inputs.append(input)
        return super().stream_response(system_instructions, input, model_settings, *args, **kw)


def chat_of(store: MemoryStore, user: str, model: ScriptedModel | None = None) -> Chat:
    server = server_with(store, model=model)
    turns = Turns(TurnServices(store.ledger, AnswerStore(store)))
    return Chat(
        create_app(
            AssistantEndpoint(served(server), turns),
            authenticate=guests_by_name,
            sweeps=store,
            max_body_bytes=1_000_000,
        ),
        user,
    )


@pytest.mark.parametrize(("user", "limit"), [(ANN, MESSAGE_CHARS), (GUEST, OF_GUESTS.message_chars)])
async def test_a_message_over_the_limit_is_a_413_and_stores_nothing(user: str, limit: int) -> None:
    store = MemoryStore()
    chat = chat_of(store, user)
    refused = await chat("threads.create", input=message("ä" * (limit + 1)))
    assert (refused.status, refused.json["error"]) == (413, "too_large")
    assert f"{limit:,}" in refused.json["message"]
    assert (await chat("threads.list")).json["data"] == []
    assert (await chat("threads.create", input=message("ä" * limit))).status == 200


async def test_mentions_and_quotes_count_toward_the_message_size() -> None:
    chat = chat_of(MemoryStore(), GUEST)
    half = "x" * (OF_GUESTS.message_chars // 2)
    tag = {"type": "input_tag", "id": "t", "text": half, "data": {"more": half}}
    quoting = {**message(half), "quoted_text": half + "x"}
    mentioning = {**message(""), "content": [tag]}
    for sent in (quoting, mentioning):
        assert (await chat("threads.create", input=sent)).status == 413


async def open_questions(store: MemoryStore, user: str) -> None:
    """Store a thread with an open form and a client tool call that awaits its result."""
    context = context_of(user)
    await store.save_thread(thread_of("thr_1"), context)
    form = item_of("structured_input", "form", thread_id="thr_1", status="pending")
    call = item_of("client_tool_call", "call", thread_id="thr_1", status="pending", output=None)
    for item in (form, call):
        await store.add_thread_item("thr_1", item, context)


def answers_of(question: str, answer: str) -> dict[str, Any]:
    return {"status": "answered", "answers": {question: {"values": [answer]}}}


@pytest.mark.parametrize(("user", "limit"), [(ANN, MESSAGE_CHARS), (GUEST, OF_GUESTS.message_chars)])
@pytest.mark.parametrize(
    ("operation", "sent"),
    [
        ("threads.custom_action", lambda text: {"action": {"type": "go", "payload": [text]}}),
        ("threads.sync_custom_action", lambda text: {"action": {"type": "go", "payload": {"a": text}}}),
        ("threads.sync_custom_action", lambda text: {"action": {"type": text}}),
        ("threads.add_client_tool_output", lambda text: {"result": text}),
        ("threads.add_client_tool_output", lambda text: {"result": {"rows": [text]}}),
        ("threads.add_structured_input", lambda text: {"item_id": "form", "input": answers_of("a", text)}),
        ("threads.add_structured_input", lambda text: {"item_id": "form", "input": answers_of(text, "a")}),
    ],
)
async def test_actions_forms_and_tool_results_have_the_same_limit_as_messages(
    operation: str, sent: Callable[[str], dict[str, Any]], user: str, limit: int
) -> None:
    store = MemoryStore()
    await open_questions(store, user)
    chat = chat_of(store, user)
    before = (await chat("items.list", thread_id="thr_1")).body
    refused = await chat(operation, thread_id="thr_1", **sent("ä" * (limit + 1)))
    assert (refused.status, refused.json["error"]) == (413, "too_large")
    assert f"{limit:,}" in refused.json["message"]
    assert (await chat("items.list", thread_id="thr_1")).body == before
    assert (await chat(operation, thread_id="thr_1", **sent("ä" * (limit - 50)))).status != 413


@pytest.mark.parametrize(("user", "limit"), [(ANN, None), (GUEST, OF_GUESTS.output_tokens)])
async def test_a_guests_answers_are_limited(user: str, limit: int | None) -> None:
    model = RecordingModel()
    await chat_of(MemoryStore(), user, model)("threads.create", input=message("hi"))
    assert model.settings[0].max_tokens == limit


async def test_a_guests_history_is_limited() -> None:
    history_chars = {}
    for user in (ANN, GUEST):
        model = RecordingModel(5)
        chat = chat_of(MemoryStore(), user, model)
        created = await chat("threads.create", input=message("x" * 8_000))
        thread_id = created.of("thread.created")[0]["thread"]["id"]
        for number in range(4):
            text = str(number) + "x" * 7_999
            await chat("threads.add_user_message", thread_id=thread_id, input=message(text))
        history_chars[user] = sum(len(str(item)) for item in model.inputs[-1])
    assert history_chars[ANN] > 40_000
    assert history_chars[GUEST] < 25_000


def test_a_guests_limits_never_exceed_a_users() -> None:
    users: dict[str, Any] = {
        "message_chars": 100,
        "history_tokens": 200,
        "quotas": QuotaSettings(max_output_tokens=300),
    }
    small, large = GuestQuotaSettings(turn_tokens=80), GuestQuotaSettings(turn_tokens=8_000)
    guest = TurnLimits(message_chars=80, history_tokens=80, output_tokens=20)
    assert turn_limits(Settings(**users, guest_quotas=small), User("g", is_guest=True)) == guest
    user = TurnLimits(message_chars=100, history_tokens=200, output_tokens=300)
    assert turn_limits(Settings(**users, guest_quotas=large), User("g", is_guest=True)) == user
    assert turn_limits(Settings(**users, guest_quotas=small), User("u")) == user


def test_a_guests_answers_are_limited_even_if_a_users_are_not() -> None:
    settings = Settings(guest_quotas=GuestQuotaSettings(turn_tokens=8_000))
    assert turn_limits(settings, User("g", is_guest=True)).output_tokens == 2_000
    assert turn_limits(settings, User("u")).output_tokens == 0
