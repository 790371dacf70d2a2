"""The promises of the pages about turns and stores that a simulation checks, each with its name."""

import re
from collections import Counter, defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from chatkit.types import ThreadStreamEvent
from pydantic import TypeAdapter, ValidationError

from lambda_src.quotas.turn_quota import USER_TOKENS
from lambda_src.store import keys
from lambda_src.store.counters import day_of
from lambda_src.store.usage import STAGE_TOKENS
from tests.simulation import comparisons
from tests.simulation.comparisons import WORD, Broken
from tests.simulation.history import text_of
from tests.simulation.sources import SECOND

if TYPE_CHECKING:
    from tests.simulation.history import Send, Stream
    from tests.simulation.model import ModelRun
    from tests.simulation.world import World

PROMISES = {
    "messages-are-kept": "A message whose stream began stays in its thread, unless a delete or Regenerate removes it.",
    "messages-are-not-doubled": "A message with an idempotency key is stored once, however often it is sent.",
    "duplicates-cost-nothing": "A message with an idempotency key is answered by the model once.",
    "approvals-hold": "A tool that needs approval runs only when the user allows it, and only once.",
    "answers-are-prefixes": "A stored answer is a prefix of what the model wrote, and agrees with what its client got.",
    "words-are-kept": "What a client saw or a turn journaled is stored; after a crash, all but the last second.",
    "turns-are-in-order": "Each answer follows its message, and messages are in the order in which they were sent.",
    "regenerate-replaces": "No earlier answer stays below a message that is answered again or edited.",
    "one-writer": "A turn stops within three seconds after another one has taken its thread.",
    "stop-stops": "Two seconds after a Stop was confirmed, the model no longer writes.",
    "streams-are-valid": "Every event is one of ChatKit's; a stream leaves no item open, or ends with a notice.",
    "followers-see-the-same": "A stream that follows a turn to its end gets the same events as the first stream.",
    "isolation": "No user, and no model for a user, gets a byte that another user or their model wrote.",
    "deleted-stays-gone": "A deleted thread cannot be listed or loaded, and the sweeps remove its rows.",
    "erased-stays-gone": "After an erasure and the sweeps, no row and no object names the user.",
    "renames-are-kept": "A title that the owner chose is kept.",
    "limits-hold": "The turns per day, the running turns and the tokens used never exceed a limit.",
    "limits-are-freed": "No message is refused because of running turns when none is running.",
    "costs-are-counted": "At least as many tokens are counted as the vendor charges.",
    "everyone-is-answered": "Every request gets a response within 30 seconds, and every stream ends.",
    "turns-begin-soon": "While the store works, a stream begins within 4 seconds, plus round trips and the cold start.",
    "no-internal-errors": "No response is a 500, and no error of ours goes unhandled.",
    "threads-stay-usable": "When the faults are over, a message in any thread is answered.",
}  # fmt: skip
MARK = re.compile(r"~([ug]\d+)~")
TOO_MANY = "Too many of your messages are being answered"
WAIT_S = 30.0
STOPPED_WITHIN_S, SUPERSEDED_WITHIN_S = 2.0, 3.0
CRASH_LOSES_S = 1.5  # a journal's second, and the write
EVENT: TypeAdapter[Any] = TypeAdapter(ThreadStreamEvent)


class BrokenPromise(Exception):  # noqa: N818 - it is no error of the simulation
    """A promise that did not hold."""

    def __init__(self, name: str, text: str) -> None:
        assert name in PROMISES, name
        self.name, self.text = name, text
        super().__init__(f"{name}: {text}")


