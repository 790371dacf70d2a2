"""Takeover through the front: users ask for a person, operators take, answer, return and close threads."""

import asyncio
import json
from typing import Any

import pytest
from agents import Model
from agents.testing import ScriptedModel

from lambda_src.dev.store_contract.samples import context_of
from lambda_src.dev.testing import calls, says
from lambda_src.json_settings import QuotaSettings
from lambda_src.models.demo_model import DemoModel
from lambda_src.sdk import ask_a_human
from lambda_src.settings import Settings
from lambda_src.store.memory.store import MemoryStore
from lambda_src.support.desk import LEFT, OPEN_GUESTS, PER_DAY, WITHDRAWALS
from tests.apps.chat import message
from tests.apps.support import OPERATORS, CountingModel, SupportApp
from tests.store.local import Local

NAME = "turn-of-the-operator-1"


@pytest.fixture
def support() -> SupportApp:
    return SupportApp()


def inputs_of(support: SupportApp) -> list[Any]:
    """What the model was sent."""
    assert isinstance(support.model, CountingModel)
    return support.model.inputs


async def test_a_message_in_a_waiting_thread_is_stored_and_no_model_is_called(support: SupportApp) -> None:
    thread_id = await support.waiting()
    before = len(inputs_of(support))
    answer = await support.say("ann", thread_id, "are you there?")
    assert [event["type"] for event in answer.events] == ["thread.item.done", "stream_options"]
    assert (await support.texts("ann", thread_id))[-1] == "are you there?"
    assert len(inputs_of(support)) == before


async def test_a_message_to_a_person_costs_no_tokens() -> None:
    settings = Settings(store="memory", operators=OPERATORS, quotas=QuotaSettings(tokens_per_day=30_000))
    support = SupportApp(settings=settings)
    thread_id = await support.waiting()
    for number in range(12):  # each would reserve thousands of tokens
        assert (await support.say("ann", thread_id, f"{number} " + "word " * 400)).status == 200


async def test_a_user_can_write_to_a_person_while_new_answers_are_stopped() -> None:
    local = Local()
    settings = Settings(table="t", operators=OPERATORS)
    support = SupportApp(store=local.store(), settings=settings, clock=lambda: local.now)
    thread_id = await support.waiting()
    switch = {"pk": {"S": "STAGE#switch"}, "sk": {"S": "SWITCH"}, "text": {"S": "Back at nine."}}
    local.engine.put_item(TableName="table", Item=switch)
    local.later(60)
    assert (await support.say("ann", thread_id, "are you there?")).status == 200
    refused = await support.chat("ann")("threads.create", input=message("hello"))
    assert (refused.status, refused.json["message"]) == (429, "Back at nine.")


async def test_operator_and_user_read_each_other(support: SupportApp) -> None:
    thread_id = await support.waiting()
    olga = support.operator("olga")
    assert (await olga.post("ann", thread_id, "take")).json["held"]["state"] == "person"
    written = await olga.write("ann", thread_id, "I am here.")
    assert written.json["type"] == "assistant_message"
    await support.say("ann", thread_id, "Great.")
    assert (await support.texts("ann", thread_id))[-2:] == ["**Olga:** I am here.", "Great."]
    read = (await olga.get(f"threads/ann/{thread_id}?limit=100")).json
    assert [item["content"][0]["text"] for item in read["items"]["data"]][-2:] == ["**Olga:** I am here.", "Great."]
    assert (read["thread"]["id"], read["held"]["operator"]) == (thread_id, "olga")


async def test_one_of_two_operators_wins(support: SupportApp) -> None:
    thread_id = await support.waiting()
    answers = await asyncio.gather(
        *(support.operator(name).post("ann", thread_id, "take") for name in ("olga", "otto", "olga", "otto"))
    )
    assert sorted(answer.status for answer in answers) == [200, 200, 409, 409]
    statuses = {name: answer.status for name, answer in zip(("olga", "otto"), answers[:2], strict=True)}
    loser = next(name for name, status in statuses.items() if status == 409)
    for change in ("messages", "return", "close"):
        body = {"text": "hi"} if change == "messages" else None
        assert (await support.operator(loser).post("ann", thread_id, change, body)).status == 409


