"""Builds the support side of a stage: inbox, events, desk and clock. Imported only by stages with operators."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lambda_src.composition.aws import Clients
from lambda_src.json_settings import OperatorSettings
from lambda_src.store.aws_calls import Calls
from lambda_src.store.counters import Counters
from lambda_src.store.inbox import Inbox
from lambda_src.support.clock import OperatorClock
from lambda_src.support.desk import Desk
from lambda_src.support.events import AnnouncedInbox, EventTopic, Publish, publish_nothing
from lambda_src.turns.lifecycle import Turns

if TYPE_CHECKING:
    from lambda_src.attachments.files import Files
    from lambda_src.composition.stores import ChatStore


@dataclass(frozen=True, slots=True)
class SupportSide:
    """What the requests of users and operators use, and what runs every minute."""

    desk: Desk
    clock: OperatorClock


def build_support(
    operators: OperatorSettings,
    store: "ChatStore",
    inbox: Inbox,
    turns: Turns,
    counters: Counters,
    *,
    events_topic: str | None,
    files: "Files | None",
    aws: Clients,
    clock: Callable[[], int],
) -> SupportSide:
    """The support side. Without `events_topic` no events are published; without `files` no file can be opened."""
    publish: Publish = publish_nothing
    if events_topic is not None:
        publish = EventTopic(aws.late_client("sns"), events_topic, calls=Calls())
    wait_minutes = operators.handoff_wait_minutes
    announced = AnnouncedInbox(inbox, publish, wait_ms=wait_minutes * 60_000)
    return SupportSide(
        Desk(store, announced, turns, counters, assistants=operators.assistants, clock=clock, files=files),
        OperatorClock(
            inbox,
            store,
            publish,
            assistants=operators.assistants,
            wait_minutes=wait_minutes,
            unanswered_message=operators.unanswered_message,
            clock=clock,
        ),
    )