class Watch:
    """Checks all the time that nobody gets what is another's."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def client_bytes(self, person: str, data: bytes) -> None:
        """Bytes that a client has received."""
        self._expect_only(person, data.decode(errors="replace"), "received")

    def model_input(self, run: "ModelRun") -> None:
        """What a model was sent: all of it belongs to the writer of the newest message."""
        if run.send is not None:
            self._expect_only(self._world.history.sends[run.send].person, run.text, f"sent to model {run.number}:")
            self._expect_few(run)

    def _expect_few(self, begun: "ModelRun") -> None:
        """A user has no more running turns than the limit. A store that fails may make a running turn look dead."""
        world, sends = self._world, self._world.history.sends
        limit = world.deployment.running_turns
        if begun.kind == "title" or not limit or world.is_bad(begun.began_ns - 60 * SECOND, begun.began_ns):
            return
        person = sends[begun.send or 0].person
        running = {
            run.send
            for run in world.vendor.runs
            if run.is_running and run.kind != "title" and run.send is not None and sends[run.send].person == person
        }
        if person.startswith("u") and len(running) > limit:
            world.violate("limits-hold", f"{person} has {len(running)} running turns; the limit is {limit}")

    def refused(self, send: "Send", message: str) -> None:
        """A refusal for turns that run, of which at least one does. A store that fails may delay the end of one."""
        world, now_ns = self._world, self._world.trace.now_ns
        is_wrong = TOO_MANY in message and not comparisons.has_turns(world, send)
        if is_wrong and not world.is_bad(now_ns - 60 * SECOND, now_ns):
            world.violate("limits-are-freed", f"m{send.number} was refused, and {send.person} has no running turn")

    def _expect_only(self, person: str, text: str, what: str) -> None:
        owners = self._world.history.owners(person)
        if foreign := set(MARK.findall(text)) - owners:
            self._world.violate("isolation", f"{person} {what} a text of {foreign}")
        runs, sends = self._world.vendor.runs, self._world.history.sends
        for number in set(map(int, WORD.findall(text))):
            send = runs[number].send if number < len(runs) else None
            if send is not None and sends[send].person not in owners:
                self._world.violate("isolation", f"{person} {what} an answer to {sends[send].person}")


def check(world: "World", threads: dict[str, dict[str, list[dict[str, Any]]]]) -> None:
    """Check everything that can be seen from outside, after all is quiet. `threads` are each person's, with items."""
    for name, text in _violations(world, threads):
        raise BrokenPromise(name, text)


def _violations(world: "World", threads: dict[str, dict[str, list[dict[str, Any]]]]) -> Broken:
    yield from _internal(world)
    yield from _streams(world)
    yield from _followers(world)
    yield from comparisons.readers(world)
    yield from comparisons.journals(world, threads)
    yield from comparisons.beginnings(world)
    yield from _waits(world)
    for person, own in threads.items():
        for thread_id, items in own.items():
            yield from _deleted(world, thread_id)
            yield from _items(world, person, thread_id, items)
            yield from comparisons.regenerated(world, thread_id, items)
    for name in (person.name for person in world.people if person.name not in world.history.erasing):
        owners = {name, world.history.linked.get(name, name)}
        visible = {key: items for owner in owners for key, items in threads.get(owner, {}).items()}
        yield from _messages(world, name, visible)
    yield from _runs(world)
    yield from _approvals(world)
    yield from _limits(world)


def _internal(world: "World") -> Broken:
    for problem in world.loop.problems:
        yield "no-internal-errors", problem
    for send in world.history.sends:
        if 500 in send.statuses:
            yield "no-internal-errors", f"m{send.number} was answered with 500"


def _streams(world: "World") -> Broken:
    for stream in world.history.streams:
        open_items: set[str] = set()
        for event in stream.events:
            try:
                EVENT.validate_python(event)
            except ValidationError as error:
                yield "streams-are-valid", f"{stream.turn_id}: {event['type']}: {error.errors()[0]['msg']}"
            match event["type"]:
                case "thread.item.added" if not world.history.may_be_gone(event["item"]["thread_id"]):
                    open_items.add(event["item"]["id"])
                case "thread.item.done" | "thread.item.replaced":
                    open_items.discard(event["item"]["id"])
                case "thread.item.removed":
                    open_items.discard(event["item_id"])
        ends_with_notice = bool(stream.events) and stream.events[-1]["type"] == "notice"
        if stream.is_whole and not stream.seen and open_items and not stream.errors and not ends_with_notice:
            yield "streams-are-valid", f"{stream.turn_id} ended with open items {sorted(open_items)}"


def _followers(world: "World") -> Broken:
    """The streams of one turn that no other turn ended, from the first event to the last."""
    of_turn: dict[str, list[Stream]] = defaultdict(list)
    for stream in world.history.streams:
        if stream.is_whole and not stream.seen and not stream.errors:
            of_turn[stream.turn_id].append(stream)
    for send in world.history.sends:
        if not send.streams or world.history.may_be_gone(send.thread_id or ""):
            continue
        first = send.streams[0]
        lost = [at for at, turn in world.history.leases.get(send.thread_id or "", []) if turn != first.turn_id]
        if not first.is_whole or any(first.began_ns < at < first.last_ns for at in lost):
            continue
        for stream in of_turn[first.turn_id]:
            is_cut = stream.events[-1:] and stream.events[-1]["type"] == "notice"
            if stream.events != first.events and not is_cut and not world.is_bad(first.began_ns, stream.last_ns):
                seen, all_of_it = len(stream.events), len(first.events)
                yield "followers-see-the-same", f"{stream.turn_id}: a follower got {seen} of {all_of_it} events"


