"""Thread titles: the first words at once, the model's suggestion during the answer; neither delays or fails it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from agents import Agent, RunConfig
from agents.testing import ScriptedModel, assistant_message
from chatkit.types import ThreadMetadata, ThreadStreamEvent

from lambda_src.composition.app import Parts, build_app
from lambda_src.context import RequestContext
from lambda_src.errors import UnavailableError
from lambda_src.models.demo_model import DemoModel
from lambda_src.runs import titles
from lambda_src.runs.dispatcher import AgentDispatcher
from lambda_src.runs.run import Runs
from lambda_src.runs.widget_actions import Actions
from lambda_src.settings import Settings
from lambda_src.store.memory.store import MemoryStore
from tests.apps.chat import Chat, known_by_name, message, no_pause
from tests.apps.full import ANN, FullApp, full_app_without_files, thread_of
from tests.runs.test_model_and_tool_choice import RecordingProvider


@pytest.fixture
def full_app() -> FullApp:
    return full_app_without_files()


async def test_a_suggested_title_arrives_during_the_answer_and_is_stored(full_app: FullApp) -> None:
    async def suggest(words: str, _: RequestContext) -> str:
        return f"About {words}"

    chat = full_app.chat(suggest_title=suggest)
    answer = await chat("threads.create", input=message("socks"))
    streamed = [event["thread"]["title"] for event in answer.of("thread.updated")]
    assert streamed == ["socks", "About socks"]
    assert (await chat("threads.get_by_id", thread_id=thread_of(answer))).json["title"] == "About socks"


async def test_only_the_first_message_gets_a_title(full_app: FullApp) -> None:
    suggested_for: list[str] = []

    async def suggest(words: str, _: RequestContext) -> str:
        suggested_for.append(words)
        return "Mine"

    chat = full_app.chat(suggest_title=suggest)
    thread_id = thread_of(await chat("threads.create", input=message("one")))
    await chat("threads.add_user_message", thread_id=thread_id, input=message("two"))
    assert suggested_for == ["one"]


async def test_a_slow_title_does_not_delay_the_answer_and_is_cancelled(
    full_app: FullApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = asyncio.Event()

    async def suggest(_: str, __: RequestContext) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    monkeypatch.setattr(titles, "WAIT_S", 0.01)
    answer = await full_app.chat(suggest_title=suggest)("threads.create", input=message("socks"))
    assert [event["thread"]["title"] for event in answer.of("thread.updated")] == ["socks"]
    assert ended.is_set()


async def test_a_thread_renamed_during_the_answer_keeps_its_name(full_app: FullApp) -> None:
    async def suggest(_: str, __: RequestContext) -> str:
        title = None
        while title != "socks":  # people rename what they see in the list
            await asyncio.sleep(0)
            [thread] = (await full_app.store.load_threads(1, None, "desc", ANN)).data
            title = thread.title
        thread.title = "By hand"
        await full_app.store.save_thread(thread, ANN)
        return "By machine"

    chat = full_app.chat(suggest_title=suggest)
    thread_id = thread_of(await chat("threads.create", input=message("socks")))
    assert (await chat("threads.get_by_id", thread_id=thread_id)).json["title"] == "By hand"


async def test_a_thread_renamed_before_the_answers_first_event_keeps_its_name(
    full_app: FullApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def suggest(_: str, __: RequestContext) -> str:
        return "By machine"

    async def late(*args: Any, **more: Any) -> AsyncIterator[ThreadStreamEvent]:
        [thread] = (await full_app.store.load_threads(1, None, "desc", ANN)).data
        thread.title = "By hand"
        await MemoryStore(beside=full_app.store).save_thread(thread, ANN)  # in another process
        async for event in events(*args, **more):
            yield event

    chat = full_app.chat(suggest_title=suggest)
    events = Runs.events
    monkeypatch.setattr(Runs, "events", late)
    answer = await chat("threads.create", input=message("socks"))
    assert {event["thread"]["title"] for event in answer.of("thread.updated")} == {"By hand"}
    assert (await chat("threads.get_by_id", thread_id=thread_of(answer))).json["title"] == "By hand"


@pytest.mark.parametrize("failures", [1, 2, 100], ids=["once", "twice", "always"])
async def test_a_title_that_cannot_be_saved_does_not_fail_the_answer(
    full_app: FullApp, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    async def suggest(words: str, _: RequestContext) -> str:
        return f"About {words}"

    left = failures

    async def save_thread(thread: ThreadMetadata, context: RequestContext) -> None:
        nonlocal left
        if thread.title is not None and left:
            left -= 1
            raise UnavailableError("throttled")
        await save(thread, context)

    save = full_app.store.save_thread
    monkeypatch.setattr(full_app.store, "save_thread", save_thread)
    chat = full_app.chat(suggest_title=suggest)
    answer = await chat("threads.create", input=message("socks"))
    assert answer.of("error") == []
    assert answer.events[-1]["type"] != "error"
    assert "assistant_message" in [event["item"]["type"] for event in answer.of("thread.item.done")]
    thread_id = thread_of(answer)
    stored = (await chat("threads.get_by_id", thread_id=thread_id)).json
    assert stored.get("title") == ("About socks" if failures == 1 else None)
    left = 0
    await chat("threads.add_user_message", thread_id=thread_id, input=message("shoes"))
    titled = (await chat("threads.get_by_id", thread_id=thread_id)).json["title"]
    assert titled == ("About socks" if failures == 1 else "About shoes")


async def test_a_thread_whose_run_fails_at_once_is_named_by_its_first_words(
    full_app: FullApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(*_: Any, **__: Any) -> AsyncIterator[ThreadStreamEvent]:
        raise ZeroDivisionError
        yield

    monkeypatch.setattr(Runs, "events", failing)
    chat = full_app.chat()
    answer = await chat("threads.create", input=message("socks"))
    assert [event["thread"]["title"] for event in answer.of("thread.updated")] == ["socks"]
    assert len(answer.of("error")) == 1
    assert (await chat("threads.get_by_id", thread_id=thread_of(answer))).json["title"] == "socks"


@pytest.mark.parametrize("renamed_at", ["first words", "suggestion"])
async def test_a_rename_while_a_title_is_being_saved_wins(
    full_app: FullApp, monkeypatch: pytest.MonkeyPatch, renamed_at: str
) -> None:
    async def suggest(words: str, _: RequestContext) -> str:
        return f"About {words}"

    async def save_thread(thread: ThreadMetadata, context: RequestContext) -> None:
        if thread.title is not None and thread.title.startswith("About") == (renamed_at == "suggestion"):
            other = MemoryStore(beside=full_app.store)  # in another process
            renamed = await other.load_thread(thread.id, ANN)
            renamed.title = "By hand"
            await other.save_thread(renamed, ANN)
        await save(thread, context)

    save = full_app.store.save_thread
    monkeypatch.setattr(full_app.store, "save_thread", save_thread)
    chat = full_app.chat(suggest_title=suggest)
    answer = await chat("threads.create", input=message("socks"))
    assert answer.of("thread.updated")[-1]["thread"]["title"] == "By hand"
    assert (await chat("threads.get_by_id", thread_id=thread_of(answer))).json["title"] == "By hand"


async def test_a_thread_deleted_before_the_answers_first_event_stays_deleted(
    full_app: FullApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def late(*args: Any, **more: Any) -> AsyncIterator[ThreadStreamEvent]:
        [thread] = (await full_app.store.load_threads(1, None, "desc", ANN)).data
        await MemoryStore(beside=full_app.store).delete_thread(thread.id, ANN)  # in another process
        async for event in events(*args, **more):
            yield event

    chat = full_app.chat()
    events = Runs.events
    monkeypatch.setattr(Runs, "events", late)
    thread_id = thread_of(await chat("threads.create", input=message("socks")))
    assert (await chat("threads.get_by_id", thread_id=thread_id)).status == 404
    assert (await chat("threads.list")).json["data"] == []
    assert [record async for record in full_app.store.export_user(ANN)] == []


@pytest.mark.parametrize(("bad", "words"), [("", "1 to 200"), ("  ", "1 to 200"), ("x" * 201, "1 to 200")])
async def test_an_invalid_name_is_refused(full_app: FullApp, bad: str, words: str) -> None:
    chat = full_app.chat()
    thread_id = thread_of(await chat("threads.create", input=message("socks")))
    answer = await chat("threads.update", thread_id=thread_id, title=bad)
    assert (answer.status, words in answer.json["message"]) == (422, True)
    assert (await chat("threads.get_by_id", thread_id=thread_id)).json["title"] == "socks"


async def title_by_model(
    model: ScriptedModel, provider: RecordingProvider | None = None, models: tuple[str, ...] = ()
) -> str | None:
    config = RunConfig(model_provider=provider or RecordingProvider(model), tracing_disabled=True)
    dispatcher = AgentDispatcher(lambda: Agent(name="Test"), build_run_config=lambda: config)
    await dispatcher.ensure_initialized()
    return await titles.by_model(dispatcher, models=models)("What about socks?", ANN)


async def test_a_models_title_is_one_short_line() -> None:
    assert await title_by_model(ScriptedModel([[assistant_message(' "Socks\nand more." ')]])) == "Socks and more"
    assert len(await title_by_model(ScriptedModel([[assistant_message("x" * 500)]])) or "") == titles.MAX_CHARS


async def test_a_model_that_fails_or_answers_nothing_suggests_no_title() -> None:
    assert await title_by_model(ScriptedModel([ZeroDivisionError("secret")])) is None
    assert await title_by_model(ScriptedModel([[assistant_message(" . ")]])) is None


async def test_the_default_model_suggests_the_title() -> None:
    model = ScriptedModel([[assistant_message("Socks")]])
    provider = RecordingProvider(model)
    assert await title_by_model(model, provider, ("small", "large")) == "Socks"
    assert provider.requested == ["small"]


async def test_the_demo_model_suggests_no_title() -> None:
    config = RunConfig(model=ScriptedModel([]), tracing_disabled=True)
    dispatcher = AgentDispatcher(lambda: Agent(name="Test"), build_run_config=lambda: config)
    await dispatcher.ensure_initialized()
    assert await titles.by_model(dispatcher)("What about socks?", ANN) is None


@pytest.mark.parametrize(("titles_on", "calls"), [(True, 2), (False, 1)])
async def test_no_model_call_is_made_if_titles_are_switched_off(titles_on: bool, calls: int) -> None:
    provider = RecordingProvider(DemoModel(sleep=no_pause))
    settings, store = Settings(store="memory", titles=titles_on), MemoryStore()
    app = build_app(
        settings,
        store,
        store.ledger,
        Parts(
            authenticate=known_by_name,
            build_agent=lambda: Agent(name="Test"),
            build_actions=Actions,
            build_run_config=lambda: RunConfig(model_provider=provider, tracing_disabled=True),
        ),
    )
    answer = await Chat(app)("threads.create", input=message("socks"))
    assert len(provider.requested) == calls
    assert answer.of("thread.updated")[0]["thread"]["title"] == "socks"