async def test_the_assistant_answers_after_a_return_and_knows_who_spoke(support: SupportApp) -> None:
    thread_id = await support.waiting()
    olga = support.operator("olga")
    await olga.post("ann", thread_id, "take")
    await olga.write("ann", thread_id, "You get a refund.")
    assert (await olga.post("ann", thread_id, "return")).status == 200
    assert (await olga.post("ann", thread_id, "return")).status == 200, "repeating it changes nothing"
    await support.say("ann", thread_id, "thanks")
    sent = json.dumps(inputs_of(support)[-1])
    assert "**Olga:** You get a refund." in sent
    assert json.dumps(LEFT)[1:-1] in sent
    assert LEFT not in (await support.texts("ann", thread_id))
    assert [matter["state"] for matter in await olga.matters()] == ["closed"]


async def test_a_closed_thread_takes_no_messages(support: SupportApp) -> None:
    thread_id = await support.waiting()
    olga = support.operator("olga")
    await olga.post("ann", thread_id, "take")
    assert (await olga.post("ann", thread_id, "close")).status == 200
    assert (await olga.post("ann", thread_id, "close")).status == 200
    refused = await support.say("ann", thread_id, "one more thing")
    assert (refused.status, refused.json["message"]) == (409, "This conversation is closed.")
    assert (await olga.post("ann", thread_id, "take")).status == 409
    assert (await support.ask("ann", thread_id)).status == 409


async def test_closing_a_request_that_nobody_took_gives_the_thread_back(support: SupportApp) -> None:
    thread_id = await support.waiting()
    olga = support.operator("olga")
    assert (await olga.post("ann", thread_id, "close")).status == 200
    before = len(inputs_of(support))
    assert (await support.say("ann", thread_id, "hello?")).status == 200
    assert len(inputs_of(support)) > before


async def test_the_assistant_knows_who_spoke_after_a_request_is_closed_that_went_back_to_the_inbox(
    support: SupportApp,
) -> None:
    thread_id = await support.waiting()
    olga = support.operator("olga")
    await olga.post("ann", thread_id, "take")
    await olga.write("ann", thread_id, "You get a refund.")
    del support.operates["olga"]
    assert (await olga.get("inbox")).status == 404, "the thread is back in the inbox"
    assert (await support.operator("otto").post("ann", thread_id, "close")).status == 200
    await support.say("ann", thread_id, "thanks")
    assert json.dumps(LEFT)[1:-1] in json.dumps(inputs_of(support)[-1])


async def test_a_message_with_the_same_turn_id_is_written_once(support: SupportApp) -> None:
    thread_id = await support.waiting()
    olga = support.operator("olga")
    await olga.post("ann", thread_id, "take")
    first, second = await asyncio.gather(*(olga.write("ann", thread_id, "once", x_chat_turn=NAME) for _ in range(2)))
    assert first.json == second.json
    assert (await support.texts("ann", thread_id)).count("**Olga:** once") == 1
    assert (await olga.write("ann", thread_id, "other", x_chat_turn=NAME)).status == 409
    await olga.post("ann", thread_id, "return")
    assert (await olga.write("ann", thread_id, "once", x_chat_turn=NAME)).json == first.json
    assert (await olga.write("ann", thread_id, "once more")).status == 409


async def test_a_users_message_with_the_same_turn_id_is_stored_once(support: SupportApp) -> None:
    thread_id = await support.waiting()
    name = "turn-of-the-user-0001"
    answers = await asyncio.gather(*(support.say("ann", thread_id, "hello", x_chat_turn=name) for _ in range(3)))
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert len({answer.body for answer in answers}) == 1
    assert (await support.texts("ann", thread_id)).count("hello") == 2, "the first message of the thread, and this"


async def test_the_same_bytes_in_a_row_are_one_message(support: SupportApp) -> None:
    thread_id = await support.waiting()
    first, second = await asyncio.gather(*(support.say("ann", thread_id, "twice") for _ in range(2)))
    assert (first.status, first.body) == (second.status, second.body)
    assert (await support.texts("ann", thread_id)).count("twice") == 1


async def test_only_messages_are_taken_while_a_person_has_the_thread(support: SupportApp) -> None:
    thread_id = await support.waiting()
    page = (await support.chat("ann")("items.list", thread_id=thread_id, order="asc")).json
    message_id = page["data"][0]["id"]
    refused = await support.chat("ann")("threads.retry_after_item", thread_id=thread_id, item_id=message_id)
    assert (refused.status, refused.json["error"]) == (409, "conflict")