def _waits(world: "World") -> Broken:
    for request, seconds in world.history.waits:
        if seconds > WAIT_S:
            yield "everyone-is-answered", f"{request} was answered after {seconds:.1f} s"


def _deleted(world: "World", thread_id: str) -> Broken:
    for deletion in world.history.deletions:
        if deletion.thread_id == thread_id and deletion.acked_ns is not None:
            yield "deleted-stays-gone", f"{thread_id} was deleted and is listed"


def _items(world: "World", person: str, thread_id: str, items: list[dict[str, Any]]) -> Broken:
    """The items of one thread."""
    sends, runs = world.history.sends, world.vendor.runs
    ids = Counter(item["id"] for item in items)
    if twice := [item_id for item_id, count in ids.items() if count > 1]:
        yield "messages-are-not-doubled", f"{thread_id} has {twice} twice"
    written = Counter(text_of(item) for item in items if item["type"] == "user_message")
    by_text = {send.text: send for send in sends if send.text}
    for text, count in written.items():
        if count > 1 and len(by_text[text].names) == 1:
            yield "messages-are-not-doubled", f"{thread_id} has m{by_text[text].number} {count} times"
    newest: Send | None = None
    order: list[Send] = []
    for item in items:
        if item["type"] == "user_message":
            newest = by_text[text_of(item)]
            order.append(newest)
        elif item["type"] == "assistant_message" and (text := text_of(item)):
            match = WORD.match(text)
            if match is None:
                continue
            run = runs[int(match[1])]
            if not run.output.startswith(text):
                yield "answers-are-prefixes", f"{thread_id} {item['id']} has words that model {run.number} never sent"
            if newest is None or run.send != newest.number:
                yield (
                    "turns-are-in-order",
                    f"{thread_id}: the answer to m{run.send} follows m{newest and newest.number}",
                )
    for place, later in enumerate(order):
        for earlier in order[place + 1 :]:
            if earlier.acked_ns is not None and earlier.acked_ns < later.began_ns:
                yield "turns-are-in-order", f"{thread_id}: m{later.number} is before m{earlier.number}"
    stored = {item["id"]: text_of(item) for item in items}
    for stream in world.history.streams:
        yield from _shown(world, stream, thread_id, stored)


def _shown(world: "World", stream: "Stream", thread_id: str, stored: dict[str, str]) -> Broken:
    """What one stream has shown as the whole answer is stored."""
    if world.history.may_be_removed(thread_id):
        return
    for event in stream.events:
        match event:
            case {
                "type": "thread.item.done",
                "item": {"type": "assistant_message", "id": item_id, "thread_id": of} as item,
            } if of == thread_id and stored.get(item_id) != text_of(item):
                yield (
                    "answers-are-prefixes",
                    f"{thread_id} {item_id} was done with {text_of(item)!r}, and has {stored.get(item_id)!r}",
                )
            case _:
                pass


def _messages(world: "World", person: str, threads: dict[str, list[dict[str, Any]]]) -> Broken:
    """What was acknowledged is there."""
    ids = {item["id"] for items in threads.values() for item in items}
    for send in world.history.sends:
        if send.person != person or send.acked_ns is None or not send.is_message:
            continue
        assert send.thread_id is not None
        if world.history.may_be_gone(send.thread_id) or world.history.may_be_removed(send.thread_id):
            continue
        if send.thread_id not in threads:
            yield "messages-are-kept", f"the thread of m{send.number} is gone"
        elif send.item_id not in ids:
            yield "messages-are-kept", f"m{send.number} is gone from {send.thread_id}"
        yield from _words(world, send, threads.get(send.thread_id, []))


