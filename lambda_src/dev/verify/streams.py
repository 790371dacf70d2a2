"""Rows about turns: that words come as they are said, that Stop, a second request and a reload find the turn."""

import asyncio
import contextlib
import statistics
import uuid
from itertools import pairwise

import httpx2

from lambda_src.dev.verify.deployment import SILENCE_S, Deployment, Stream, begun, whole
from lambda_src.dev.verify.row import Row, judged, not_seen, seen

ENOUGH = 10  # pieces of an answer, to say anything about their pace
FEW = 5  # pieces, after which something happens to the turn
ALONE = 0.75  # of the pieces, that come without another one where nothing holds them back
SPREAD = 0.5  # of a turn's time, that its pieces must be spread over: a buffering front gives all of them at the end
STOP_S = 5.0  # from Stop to the stream's end: the model's socket closes within 1.5 s, and a cold start may come first
AFTERWARDS_S = 1.0  # how often a turn that was left is looked at
LEFT_S = 60.0  # how long it may go on


async def deltas(deployment: Deployment) -> list[Row]:
    """The answer comes while it is being written; how many events come in one piece; nothing compresses it."""
    person = await deployment.person()
    async with person.turn(deployment.prompt) as turn:
        stream = await whole(turn)
    came = [at for at, _ in stream.deltas]
    if len(came) < ENOUGH:
        raise ValueError(f"the answer had {len(came)} pieces: ask for a longer one with PROMPT=")
    share = (came[-1] - came[0]) / stream.came_s[-1]
    gaps_ms = [1000 * (later - earlier) for earlier, later in pairwise(came)]
    alone = len(set(came)) / len(came)
    figures = {
        "first_event_ms": round(1000 * stream.came_s[0]),
        "first_delta_ms": round(1000 * came[0]),
        "pieces": len(came),
        "gap_p50_ms": round(statistics.median(gaps_ms)),
        "gap_max_ms": round(max(gaps_ms)),
    }
    told = f"{len(came)} pieces over {came[-1] - came[0]:.1f} of {stream.came_s[-1]:.1f} s"
    held = "small chunks are held back" if alone < ALONE else "small chunks are not held back"
    return [
        judged("deltas", share >= SPREAD, told, **figures),
        seen("small chunks", f"{round(100 * alone)} % of the pieces came alone: {held}", reads=stream.reads),
        _headers(stream),
    ]


def _headers(stream: Stream) -> Row:
    wrong = []
    if not stream.headers.get("content-type", "").startswith("text/event-stream"):
        wrong.append(f"content-type is {stream.headers.get('content-type')}")
    if "content-encoding" in stream.headers:
        wrong.append(f"it is compressed, {stream.headers['content-encoding']}: events wait for each other")
    wrong += [f"{name} is missing" for name in ("x-chat-turn", "x-request-id") if name not in stream.headers]
    return judged("headers of a stream", not wrong, "; ".join(wrong) or "as sent; nothing compresses")


async def stop(deployment: Deployment) -> Row:
    """Stop, sent to another invocation, ends the turn, and what was said is kept."""
    person = await deployment.person()
    async with person.turn(deployment.prompt) as turn:
        stream = await begun(turn, pieces=FEW)
        asked_s = deployment.now()
        answer = await person.stop(stream.turn_id)
        await whole(turn)
        took_s = deployment.now() - asked_s
    kept = [item for item in await person.items(stream.thread_id) if item["type"] == "assistant_message"]
    text = "".join(part["text"] for part in kept[-1]["content"]) if kept else ""
    wrong = [
        sentence
        for sentence, true in {
            f"Stop was answered {answer.status_code}, {answer.text}": answer.text != '{"stopped":true}',
            "Stop reached the invocation that ran the turn": answer.headers.get("x-request-id") == stream.request_id,
            f"the stream went on for {took_s:.1f} s": took_s > STOP_S,
            "what is kept is not what was said": text != stream.text,
        }.items()
        if true
    ]
    told = f"another invocation stopped it, {took_s:.1f} s later it ended; {len(text)} characters are kept"
    return judged("Stop", not wrong, "; ".join(wrong) or told, ended_after_ms=round(1000 * took_s))