async def test_taking_a_thread_ends_the_running_answer_first() -> None:
    support = SupportApp(model=Endless())
    chat = support.chat("ann")
    running = asyncio.create_task(chat("threads.create", input=message("tell me everything")))
    assert isinstance(support.model, Endless)
    await support.model.began.wait()
    [thread] = (await chat("threads.list")).json["data"]
    taken = await support.operator("olga").post("ann", thread["id"], "take")
    assert taken.status == 200
    answer = await running
    assert answer.status == 200
    assert not support.model.is_running
    texts = await support.texts("ann", thread["id"])
    await support.operator("olga").write("ann", thread["id"], "My turn.")
    assert await support.texts("ann", thread["id"]) == [*texts, "**Olga:** My turn."]


async def test_a_thread_can_be_taken_without_a_request(support: SupportApp) -> None:
    thread_id = await support.thread()
    olga = support.operator("olga")
    assert (await olga.post("ann", thread_id, "take")).status == 200
    [matter] = await olga.matters("?kind=handoff&state=taken")
    assert (matter["thread"], matter["operator"]) == (thread_id, "olga")


async def test_an_operator_can_be_the_user(support: SupportApp) -> None:
    thread_id = await support.waiting("olga")
    olga = support.operator("olga")
    assert (await olga.post("olga", thread_id, "take")).status == 200
    assert (await olga.write("olga", thread_id, "note to self")).status == 200
    assert (await support.say("olga", thread_id, "indeed")).status == 200


async def test_a_matter_that_is_closed_cannot_be_taken(support: SupportApp) -> None:
    thread_id = await support.waiting()
    [matter] = await support.operator("olga").matters()
    await support.operator("olga").post("ann", thread_id, "close")
    late = await support.operator("otto").post("ann", thread_id, "take", {"matter": matter["id"]})
    assert (late.status, late.json["message"]) == (409, "This is closed already.")
    unknown = await support.operator("otto").post("ann", thread_id, "take", {"matter": "handoff#1#thr_1"})
    assert unknown.status == 404


async def test_who_loses_the_role_loses_the_threads(support: SupportApp) -> None:
    thread_id = await support.waiting()
    await support.operator("olga").post("ann", thread_id, "take")
    del support.operates["olga"]
    assert (await support.operator("olga").get("inbox")).status == 404
    [matter] = await support.operator("otto").matters("?state=open")
    assert matter["operator"] is None
    assert (await support.operator("otto").post("ann", thread_id, "take")).status == 200


async def test_a_stranger_costs_few_looks_at_the_inbox_a_day() -> None:
    local = Local()
    store = local.store()
    settings = Settings(table="t", operators=OPERATORS)
    support = SupportApp(store=store, settings=settings, clock=lambda: local.now)
    for _ in range(WITHDRAWALS + 5):
        assert (await support.operator("bob").get("inbox")).status == 404
    assert local.engine.requests.count("Query") == WITHDRAWALS * len(OPERATORS.assistants)


async def test_a_user_asks_three_times_a_day_at_most(support: SupportApp) -> None:
    thread_id = await support.thread()
    olga = support.operator("olga")
    for _ in range(PER_DAY):
        assert (await support.ask("ann", thread_id)).status == 200
        assert (await support.ask("ann", thread_id)).status == 200, "asking again changes nothing"
        await olga.post("ann", thread_id, "close")
    refused = await support.ask("ann", thread_id)
    assert (refused.status, refused.json["error"]) == (429, "quota")
    assert int(refused.headers["retry-after"]) > 0


async def test_guests_have_few_open_requests_together(support: SupportApp) -> None:
    for number in range(OPEN_GUESTS):
        await support.waiting(f"guest{number}")
    thread_id = await support.thread("guest-last")
    assert (await support.ask("guest-last", thread_id)).status == 429
    assert (await support.ask("ann", await support.thread())).status == 200
    [first, *_] = await support.operator("olga").matters("?kind=handoff")
    await support.operator("olga").post(first["user"], first["thread"], "close")
    assert (await support.ask("guest-last", thread_id)).status == 200


async def test_only_ones_own_thread_can_wait(support: SupportApp) -> None:
    thread_id = await support.thread("ann")
    foreign, unknown = await support.ask("bob", thread_id), await support.ask("bob", "thr_unknown")
    assert (foreign.status, foreign.body) == (unknown.status, unknown.body) == (404, foreign.body)
    assert await support.operator("olga").matters() == []