def _words(world: "World", send: "Send", items: list[dict[str, Any]]) -> Broken:
    """The words that a client saw are kept."""
    stored = {item["id"]: text_of(item) for item in items}
    for stream in send.streams:
        shown: dict[str, str] = defaultdict(str)
        for event in stream.events:
            match event:
                case {"type": "thread.item.updated", "item_id": item_id, "update": {"delta": delta}}:
                    shown[item_id] += delta
                case {"type": "thread.item.removed", "item_id": item_id}:
                    shown.pop(item_id, None)
                case _:
                    pass
        for item_id, text in shown.items():
            if stream.seen or not text.strip():
                continue
            kept = stored.get(item_id, "")
            if kept.startswith(text):
                continue
            if not text.startswith(kept):
                yield "answers-are-prefixes", f"{item_id} of m{send.number} was shown as {text!r}, and has {kept!r}"
            lost = text[len(kept) :]
            yield from _lost(world, send, stream, item_id, lost)


def _lost(world: "World", send: "Send", stream: "Stream", item_id: str, lost: str) -> Broken:
    """A crash may cost the last second; bad weather may cost a little more."""
    match = WORD.search(lost)
    if match is None:
        return
    run = world.vendor.runs[int(match[1])]
    first_ns = next((at for at, word in run.words if word.strip() == match[0]), None)
    died_ns = None if run.machine is None else run.machine.died_ns
    end_ns = run.ended_ns or died_ns or run.words[-1][0]
    if world.is_bad(run.began_ns, end_ns) and not comparisons.was_storable(world, send, run, end_ns):
        return
    allowed_s = CRASH_LOSES_S + 4 * world.deployment.latency_s * 3 + world.slack_s(run.began_ns, end_ns)
    if first_ns is not None and end_ns - first_ns > allowed_s * SECOND:
        yield (
            "words-are-kept",
            f"{item_id} of m{send.number} lost {lost!r}, said {(end_ns - first_ns) / SECOND:.2f} s before the end",
        )


def _runs(world: "World") -> Broken:
    """Models that had to stop have stopped."""
    slack_s = 8 * world.deployment.latency_s * 3
    by_send: dict[int, list[ModelRun]] = defaultdict(list)
    for run in world.vendor.runs:
        if run.send is not None and run.kind != "title":
            by_send[run.send].append(run)
    for send in world.history.sends:
        if send.stopped_ns is None or not send.is_message or world.history.is_continued(send.thread_id or ""):
            continue
        due_ns = send.stopped_ns + round((STOPPED_WITHIN_S + slack_s) * SECOND)
        due_ns += round(world.slack_s(send.stopped_ns, due_ns) * SECOND)
        for run in by_send[send.number]:
            if run.began_ns > due_ns and not world.is_bad(send.stopped_ns, run.began_ns):
                yield "stop-stops", f"m{send.number} was stopped, and then model {run.number} began"
            late = [at for at, _ in run.words if at > max(due_ns, run.began_ns)]
            if late and not world.is_bad(send.stopped_ns, late[0]):
                after_s = (late[0] - send.stopped_ns) / SECOND
                yield "stop-stops", f"model {run.number} wrote {after_s:.2f} s after the stop of m{send.number}"

    yield from _superseded(world, by_send, slack_s)
    for send in world.history.sends:
        answers = [run.number for run in by_send[send.number] if run.kind == "answer"]
        if len(answers) > 1 and len(send.names) == 1 and not world.history.is_continued(send.thread_id or ""):
            yield "duplicates-cost-nothing", f"m{send.number} was answered by the models {answers}"


def _approvals(world: "World") -> Broken:
    for number, count in world.vendor.approved.items():
        thread_id = world.history.sends[number].thread_id or ""
        forms = sum(send.kind == "form" for send in world.history.sends_of(thread_id))
        if not forms:
            yield "approvals-hold", f"the tool ran for m{number}, which nobody allowed"
        if count > 1 and not world.history.may_be_removed(thread_id):
            yield "approvals-hold", f"the tool ran {count} times for m{number}"


def _superseded(world: "World", by_send: dict[int, list["ModelRun"]], slack_s: float) -> Broken:
    """Models of turns that lost their thread to another turn have stopped."""
    send_of = {turn_id: send for send in world.history.sends for turn_id in send.turn_ids}
    for thread_id, leases in world.history.leases.items():
        if world.history.is_continued(thread_id):
            continue
        for (_, turn_id), (lost_ns, _) in pairwise(leases):
            if (send := send_of.get(turn_id)) is None or len(send.turn_ids) > 1:
                continue
            due_ns = lost_ns + round((SUPERSEDED_WITHIN_S + slack_s) * SECOND)
            due_ns += round(world.slack_s(lost_ns, due_ns) * SECOND)
            for run in by_send[send.number]:
                late = [at for at, _ in run.words if at > due_ns]
                if late and not world.is_bad(lost_ns, late[0]):
                    after_s = (late[0] - lost_ns) / SECOND
                    yield (
                        "one-writer",
                        f"model {run.number} wrote {after_s:.2f} s after m{send.number} lost {thread_id}",
                    )


