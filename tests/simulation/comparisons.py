"""Promises that compare: readers of one turn, a journal with its thread, a thread with a Regenerate, a wait with its
causes. They hold whatever fails, unless they say otherwise.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from lambda_src.store import codec, keys
from lambda_src.store.dynamodb import rows
from tests.simulation.history import text_of, texts_of
from tests.simulation.sources import SECOND

if TYPE_CHECKING:
    from tests.simulation.history import Send
    from tests.simulation.model import ModelRun
    from tests.simulation.world import World

Broken = Iterator[tuple[str, str]]
Items = list[dict[str, Any]]

WORD = re.compile(r"\ba(\d+)\.\d+")
BEGINS_WITHIN_S = 4.0  # two waits for a turn that has lost its lease or died, and the requests
ROUND_TRIPS = 20  # of a turn's beginning, at most: with limits, and a crashed turn to recover
DEAD_AFTER_S, SETTLED_AFTER_S = 15, 5  # a lease expires and is looked at twice; a turn ends its lease and its place
STORED_AGAIN_S, GIVES_UP_S = 15.0, 45.0  # after the end of an answer that could not be stored


def readers(world: "World") -> Broken:
    """Of any two readers of a turn, neither sees a word of an answer that the other one does not see there."""
    of_turn: dict[str, list[dict[str, str]]] = defaultdict(list)
    for stream in world.history.streams:
        if not stream.seen and stream.turn_id:
            of_turn[stream.turn_id].append(texts_of(stream.events))
    for turn_id, readings in of_turn.items():
        for item_id in dict.fromkeys(item_id for reading in readings for item_id in reading):
            texts = sorted({reading[item_id] for reading in readings if item_id in reading}, key=len)
            for shorter, longer in pairwise(texts):
                if not longer.startswith(shorter):
                    yield "followers-see-the-same", f"{turn_id}: {item_id} is {shorter!r} here, and {longer!r} there"


def journals(world: "World", threads: Mapping[str, Mapping[str, Items]]) -> Broken:
    """What a turn journaled while it had its thread is stored there."""
    history = world.history
    stored = {thread_id: items for own in threads.values() for thread_id, items in own.items()}
    for (thread_id, turn_id), events in _journaled(world).items():
        if thread_id not in stored or history.may_be_gone(thread_id) or history.may_be_removed(thread_id):
            continue
        texts = {item["id"]: text_of(item) for item in stored[thread_id]}
        for item_id, text in texts_of(events).items():
            kept = texts.get(item_id, "")
            if text.strip() and not kept.startswith(text):
                yield "words-are-kept", f"{turn_id} journaled {text!r} as {item_id} of {thread_id}, which has {kept!r}"


def _journaled(world: "World") -> dict[tuple[str, str], Items]:
    """(thread, turn) -> the events in its journal that the next turn, or whoever reads the thread, recovers."""
    data: dict[tuple[str, str], bytes] = defaultdict(bytes)
    for (partition, sort), arrived_ns in sorted(world.aws.arrived_ns.items()):
        row = world.aws.engine.rows.get((partition, sort))
        _, thread_id = keys.owner_of(partition)
        turn_id = sort.removeprefix(keys.EVENTS_PREFIX).rpartition("#")[0]
        taken_ns = _taken_over_ns(world, thread_id, turn_id)
        is_read = taken_ns is None or arrived_ns < taken_ns
        if row is not None and is_read and not _is_mistaken_for_dead(world, turn_id):
            data[thread_id, turn_id] += codec.unpack(codec.Packed(row[rows.PAYLOAD]["B"], row[rows.ENCODING]["S"]))
    return {place: _events(journal) for place, journal in data.items()}


def _events(journal: bytes) -> Items:
    return [json.loads(event.removeprefix(b"data: ")) for event in journal.split(b"\n\n")[:-1]]


def _taken_over_ns(world: "World", thread_id: str, turn_id: str) -> int | None:
    """When another turn took the thread from this one."""
    leases = world.history.leases.get(thread_id, [])
    return next((at_ns for (_, before), (at_ns, _) in pairwise(leases) if before == turn_id), None)


def _is_mistaken_for_dead(world: "World", turn_id: str) -> bool:
    """Whether a reader ended the lease of a turn that ran on: the store was away for longer than a lease lasts."""
    if (declared_ns := world.history.declared_dead.get(turn_id)) is None:
        return False
    send = next((send for send in world.history.sends if turn_id in send.turn_ids), None)
    runs = [run for run in world.vendor.runs if send is not None and run.send == send.number]
    return any(
        run.machine is not None and (run.machine.died_ns is None or run.machine.died_ns > declared_ns) for run in runs
    )


def regenerated(world: "World", thread_id: str, items: Items) -> Broken:
    """No earlier answer is below a message that was answered again or edited. In bad weather a write may come late."""
    ids = [item["id"] for item in items]
    for retry in world.history.sends_of(thread_id):
        if retry.kind not in ("retry", "edit") or retry.outcome != "whole" or retry.retried_item not in ids:
            continue
        assert retry.ended_ns is not None
        is_answered = any(texts_of(stream.events) for stream in retry.streams)
        is_good = not world.is_bad(retry.began_ns, retry.ended_ns) and not world.slack_s(retry.began_ns, retry.ended_ns)
        for item in items[ids.index(retry.retried_item) + 1 :] if is_answered and is_good else []:
            run = run_of(world, item)
            if run is not None and run.began_ns < retry.began_ns:
                yield "regenerate-replaces", f"{thread_id} still has {item['id']} of model {run.number}"


def run_of(world: "World", item: dict[str, Any]) -> "ModelRun | None":
    """The request to the model that an answer begins with."""
    match = WORD.match(text_of(item)) if item["type"] == "assistant_message" else None
    return world.vendor.runs[int(match[1])] if match is not None else None


def beginnings(world: "World") -> Broken:
    """A turn begins soon, with a store that works."""
    deployment = world.deployment
    for send in world.history.sends:
        if send.waited is None:
            continue
        sent_ns, begun_ns, machine = send.waited
        within_s = BEGINS_WITHIN_S + 1.5 * deployment.cold_s + 2 * ROUND_TRIPS * deployment.latency_s
        due_ns = world.due_ns(sent_ns, machine, within_s=within_s)
        if begun_ns > due_ns and not world.is_bad(sent_ns, begun_ns):
            waited_s, allowed_s = (begun_ns - sent_ns) / SECOND, (due_ns - sent_ns) / SECOND
            yield "turns-begin-soon", f"m{send.number} began after {waited_s:.1f} s, not {allowed_s:.1f} s"


def was_storable(world: "World", send: "Send", run: "ModelRun", end_ns: int) -> bool:
    """Whether the process of an answer that ended while the store failed could still store it.

    It lived, had time and its thread until well after the store worked again.
    """
    due_ns, until_ns = (end_ns + round(seconds * SECOND) for seconds in (STORED_AGAIN_S, GIVES_UP_S))
    has_lived = run.machine is not None and (run.machine.died_ns is None or run.machine.died_ns > until_ns)
    has_time = until_ns - send.began_ns < world.deployment.timeout_s * SECOND
    has_thread = not any(
        run.began_ns <= at_ns <= until_ns and turn_id not in send.turn_ids
        for at_ns, turn_id in world.history.leases.get(send.thread_id or "", [])
    ) and not any(turn_id in world.history.declared_dead for turn_id in send.turn_ids)
    return has_lived and has_time and has_thread and world.clears_up(end_ns, due_ns, until_ns)


def has_turns(world: "World", refused: "Send") -> bool:
    """Whether the writer of a refused message has a turn that runs, that may, or that ended a moment ago."""
    now_ns = world.trace.now_ns
    died_after_ns, ended_after_ns = now_ns - DEAD_AFTER_S * SECOND, now_ns - SETTLED_AFTER_S * SECOND
    for send in world.history.sends:
        if send.person != refused.person or (send is refused and send.attempts == 1):
            continue
        is_over = send.outcome in ("whole", "refused") and (send.ended_ns or now_ns) < ended_after_ns
        runs = [run for run in world.vendor.runs if run.send == send.number]
        if send.began_ns > died_after_ns and not is_over:
            return True
        for run in runs:
            died_ns = 0 if run.machine is None else run.machine.died_ns or 0
            if run.is_running or (run.ended_ns or 0) > ended_after_ns or (not run.ended and died_ns > died_after_ns):
                return True
    return False