async def test_the_page_learns_who_has_the_thread(support: SupportApp) -> None:
    thread_id = await support.thread()

    async def held() -> Any:
        answer = await support.chat("ann").post(b"", f"/chatkit/threads/{thread_id}/turn", "GET")
        return answer.json["held"]

    assert await held() is None
    await support.ask("ann", thread_id)
    assert await held() == "waiting"
    await support.operator("olga").post("ann", thread_id, "take")
    assert await held() == "person"
    await support.operator("olga").post("ann", thread_id, "return")
    assert await held() is None


async def test_a_deleted_thread_leaves_the_inbox(support: SupportApp) -> None:
    thread_id = await support.waiting()
    await support.operator("olga").post("ann", thread_id, "take")
    await support.chat("ann")("threads.delete", thread_id=thread_id)
    assert await support.operator("olga").matters() == []
    for change in ("take", "return", "close"):
        assert (await support.operator("olga").post("ann", thread_id, change)).status == 404


async def test_what_retention_has_removed_leaves_the_open_matters() -> None:
    now_s = 1_800_000_000
    store = MemoryStore(retention_s=3600, clock=lambda: now_s * 10**9)
    support = SupportApp(store=store, clock=lambda: now_s * 10**9)
    thread_id = await support.waiting()
    now_s += 3 * 86_400
    assert (await support.operator("olga").get(f"threads/ann/{thread_id}")).status == 404
    assert [matter["state"] for matter in await support.operator("olga").matters()] == ["closed"]
    row = await store.ledger.load_turn(thread_id, context=context_of("ann"))
    assert row is None or row.hold is None


async def test_nothing_is_written_from_another_tab_of_the_operator_after_the_return(support: SupportApp) -> None:
    olga = support.operator("olga")
    for user in ("ann", "bob", "cleo"):
        thread_id = await support.waiting(user)
        await olga.post(user, thread_id, "take")
        returned, written = await asyncio.gather(
            olga.post(user, thread_id, "return"), olga.write(user, thread_id, "from the other tab")
        )
        assert (returned.status, written.status) in ((200, 200), (200, 409))
        items = (await support.store.load_thread_items(thread_id, None, 100, "asc", context_of(user))).data
        assert items[-1].type == "hidden_context_item", "the note comes last"
        assert (await olga.write(user, thread_id, "too late")).status == 409


async def test_a_thread_that_one_tab_of_the_operator_closed_is_closed_in_the_other(support: SupportApp) -> None:
    thread_id = await support.waiting()
    olga = support.operator("olga")
    for _ in range(2):
        assert (await olga.post("ann", thread_id, "take")).status == 200
    closed = await asyncio.gather(*(olga.post("ann", thread_id, "close") for _ in range(2)))
    assert 200 in {answer.status for answer in closed}
    assert {answer.status for answer in closed} <= {200, 409}
    for change in ("messages", "return", "take"):
        body = {"text": "hi"} if change == "messages" else None
        assert (await olga.post("ann", thread_id, change, body)).status in (200, 409)
    assert (await support.texts("ann", thread_id))[-1] != "**Olga:** hi"
    assert [matter["state"] for matter in await olga.matters()] == ["closed"]


async def test_a_thumbs_down_is_one_matter(support: SupportApp) -> None:
    thread_id = await support.thread()
    page = (await support.chat("ann")("items.list", thread_id=thread_id, order="asc")).json
    answer_id = page["data"][-1]["id"]
    for kind in ("positive", "negative", "positive", "negative"):
        await support.chat("ann")("items.feedback", thread_id=thread_id, item_ids=[answer_id], kind=kind)
    [matter] = await support.operator("olga").matters()
    assert (matter["kind"], matter["cause"], matter["state"]) == ("thumbs-down", answer_id, "open")
    await support.operator("olga").post("ann", thread_id, "close")
    [matter] = await support.operator("olga").matters()
    assert (matter["state"], matter["operator"]) == ("closed", "olga")
    assert (await support.say("ann", thread_id, "go on")).status == 200, "the thread itself stays open"


async def test_ids_that_are_no_answer_are_no_matter(support: SupportApp) -> None:
    thread_id = await support.thread()
    page = (await support.chat("ann")("items.list", thread_id=thread_id, order="asc")).json
    own_id, answer_id = page["data"][0]["id"], page["data"][-1]["id"]
    invented = [f"msg_{number}" for number in range(99)]
    for item_ids in ([own_id], invented, [own_id, *invented]):
        await support.chat("ann")("items.feedback", thread_id=thread_id, item_ids=item_ids, kind="negative")
    assert await support.operator("olga").matters() == []
    await support.chat("ann")("items.feedback", thread_id=thread_id, item_ids=[own_id, answer_id], kind="negative")
    assert [matter["cause"] for matter in await support.operator("olga").matters()] == [answer_id]


