"""Events about what waits for an operator, for an SNS topic: ids and times, no content. Knows no row.

An event is published at least once: at once by the request that opens the matter, and, if that failed, by the clock
(clock.py), each time with the same id.
"""

import asyncio
import hashlib
import json
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, Protocol, assert_never

from lambda_src.context import RequestContext
from lambda_src.errors import UnavailableError
from lambda_src.observability.faults import log_fault
from lambda_src.store.aws_calls import Calls, MissingObjectError
from lambda_src.store.inbox import Inbox, Matter

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

EventType = Literal["handoff.requested", "handoff.unanswered", "feedback.negative", "turn.failed"]

REQUESTED: EventType = "handoff.requested"
UNANSWERED: EventType = "handoff.unanswered"
ID_CHARS = 32
PUBLISH_WITHIN_S = 2.0  # a request that opens a matter waits so long at most


class Publish(Protocol):
    """Publishes an event about a matter."""

    async def __call__(self, event: EventType, matter: Matter) -> None:
        """UnavailableError: it may not have been accepted."""
        ...


class EventTopic:
    """Publish, to an SNS topic. `client` is botocore's."""

    def __init__(self, client: "SNSClient", arn: str, *, calls: Calls) -> None:
        self._client, self._arn, self._calls = client, arn, calls

    async def __call__(self, event: EventType, matter: Matter) -> None:
        """Publish. A subscription can filter by the attribute `type`."""
        attributes = {"type": {"DataType": "String", "StringValue": event}}
        try:
            async with asyncio.timeout(PUBLISH_WITHIN_S):
                await self._calls.run(
                    self._client.publish,
                    TopicArn=self._arn,
                    Message=json.dumps(body_of(event, matter)),
                    MessageAttributes=attributes,
                )
        except (UnavailableError, MissingObjectError, TimeoutError) as error:
            log_fault("event_not_sent", error, kind=event)
            raise UnavailableError("The event could not be sent.") from error


async def publish_nothing(event: EventType, matter: Matter) -> None:
    """Publish, where there is no topic."""


def event_of(matter: Matter) -> EventType:
    """The event about a new matter."""
    match matter.kind:
        case "handoff":
            return REQUESTED
        case "thumbs-down":
            return "feedback.negative"
        case "failed-turn":
            return "turn.failed"
        case other:
            assert_never(other)


def body_of(event: EventType, matter: Matter) -> dict[str, str]:
    """What is published. The id is the same however often the event is sent, so that a subscriber can drop repeats."""
    name = "\0".join((event, matter.assistant, matter.id, matter.user_id, matter.thread_id))
    return {
        "id": f"evt_{hashlib.sha256(name.encode()).hexdigest()[:ID_CHARS]}",
        "type": event,
        "assistant": matter.assistant,
        "user": matter.user_id,
        "thread": matter.thread_id,
        "matter": matter.id,
        "opened_at": datetime.fromtimestamp(matter.opened_ns / 1e9, UTC).isoformat(timespec="milliseconds"),
    }


class Settles(Protocol):
    """The part of the inbox that records which events were accepted."""

    async def settle(self, matter: Matter, *, accepted: str | None, due_ms: int | None) -> bool:
        """As in store/inbox.py."""
        ...


async def announce(matter: Matter, inbox: Settles, publish: Publish, *, due_ms: int | None) -> None:
    """Publish the event about a matter that was just opened, and record that. Failures are left to the clock.

    `due_ms`: when the clock must look at the matter if the event was accepted.
    """
    with suppress(UnavailableError):
        await publish(event_of(matter), matter)
        as_stored = replace(matter, due_ms=matter.opened_ns // 1_000_000)
        await inbox.settle(as_stored, accepted=event_of(matter), due_ms=due_ms)


class AnnouncedInbox:
    """An inbox that publishes the event about each matter that it opens. Everything else is the inbox's own.

    `wait_ms`: how long a user waits for a person before the clock looks.
    """

    def __init__(self, inbox: Inbox, publish: Publish, *, wait_ms: int) -> None:
        self._inbox, self._publish, self._wait_ms = inbox, publish, wait_ms
        self.page, self.matters_of, self.close_matter = inbox.page, inbox.matters_of, inbox.close_matter
        self.due, self.settle, self.pass_on, self.release = inbox.due, inbox.settle, inbox.pass_on, inbox.release

    async def open_matter(self, matter: Matter) -> bool:
        """inbox.Inbox."""
        is_new = await self._inbox.open_matter(matter)
        if is_new:
            await announce(matter, self._inbox, self._publish, due_ms=None)
        return is_new

    async def hold(
        self, matter: Matter, *, turn_id: str, ends_turn: bool, context: RequestContext
    ) -> Literal["held", "lost"]:
        """inbox.Inbox. What an operator takes without a request needs no event."""
        outcome = await self._inbox.hold(matter, turn_id=turn_id, ends_turn=ends_turn, context=context)
        if outcome == "held" and not matter.operator:
            due_ms = matter.opened_ns // 1_000_000 + self._wait_ms
            await announce(matter, self._inbox, self._publish, due_ms=due_ms)
        return outcome
