"""Requests in German: every refusal, error, notice and form is in the language of the request, and codes stay."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from agents import function_tool
from agents.exceptions import MaxTurnsExceeded
from agents.testing import ScriptedModel, assistant_message, function_call
from chatkit.types import ItemsListParams, ItemsListReq, ThreadListParams, ThreadsListReq

from lambda_src.chat.store_requests import StoreRequests
from lambda_src.dev.store_contract.samples import context_of, message_of, thread_of
from lambda_src.http.page import Page
from lambda_src.languages import SHIPPED, Languages
from lambda_src.store.memory.store import MemoryStore
from lambda_src.turns.closing import last_events
from tests.apps.chat import Answer, Chat, app_with, message, server_with
from tests.apps.full import FullApp, attached, full_app_on_moto, full_app_without_files
from tests.content_markers import request_body
from tests.quotas.test_quota_through_the_app import app_with_quotas
from tests.store.local import Local

GERMAN = "de-AT,de;q=0.9,en;q=0.5"


@pytest.fixture(scope="module")
def full_app() -> Iterator[FullApp]:
    with full_app_on_moto() as full_app:
        yield full_app


async def ask(chat: Chat, operation: str, /, *, language: str = GERMAN, **params: Any) -> Answer:
    """Send a ChatKit request of a browser that prefers `language`."""
    return await chat.post(request_body(operation, params), accept_language=language)


async def test_a_refused_message_names_the_quota_in_german() -> None:
    chat = app_with_quotas(messages_per_day=1).chat
    await ask(chat, "threads.create", input=message("hi"))
    refused = await ask(chat, "threads.create", input=message("again"))
    assert (refused.status, refused.json["error"]) == (429, "quota")
    assert refused.json["message"].startswith("Du hast die heutige Höchstzahl an Nachrichten erreicht. Sie wird in ")
    assert refused.json["message"].endswith(", um Mitternacht UTC.")
    english = await ask(chat, "threads.create", language="en-GB", input=message("again"))
    assert english.json["message"].startswith("You have reached today's limit of messages.")


async def test_a_refused_file_is_explained_in_german(full_app: FullApp) -> None:
    chat = full_app.chat()
    refused = await ask(chat, "attachments.create", name="a.exe", size=1, mime_type="application/x-msdownload")
    assert (refused.status, refused.json["error"]) == (422, "invalid_request")
    assert refused.json["message"].startswith("Dateien dieses Typs werden nicht angenommen.")
    large = await ask(chat, "attachments.create", name="a.pdf", size=20_000, mime_type="application/pdf")
    assert large.json["message"] == "Diese Datei ist zu groß: Erlaubt sind 2.000 Bytes."
    file = await attached(chat, full_app, b"no picture")
    wrong = await ask(chat, "threads.create", input=message("look", attachments=[file]))
    assert wrong.json["message"] == (
        "Die Datei 'a.png' entspricht nicht der angekündigten Größe oder dem Typ (image/png)."
    )


async def test_a_failed_model_is_explained_in_german() -> None:
    model = ScriptedModel([MaxTurnsExceeded("secret")])
    answer = await ask(full_app_without_files().chat(model=model), "threads.create", input=message("hi"))
    (error,) = answer.of("error")
    assert error["message"].startswith("Das brauchte mehr Schritte, als ich machen darf.")


async def test_without_a_token_the_refusal_is_in_german() -> None:
    refused = await ask(Chat(app_with(server_with(MemoryStore())), user=None), "threads.list")
    assert (refused.status, refused.json["error"]) == (401, "unauthorized")
    missing = await ask(Chat(app_with(server_with(MemoryStore()))), "threads.get_by_id", thread_id="thr_no")
    assert missing.json == {
        "error": "not_found",
        "message": "Diese Unterhaltung, diesen Eintrag oder diesen Anhang gibt es nicht.",
    }


@function_tool(needs_approval=True)
def send_letter(to: str) -> str:
    """Sends a letter."""
    return f"sent to {to}"


async def test_an_approval_form_is_in_german_and_its_answer_counts() -> None:
    call = function_call("send_letter", {"to": "Ann"}, call_id="c")
    model = ScriptedModel([[call], [assistant_message("Gesendet.")]])
    chat = full_app_without_files().chat(model=model, tools=[send_letter])
    asked = await ask(chat, "threads.create", input=message("write to Ann"))
    form = next(event["item"] for event in asked.of("thread.item.done") if event["item"]["type"] == "structured_input")
    (question,) = form["inputs"]
    assert question["question"] == '„Send letter“ erlauben?\nto: "Ann"'
    assert [option["value"] for option in question["options"]] == ["Genehmigen", "Ablehnen"]
    answers = {question["id"]: {"values": ["Genehmigen"], "skipped": False}}
    done = await ask(
        chat,
        "threads.add_structured_input",
        thread_id=form["thread_id"],
        item_id=form["id"],
        input={"status": "answered", "answers": answers},
        language="en",
    )
    assert "sent to Ann" in str(model.last_call)
    assert any("Gesendet." in json.dumps(event) for event in done.events)


@function_tool
def look_up(order: int) -> str:
    """Looks up an order."""
    return f"{order} is on its way"


async def test_the_details_of_tool_calls_are_labeled_in_german() -> None:
    model = ScriptedModel([[function_call("look_up", {"order": 17}, call_id="c")], [assistant_message("Unterwegs.")]])
    chat = full_app_without_files().chat(model=model, tools=[look_up], tool_activity="full")
    events = json.dumps((await ask(chat, "threads.create", input=message("Wo ist 17?"))).events)
    assert "Argumente\\n\\n" in events
    assert "Ergebnis\\n\\n" in events


def test_the_notices_of_an_interrupted_answer_are_in_german() -> None:
    german = Languages().get("de")
    (event,) = last_events("deadline", german, failed=False)
    assert json.loads(event.removeprefix(b"data: "))["title"] == "Abgebrochen"
    (event,) = last_events("failed", german, failed=True)
    assert json.loads(event.removeprefix(b"data: "))["message"].startswith("Die Antwort brach hier ab.")


@pytest.fixture
def page(tmp_path: Path) -> Page:
    """A page as it is built."""
    html = (Path(__file__).parents[2] / "web" / "src" / "index.html").read_text(encoding="utf-8")
    (tmp_path / "index.html").write_text(html, encoding="utf-8")
    return Page(config={"page": {"title": None}}, folder=tmp_path, languages=Languages(["en", "de"], (SHIPPED,)))


async def served_page(page: Page, path: str = "/", **headers: str) -> str:
    """The HTML that a browser gets."""
    answer = await Chat(app_with(server_with(MemoryStore()), page=page)).post(b"", path, "GET", **headers)
    assert "accept-language" in answer.headers["vary"]
    return answer.body.decode()


async def test_the_page_comes_in_the_language_of_the_browser(page: Page) -> None:
    html = await served_page(page, accept_language=GERMAN)
    assert '<html lang="de" dir="ltr">' in html
    assert "Wird geladen ..." in html
    config = json.loads(html.partition('id="page-config">')[2].partition("</script>")[0])
    assert (config["language"], config["texts"]["send"]) == ("de", "Senden")
    assert config["languages"] == {"en": "English", "de": "Deutsch"}
    english = await served_page(page, accept_language="ja,en;q=0.5")
    assert '<html lang="en" dir="ltr">' in english
    assert '"send":"Send"' in english


async def test_the_address_overrides_the_browsers_language(page: Page) -> None:
    german = page.languages.best("de", "en")
    served = page.html(german)
    assert served is not None
    assert b'<html lang="de" dir="ltr">' in served.body


async def test_the_texts_of_a_chosen_language_are_served_and_of_no_other(page: Page) -> None:
    chat = Chat(app_with(server_with(MemoryStore()), page=page))
    german = await chat.post(b"", "/languages/de", "GET")
    assert (german.json["direction"], german.json["texts"]["send"]) == ("ltr", "Senden")
    assert (await chat.post(b"", "/languages/ja", "GET")).status == 404
    assert (await chat.post(b"", "/languages/..%2fen", "GET")).status == 404


async def test_what_cannot_be_read_is_named_in_german() -> None:
    local = Local()
    store = local.store()
    german = replace(context_of("ada"), language=Languages(folders=(SHIPPED,)).get("de"))
    await store.save_thread(thread_of(), german)
    await store.add_thread_item("thr_1", message_of(), german)
    for partition, sort in local.engine.rows:
        local.engine.rows[partition, sort]["schema"] = {"N": "99"}
    requests = StoreRequests(store, store)
    items = await requests.answer(ItemsListReq(params=ItemsListParams(thread_id="thr_1")), german)
    threads = await requests.answer(ThreadsListReq(params=ThreadListParams()), german)
    assert items is not None
    assert threads is not None
    assert json.loads(items)["data"][0]["task"]["title"] == "Ein Eintrag dieses Chats kann nicht angezeigt werden."
    assert json.loads(threads)["data"][0]["title"] == "Ein Chat, dessen Titel nicht angezeigt werden kann"