async def duplicate(deployment: Deployment) -> Row:
    """The same request twice is one turn: the second follows the first."""
    person = await deployment.person()
    named = uuid.uuid4().hex

    async def one() -> Stream:
        async with person.turn(deployment.prompt, named=named) as turn:
            return await whole(turn)

    first, second = await asyncio.gather(one(), one())
    threads = (await person.ask("threads.list", limit=20)).json()["data"]
    mine = [thread for thread in threads if thread["id"] in (first.thread_id, second.thread_id)]
    same = first.text == second.text != "" and len(mine) == 1
    invocations = "two invocations" if first.request_id != second.request_id else "one invocation"
    return judged("duplicate", same, f"{len(mine)} thread, {'the same' if same else 'another'} answer, {invocations}")


async def resume(deployment: Deployment) -> list[Row]:
    """Who reloads gets the rest, no event twice and none left out; and the turn went on while nobody listened."""
    person = await deployment.person()
    async with person.turn(deployment.prompt) as turn:
        stream = await begun(turn, pieces=FEW)
    seen_id = stream.ids[-1]
    async with person.resumed(stream.turn_id, after=seen_id) as turn:
        rest = await whole(turn)
    wanted = list(range(seen_id + 1, seen_id + 1 + len(rest.ids)))
    text = stream.text + rest.text
    kept = ""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LEFT_S):
            while not kept:
                items = await person.items(stream.thread_id)
                kept = "".join(p["text"] for i in items if i["type"] == "assistant_message" for p in i["content"])
                if not kept:
                    await deployment.wait(AFTERWARDS_S)
    good = rest.ids == wanted != [] and kept == text
    told = f"{len(stream.ids)} events, then a cut, then the {len(rest.ids)} that followed"
    left = f"the client left, and the turn {'ran to its end' if kept == text else 'ended short'}"
    return [
        judged("resume", good, told if good else f"{told}; they are not the whole"),
        seen("a client that leaves", left),
    ]


async def deadline(deployment: Deployment) -> Row:
    """Before the time-out the answer is kept and the stream ends well."""
    if deployment.deadline_s is None:
        return not_seen("deadline", "needs a turn longer than the time-out: TIMEOUT=30 PROMPT='a very long answer'")
    person = await deployment.person()
    async with person.turn(deployment.prompt) as turn:
        stream = await asyncio.wait_for(whole(turn), deployment.deadline_s + SILENCE_S)
    ended_s, last = stream.came_s[-1], stream.kinds[-1]
    kept = await person.items(stream.thread_id)
    text = "".join(p["text"] for i in kept if i["type"] == "assistant_message" for p in i["content"])
    if "notice" not in stream.kinds:
        return judged("deadline", False, f"the turn ended by itself after {ended_s:.1f} s: PROMPT= must ask for more")
    good = last == "notice" and text == stream.text and ended_s < deployment.deadline_s
    told = f"cut at {ended_s:.1f} of {deployment.deadline_s:g} s, {len(text)} characters kept, the last event a {last}"
    return judged("deadline", good, told, cut_after_s=round(ended_s, 1))


async def thaw(deployment: Deployment) -> Row:
    """What was frozen answers: Lambda freezes an environment as soon as it is idle, with its sockets."""
    person = await deployment.person()
    await person.ask("threads.list", limit=1)
    await deployment.wait(AFTERWARDS_S)
    began_s = deployment.now()
    answer = await person.ask("threads.list", limit=1)
    took_ms = round(1000 * (deployment.now() - began_s))
    told = f"answered {answer.status_code} in {took_ms} ms after a second of nothing"
    return judged("freeze and thaw", answer.status_code == httpx2.codes.OK, told)


ROWS = (deltas, stop, duplicate, resume, deadline, thaw)
