"""The operators' inbox in DynamoDB: one row per matter in the assistant's partition, and the hold in a thread's lease.

A row in the thread's partition leads to each matter, so that deleting the thread deletes its matters as well. A matter
that the clock must look at has an `order`, its due time, so that the index lists exactly those.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, cast

from chatkit.store import NotFoundError

from lambda_src.context import RequestContext
from lambda_src.store import bounds, keys
from lambda_src.store.aws_calls import ConditionFailedError
from lambda_src.store.bounds import within_budget
from lambda_src.store.dynamodb import rows
from lambda_src.store.dynamodb.table import Key, Put, Row, Update, wire_key
from lambda_src.store.dynamodb.turns import turn_rows
from lambda_src.store.dynamodb.turns.base import LedgerPart
from lambda_src.store.dynamodb.turns.leases import TTL_MS
from lambda_src.store.inbox import (
    CLOSED_TTL_S,
    DUE_MATTERS,
    KINDS,
    OPEN_TTL_S,
    PAGE_MATTERS,
    Kind,
    Matter,
    MatterPage,
    State,
    handoff_of,
    is_as_read,
)
from lambda_src.store.ports import Hold

KIND = "kind"  # S
STATE = "state"  # S: open | taken | closed
OPERATOR = "operator"  # S: who took it, "" if nobody did
CAUSE = "cause"  # S
GUEST = "is_guest"  # BOOL: the thread is a guest's
OPENED_NS = "opened_ns"  # N: nanoseconds since 1970
CHANGED_MS = "changed_ms"  # N: of the last change of its state, in milliseconds since 1970
ACCEPTED = "accepted"  # L of S: the events about it that were delivered
UNTIL_MS = "until_ms"  # N: when the role of who took it expires, in milliseconds since 1970; 0 if that is not known

Due = Literal["now", "unless it was due"]

_MS = 1_000_000
_NEW = f"attribute_not_exists(#{keys.PARTITION_KEY})"
_STORED = f"attribute_exists(#{keys.PARTITION_KEY})"


@dataclass(frozen=True, slots=True)
class LeaseChange:
    """A change of a lease that has a certain hold, and a further condition."""

    expression: str
    values: Mapping[str, Mapping[str, Any]]
    condition: str = ""


class TableInbox(LedgerPart):
    """inbox.Inbox, on the table that has the leases."""

    @within_budget
    async def open_matter(self, matter: Matter) -> bool:
        """inbox.Inbox. One transaction."""
        bounds.writable(matter.user_id, matter.thread_id)
        try:
            await self._table.transact(*self._opening(matter))
        except ConditionFailedError:
            return False
        return True

    @within_budget
    async def page(
        self, assistant: str, *, kind: Kind | None = None, state: State | None = None, after: str | None = None
    ) -> MatterPage:
        """inbox.Inbox."""
        first, last = (kind or KINDS[0]) + "#", (kind or KINDS[-1]) + "#~"
        partition = keys.inbox_partition(assistant)
        start = None if after is None else cast("Row", wire_key((partition, after)))
        page, more = await self._table.between(partition, first, last, start=start)
        matters: list[Matter] = []
        for row in page:
            if not self._is_listed(row, state):
                continue
            if len(matters) == PAGE_MATTERS:
                return MatterPage(matters, matters[-1].id)
            matters.append(_matter(row, assistant))
        return MatterPage(matters, None if more is None else more[keys.SORT_KEY]["S"])

    @within_budget
    async def matters_of(self, thread_id: str, *, context: RequestContext) -> list[Matter]:
        """inbox.Inbox. Two requests, the second only if there are any."""
        partition = keys.thread_partition(context.user.id, thread_id)
        listed: list[Key] = []
        async for page in self._table.pages(partition, prefix=keys.MATTER_PREFIX):
            listed += [rows.matter_key(row) for row in page]
        stored = await self._table.get_many(listed) if listed else {}
        matters = [_matter(row, pk.partition("#")[2]) for (pk, _), row in stored.items() if self._is_listed(row, None)]
        own = [matter for matter in matters if matter.user_id == context.user.id]
        return sorted(own, key=lambda matter: matter.id)

    @within_budget
    async def close_matter(self, matter: Matter, *, operator: str) -> None:
        """inbox.Inbox."""
        writes = self._changed(matter, operator=operator, state="closed", seen=matter)
        with suppress(ConditionFailedError):
            await self._table.transact(*writes)

    @within_budget
    async def due(self, assistant: str, *, now_ms: int) -> list[Matter]:
        """inbox.Inbox."""
        listed = await self._table.listed(
            keys.inbox_partition(assistant), after=None, descending=False, want=DUE_MATTERS, alive=self._is_alive
        )
        matters = [_matter(row, assistant) for row in listed]
        return [matter for matter in matters if matter.due_ms is not None and matter.due_ms <= now_ms]

    @within_budget
    async def settle(self, matter: Matter, *, accepted: str | None, due_ms: int | None) -> bool:
        """inbox.Inbox. One write; if the matter has changed, a second one for the event."""
        events = {"L": [] if accepted is None else [rows.text(accepted)]}
        values: dict[str, Mapping[str, Any]] = {":events": events, ":none": {"L": []}}
        appending = f"SET #{ACCEPTED} = list_append(if_not_exists(#{ACCEPTED}, :none), :events)"
        condition, seen = _as_read(matter)
        due, was_due = _is_due_as_read(matter)
        seen |= was_due
        ordering = f" REMOVE #{keys.ORDER_KEY}"
        if due_ms is not None:
            ordering = f", #{keys.ORDER_KEY} = :order"
            seen[":order"] = _order(due_ms, matter.id)
        try:
            await self._table.update(
                _key(matter), appending + ordering, condition=f"{condition} AND {due}", values={**values, **seen}
            )
        except ConditionFailedError as fault:
            stored = _matter(fault.old, matter.assistant) if fault.old else None
            if stored is None:
                return False
            if accepted is None or accepted in stored.accepted:
                return is_as_read(stored, matter) and stored.due_ms == due_ms  # a retry after a lost response
            condition = f"{_STORED} AND attribute_not_exists(#{ACCEPTED})"
            if ACCEPTED in fault.old:  # so that a retry of this write after a lost response adds nothing
                condition, values[":known"] = f"#{ACCEPTED} = :known", fault.old[ACCEPTED]
            with suppress(ConditionFailedError):
                await self._table.update(_key(matter), appending, condition=condition, values=values)
            return False
        return True

    @within_budget
    async def hold(
        self, matter: Matter, *, turn_id: str, ends_turn: bool, context: RequestContext
    ) -> Literal["held", "lost"]:
        """inbox.Inbox. One transaction."""
        bounds.writable(context.user.id, matter.thread_id, turn_id)
        key = keys.thread_partition(context.user.id, matter.thread_id), keys.TURN
        attributes = self._held(matter.operator, matter.id, until_ms=matter.until_ms)
        removed = f" REMOVE #{keys.TTL_ATTRIBUTE}"
        if ends_turn:
            attributes |= {
                turn_rows.ENDED: {"BOOL": True},
                turn_rows.EXPIRES_MS: rows.number(self._now_ms()),
                turn_rows.LAST_ORDER: rows.number(self._clocks.ahead(key[0])),
            }
            removed += f", {turn_rows.BEFORE_ATTRIBUTES}, #{turn_rows.UNRECOVERED}, #{turn_rows.UNENDED}"
        lease = Update(
            key,
            f"SET {rows.setting(attributes)}{removed}",
            {**rows.valued(attributes), ":turn_id": rows.text(turn_id)},
            condition=f"{rows.NOT_DELETED} AND {turn_rows.NOT_HELD} AND #{turn_rows.TURN_ID} = :turn_id",
        )
        try:
            await self._table.transact(lease, *self._opening(matter))
        except ConditionFailedError as fault:
            if rows.is_tombstone(fault.old):
                raise NotFoundError("This thread has been deleted.") from None
            return "lost"
        if ends_turn:
            self._clocks.release(key[0], turn_id)
        return "held"

    @within_budget
    async def pass_on(
        self,
        thread_id: str,
        hold: Hold,
        *,
        operator: str,
        until_ms: int | None = None,
        seen: Matter | None = None,
        context: RequestContext,
    ) -> bool:
        """inbox.Inbox. One transaction."""
        bounds.writable(context.user.id, thread_id)
        is_same = operator == hold.operator
        attributes = self._held(operator, hold.matter, until_ms=until_ms)
        if is_same:
            del attributes[turn_rows.HELD_MS]
        state: State = "taken" if operator else "open"
        lease = f"SET {rows.setting(attributes)} REMOVE #{keys.TTL_ATTRIBUTE}"
        values = rows.valued(attributes) | {":yes": {"BOOL": True}}
        condition = f"#{turn_rows.ENDED} = :yes"
        if context.turn_id is not None:
            partition = keys.thread_partition(context.user.id, thread_id)
            self._clocks.hold(partition, context.turn_id, self._clocks.ahead(partition))
        matter = handoff_of(hold, thread_id, assistant=context.user.assistant, user_id=context.user.id)
        due: Due = "unless it was due" if is_same else "now"
        changed = self._changed(matter, operator=operator, state=state, until_ms=until_ms, due=due, seen=seen)
        return await self._change(thread_id, hold, LeaseChange(lease, values, condition), changed, context)

    @within_budget
    async def release(self, thread_id: str, hold: Hold, *, operator: str, context: RequestContext) -> bool:
        """inbox.Inbox. One transaction."""
        bounds.writable(context.user.id, thread_id)
        partition = keys.thread_partition(context.user.id, thread_id)
        attributes = {
            turn_rows.LAST_ORDER: rows.number(self._clocks.ahead(partition)),
            keys.TTL_ATTRIBUTE: turn_rows.ttl(self._now_ms() + TTL_MS),
        }
        removed = ", ".join(f"#{name}" for name in turn_rows.HOLD)
        lease = LeaseChange(f"SET {rows.setting(attributes)} REMOVE {removed}", rows.valued(attributes))
        matter = handoff_of(hold, thread_id, assistant=context.user.assistant, user_id=context.user.id)
        changed = self._changed(matter, operator=operator, state="closed")
        return await self._change(thread_id, hold, lease, changed, context)

    async def _change(
        self,
        thread_id: str,
        hold: Hold,
        lease: LeaseChange,
        changed: Sequence[Update | Put],
        context: RequestContext,
    ) -> bool:
        """Change a lease that has this hold, and its matter; False if it has not."""
        key = keys.thread_partition(context.user.id, thread_id), keys.TURN
        conditions = [rows.NOT_DELETED, f"#{turn_rows.HELD_BY} = :was", f"#{turn_rows.MATTER} = :is"]
        values = {**lease.values, ":was": rows.text(hold.operator), ":is": rows.text(hold.matter)}
        condition = " AND ".join([*conditions, *([lease.condition] if lease.condition else [])])
        try:
            await self._table.transact(Update(key, lease.expression, values, condition=condition), *changed)
        except ConditionFailedError:
            return False
        return True

    def _held(self, operator: str, matter_id: str, *, until_ms: int | None) -> dict[str, Mapping[str, Any]]:
        """The attributes of a held lease, which has no TTL, unlike other leases. `until_ms` is kept if None."""
        return {
            turn_rows.HELD_BY: rows.text(operator),
            turn_rows.HELD_MS: rows.number(self._now_ms()),
            **({} if until_ms is None else {turn_rows.HELD_UNTIL_MS: rows.number(until_ms)}),
            turn_rows.MATTER: rows.text(matter_id),
        }

    def _opening(self, matter: Matter) -> tuple[Put, Put]:
        """The writes of a new matter: its row, and the row in the thread's partition that leads to it."""
        pk, sk = _key(matter)
        state: State = "taken" if matter.operator else "open"
        row: dict[str, Mapping[str, Any]] = {
            keys.PARTITION_KEY: rows.text(pk),
            keys.SORT_KEY: rows.text(sk),
            keys.ORDER_KEY: rows.text(keys.order_of(matter.opened_ns, sk)),
            OPENED_NS: rows.number(matter.opened_ns),
            CAUSE: rows.text(matter.cause),
            GUEST: {"BOOL": matter.is_guest},
            **self._state_of(matter, matter.operator, state),
        }
        if matter.operator:
            row[UNTIL_MS] = rows.number(matter.until_ms)
        if matter.accepted:
            row[ACCEPTED] = {"L": [rows.text(event) for event in sorted(matter.accepted)]}
        return Put(row, _NEW), Put(self._lead(matter, state), _NEW)

    def _lead(self, matter: Matter, state: State) -> Row:
        """The row in a thread's partition that leads to a matter."""
        pk, sk = _key(matter)
        return {
            keys.PARTITION_KEY: rows.text(keys.thread_partition(matter.user_id, matter.thread_id)),
            keys.SORT_KEY: rows.text(keys.matter_sort(matter.occasion)),
            rows.INBOX: rows.text(pk),
            rows.MATTER: rows.text(sk),
            **self._expiry(matter.kind, state),
        }

    def _changed(
        self,
        matter: Matter,
        *,
        operator: str,
        state: State,
        until_ms: int | None = None,
        due: Due | None = None,
        seen: Matter | None = None,
    ) -> list[Update | Put]:
        """The writes of a matter's new state, on condition that it is as it was read as `seen`, if given.

        Restores rows that an older release has let expire before their hold.
        """
        attributes = self._state_of(matter, operator, state)
        if until_ms is not None:
            attributes[UNTIL_MS] = rows.number(until_ms)
        once = f"#{OPENED_NS} = if_not_exists(#{OPENED_NS}, :{OPENED_NS})"
        values = rows.valued(attributes) | {f":{OPENED_NS}": rows.number(matter.opened_ns)}
        match due:
            case "now":
                once += f", #{keys.ORDER_KEY} = :order"
            case "unless it was due":
                once += f", #{keys.ORDER_KEY} = if_not_exists(#{keys.ORDER_KEY}, :order)"
            case None:
                pass
        if due is not None:
            values[":order"] = _order(self._now_ms(), matter.id)
        removed = "" if keys.TTL_ATTRIBUTE in attributes else f" REMOVE #{keys.TTL_ATTRIBUTE}"
        condition = ""
        if seen is not None:
            condition, read = _as_read(seen)
            values |= read
        update = Update(_key(matter), f"SET {rows.setting(attributes)}, {once}{removed}", values, condition=condition)
        ends_hold = matter.kind == "handoff" and state == "closed"  # until then the row that leads to it is kept, too
        return [update, Put(self._lead(matter, state))] if ends_hold else [update]

    def _state_of(self, matter: Matter, operator: str, state: State) -> dict[str, Mapping[str, Any]]:
        return {
            KIND: rows.text(matter.kind),
            rows.USER_ID: rows.text(matter.user_id),
            rows.THREAD_ID: rows.text(matter.thread_id),
            OPERATOR: rows.text(operator),
            STATE: rows.text(state),
            CHANGED_MS: rows.number(self._now_ms()),
            **self._expiry(matter.kind, state),
        }

    def _expiry(self, kind: Kind, state: State) -> dict[str, Mapping[str, Any]]:
        """The TTL of a matter and of the row that leads to it; none while it is the reason of a hold."""
        if kind == "handoff" and state != "closed":
            return {}
        kept_s = CLOSED_TTL_S if state == "closed" else OPEN_TTL_S
        return {keys.TTL_ATTRIBUTE: turn_rows.ttl(self._now_ms() + kept_s * 1000)}

    def _is_alive(self, row: Row) -> bool:
        return not rows.is_expired(row, now_s=self._now_ms() // 1000)

    def _is_listed(self, row: Row, state: State | None) -> bool:
        return self._is_alive(row) and state in (None, row[STATE]["S"])


def _key(matter: Matter) -> Key:
    return keys.inbox_partition(matter.assistant), matter.id


def _order(due_ms: int, matter_id: str) -> Mapping[str, Any]:
    return rows.text(keys.order_of(due_ms * _MS, matter_id))


def _as_read(matter: Matter) -> tuple[str, dict[str, Mapping[str, Any]]]:
    """inbox.is_as_read as a condition and its values."""
    was = {
        STATE: rows.text(matter.state),
        OPERATOR: rows.text(matter.operator),
        rows.USER_ID: rows.text(matter.user_id),
    }
    if matter.changed_ms:
        was[CHANGED_MS] = rows.number(matter.changed_ms)
    condition = " AND ".join(f"#{name} = :was_{name}" for name in was)
    return condition, {f":was_{name}": value for name, value in was.items()}


def _is_due_as_read(matter: Matter) -> tuple[str, dict[str, Mapping[str, Any]]]:
    """The condition that the clock's time is as it was read. The time of a new matter is not in whole milliseconds."""
    if matter.due_ms is None:
        return f"attribute_not_exists(#{keys.ORDER_KEY})", {}
    first_ns = matter.due_ms * _MS
    return f"#{keys.ORDER_KEY} >= :due AND #{keys.ORDER_KEY} < :next_ms", {
        ":due": rows.text(keys.order_of(first_ns, "")),
        ":next_ms": rows.text(keys.order_of(first_ns + _MS, "")),
    }


def _matter(row: Row, assistant: str) -> Matter:
    order = row.get(keys.ORDER_KEY)
    due_ms = None if order is None else keys.arrived_ns(order["S"]) // _MS
    until_ms = int(row[UNTIL_MS]["N"]) if UNTIL_MS in row else due_ms  # older releases knew only when it was due
    return Matter(
        kind=cast("Kind", row[KIND]["S"]),
        assistant=assistant,
        user_id=row[rows.USER_ID]["S"],
        thread_id=row[rows.THREAD_ID]["S"],
        opened_ns=int(row[OPENED_NS]["N"]),
        cause=row.get(CAUSE, {}).get("S", ""),
        is_guest=bool(row.get(GUEST, {}).get("BOOL", False)),
        state=cast("State", row[STATE]["S"]),
        operator=row[OPERATOR]["S"],
        changed_ms=int(row[CHANGED_MS]["N"]),
        accepted=frozenset(event["S"] for event in row.get(ACCEPTED, {}).get("L", ())),
        due_ms=due_ms,
        until_ms=(until_ms or 0) if row[STATE]["S"] == "taken" else 0,
    )
