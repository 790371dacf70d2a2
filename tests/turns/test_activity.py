"""Tool activity in turns that end early: it is stored, it has ended, and nothing in it runs any more."""

import json
from typing import Any

import pytest
from chatkit.types import WorkflowItem

from lambda_src.turns import activity
from lambda_src.turns.lease import LEASE_MS, RENEW_S
from lambda_src.turns.partial_answer import unfinished
from lambda_src.turns.persistence import STOPPED_NOTE
from tests.turns.turn_fixture import THREAD, Model, ProcessPair, Reader, as_user, kill, sse

ANN = as_user("ann")
ITEM_ID = f"{activity.PREFIX}wf_1"


def task(title: str, state: str = "loading") -> dict[str, Any]:
    return {"type": "custom", "title": title, "status_indicator": state}


def added(*tasks: dict[str, Any], item_id: str = ITEM_ID) -> bytes:
    workflow = {"type": "custom", "tasks": list(tasks), "expanded": False}
    item = {"id": item_id, "thread_id": THREAD, "created_at": "2026-01-01T00:00:00Z"}
    return sse("thread.item.added", item=item | {"type": "workflow", "workflow": workflow})


def update(kind: str, index: int, changed: dict[str, Any]) -> bytes:
    return sse(
        "thread.item.updated",
        item_id=ITEM_ID,
        update={"type": f"workflow.task.{kind}", "task_index": index, "task": changed},
    )


EVENTS = [
    added(task("Lookup order")),
    update("added", 1, task("Count socks")),
    update("updated", 0, task("Lookup order", "complete")),
]
STORED = [("Lookup order", "complete"), ("Count socks", "none")]


def states(item: object) -> list[tuple[str | None, str]]:
    assert isinstance(item, WorkflowItem)
    return [(each.title, each.status_indicator) for each in item.workflow.tasks]


def test_unfinished_activity_is_folded_and_ended() -> None:
    [item] = unfinished(EVENTS)
    assert isinstance(item, WorkflowItem)
    assert states(item) == STORED
    assert item.workflow.summary == activity.ended(item).workflow.summary
    assert item.workflow.model_dump()["summary"] == {"title": "Lookup order, Count socks", "icon": None}


def test_a_workflow_of_a_tool_is_not_kept() -> None:
    assert unfinished([added(task("Step"), item_id="wf_1")]) == []


def test_an_update_out_of_place_is_applied_or_ignored() -> None:
    [item] = unfinished([added(task("A")), update("added", 7, task("B")), update("added", 1, task("B"))])
    assert [title for title, _ in states(item)][:2] == ["A", "B"]


@pytest.fixture
async def pair() -> ProcessPair:
    return await ProcessPair.create()


async def working(pair: ProcessPair) -> Reader:
    """Start a turn whose second tool runs."""
    model = Model()
    reader = await pair.first.ask(model, "where is it?")
    for event in EVENTS:
        model.event(event)
    await pair.time.advance(RENEW_S)
    return reader


async def kept(pair: ProcessPair) -> list[tuple[str | None, str]]:
    [item] = [item for item in await pair.items() if item.id == ITEM_ID]
    assert isinstance(item, WorkflowItem)
    assert item.workflow.summary is not None
    return states(item)


async def test_a_stopped_turn_keeps_its_activity_and_ends_it_on_the_page(pair: ProcessPair) -> None:
    reader = await working(pair)
    assert await pair.second.turns.stop(ANN, turn_id=None, thread_id=THREAD)
    await pair.time.advance(2 * RENEW_S)
    assert reader.over
    assert await kept(pair) == STORED
    assert (await pair.texts())[-1] == f"[{STOPPED_NOTE}]"
    done = [json.loads(event[6:]) for event in reader.events if b"thread.item.done" in event]
    assert done[-1]["item"]["id"] == ITEM_ID
    assert ITEM_ID not in [json.loads(event[6:]).get("item_id") for event in reader.events if b"removed" in event]


async def test_a_newer_message_keeps_the_activity_of_the_turn_before_it(pair: ProcessPair) -> None:
    reader = await working(pair)
    await pair.second.ask(Model("msg_new"), "never mind")
    await pair.time.advance(2 * RENEW_S)
    assert reader.over
    assert await kept(pair) == STORED
    assert reader.kinds[-1] == "notice", "no text of the answer was kept"


async def test_a_crashed_turns_activity_is_recovered(pair: ProcessPair) -> None:
    reader = await working(pair)
    await kill(reader)
    await pair.time.advance(LEASE_MS / 1000 + 3)
    await pair.wait_for(pair.second.turns.recover(THREAD, ANN))
    assert await kept(pair) == STORED
    before = await pair.items()
    await pair.wait_for(pair.second.turns.recover(THREAD, ANN))
    assert await pair.items() == before