async def test_failed_turns_of_one_cause_are_one_matter() -> None:
    support = SupportApp(model=Failing())
    for number in range(3):
        await support.thread(text=f"hello {number}")
    [matter] = await support.operator("olga").matters()
    assert (matter["kind"], matter["cause"]) == ("failed-turn", "TimeoutError")


async def test_the_agent_can_ask_for_a_person() -> None:
    script = ScriptedModel([list(step) for step in (calls("ask_a_human"), says("never sent"))])
    support = SupportApp(model=script, tools=[ask_a_human])
    answer = await support.chat("ann")("threads.create", input=message("I want a human"))
    assert [event["title"] for event in answer.of("notice")] == ["A person will answer"]
    assert answer.of("error") == []
    thread_id = answer.of("thread.created")[0]["thread"]["id"]
    [matter] = await support.operator("olga").matters()
    assert (matter["kind"], matter["thread"], matter["state"]) == ("handoff", thread_id, "open")
    assert (await support.operator("olga").post("ann", thread_id, "take")).status == 200
    assert "never sent" not in json.dumps(answer.events)
    answered = await support.say("ann", thread_id, "hello?")
    assert [event["type"] for event in answered.events] == ["thread.item.done", "stream_options"]


async def test_an_agent_that_asks_too_often_is_refused_and_goes_on() -> None:
    steps = [step for _ in range(PER_DAY + 1) for step in (calls("ask_a_human"),)]
    support = SupportApp(
        model=ScriptedModel([list(step) for step in (*steps, says("Then I try myself."))]), tools=[ask_a_human]
    )
    notices: list[str] = []
    for number in range(PER_DAY + 1):
        answer = await support.chat("ann")("threads.create", input=message(f"a human please {number}"))
        notices += [event["title"] for event in answer.of("notice")]
    assert notices == ["A person will answer"] * PER_DAY + ["No person was asked"]
    thread_id = answer.of("thread.created")[0]["thread"]["id"]
    assert (await support.texts("ann", thread_id)) == [f"a human please {PER_DAY}"]
    await support.say("ann", thread_id, "and now?")
    assert (await support.texts("ann", thread_id))[-1] == "Then I try myself."


class Failing(Model):
    """A model that does not respond in time."""

    async def get_response(self, *_: Any, **__: Any) -> Any:
        """Not used."""
        raise NotImplementedError

    async def stream_response(self, *_: Any, **__: Any) -> Any:
        """Fail before the first event."""
        raise TimeoutError
        yield


class Endless(DemoModel):
    """A model that says a few words and then waits until it is canceled."""

    def __init__(self) -> None:
        super().__init__()
        self.began = asyncio.Event()
        self.is_running = False

    async def stream_response(self, *arguments: Any, **named: Any) -> Any:
        """Begin the demo model's answer."""
        self.is_running = True
        try:
            words = 0
            async for event in super().stream_response(*arguments, **named):
                yield event
                words += event.type == "response.output_text.delta"
                if words == 3:
                    self.began.set()
                    await asyncio.sleep(60)
        finally:
            self.is_running = False


async def test_a_message_that_a_person_has_or_has_answered_cannot_be_edited(support: SupportApp) -> None:
    thread_id = await support.waiting()
    own = (await support.chat("ann")("items.list", thread_id=thread_id, order="asc")).json["data"][0]["id"]
    body = {
        "type": "threads.add_user_message",
        "params": {"thread_id": thread_id, "input": message("changed")},
        "metadata": {"edited_item_id": own},
    }
    before = await support.texts("ann", thread_id)
    refused = await support.chat("ann").post(json.dumps(body).encode())
    assert (refused.status, refused.json["message"][:22]) == (409, "A person answers in th")
    assert await support.texts("ann", thread_id) == before
    olga = support.operator("olga")
    await olga.post("ann", thread_id, "take")
    await olga.write("ann", thread_id, "I am here.")
    await olga.post("ann", thread_id, "return")
    before = await support.texts("ann", thread_id)
    refused = await support.chat("ann").post(json.dumps(body).encode())
    assert refused.json["message"] == "A person has answered this message. Write a new one instead."
    assert await support.texts("ann", thread_id) == before