def _limits(world: "World") -> Broken:
    deployment = world.deployment
    tokens: Counter[tuple[str, int]] = Counter()
    for run in world.vendor.runs:
        if run.send is not None:
            tokens[world.history.sends[run.send].person, day_of(run.began_ns)] += run.tokens
        tokens["", day_of(run.began_ns)] += run.tokens
    if deployment.starts_before_midnight_s is not None:
        return
    turns = Counter(
        world.history.sends[send].person
        for send in {run.send for run in world.vendor.runs if run.kind != "title"}
        if send is not None
    )
    if limit := deployment.messages_per_day:
        for person, count in turns.items():
            if person.startswith("u") and count > limit:
                yield "limits-hold", f"{person} had {count} turns on a day; the limit is {limit}"
    if ceiling := deployment.stage_tokens_per_day:
        counted = world.counted(STAGE_TOKENS, None)
        for (person, day), used in tokens.items():
            if person == "" and used > ceiling:
                yield "limits-hold", f"the vendor charged {used} tokens on day {day}; the limit is {ceiling}"
            if person == "" and used > counted:
                yield "costs-are-counted", f"the vendor charged {used} tokens, and {counted} are counted"
    if ceiling := deployment.tokens_per_day:
        for (person, day), used in tokens.items():
            if person.startswith("u") and used > ceiling:
                yield "limits-hold", f"{person} used {used} tokens on day {day}; the limit is {ceiling}"
            if (
                person.startswith("u")
                and person not in world.history.erasing
                and used > world.counted(USER_TOKENS, person)
            ):
                yield (
                    "costs-are-counted",
                    f"{person} used {used} tokens, and {world.counted(USER_TOKENS, person)} are counted",
                )


def check_last(world: "World", send: "Send") -> None:
    """A message that was sent when all was quiet is answered; or refused by a limit."""
    if send.outcome == "refused" and 429 in send.statuses:
        return
    if send.outcome != "whole" or not send.streams:
        raise BrokenPromise(
            "threads-stay-usable", f"{send.thread_id}: the last message ended as {send.outcome} {send.statuses}"
        )
    kinds = [event["type"] for event in send.streams[-1].events]
    answers = [
        event for event in send.streams[-1].events
        if event["type"] == "thread.item.done" and event["item"]["type"] == "assistant_message"
    ]  # fmt: skip
    may_run_out = world.deployment.tokens_per_day or world.deployment.stage_tokens_per_day
    if not answers and not ("error" in kinds and may_run_out):
        raise BrokenPromise("threads-stay-usable", f"{send.thread_id}: the last message got no answer, but {kinds}")


def check_rows(world: "World") -> None:
    """After the sweeps, nothing names what was deleted or erased."""
    rows = list(world.aws.engine.rows)
    objects = list(world.aws.objects.kept)
    for deletion in world.history.deletions:
        if deletion.acked_ns is None:
            continue
        for partition, sort in rows:
            _, thread_id = keys.owner_of(partition)
            is_own = thread_id == deletion.thread_id or sort == keys.thread_sort(deletion.thread_id)
            if is_own:
                raise BrokenPromise("deleted-stays-gone", f"the row {partition}|{sort} is left")
        for key in objects:
            if f"/{deletion.thread_id}/" in key:
                raise BrokenPromise("deleted-stays-gone", f"the object {key} is left")
    for person in world.people:
        if person.name in world.history.erased:
            user_id = world.user_id(person)
            began_ns = world.history.erasing[person.name]
            own = {
                send.thread_id
                for send in world.history.sends
                if send.person == person.name and send.acked_ns is not None and send.acked_ns < began_ns
            }
            for partition, sort in rows:
                _, thread_id = keys.owner_of(partition)
                if user_id in partition and (thread_id or sort.removeprefix(keys.THREAD_PREFIX)) in own:
                    raise BrokenPromise("erased-stays-gone", f"the row {partition}|{sort} is left")


def listed() -> str:
    """The promises, one a line."""
    return "\n".join(f"{name}: {text}" for name, text in PROMISES.items())
