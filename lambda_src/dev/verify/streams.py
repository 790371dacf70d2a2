"""Checks of turns: streaming, stop, duplicate requests, resume, deadline, freeze and thaw."""

import asyncio
import contextlib
import statistics
import uuid
from itertools import pairwise

import httpx2

from lambda_src.dev.verify.deployment import SILENCE_S, Deployment, Stream, begun, whole
from lambda_src.dev.verify.row import Row, judged, not_seen, seen

ENOUGH = 10  # pieces of an answer: fewer say nothing about their timing
FEW = 5  # pieces, after which the turn is interrupted
ALONE = 0.75  # share of the pieces that arrive alone if nothing delays small chunks
SPREAD = 0.5  # share of a turn's time over which its pieces must be spread: a buffering front sends all at the end
STOP_S = 5.0  # from Stop to the end of the stream: the model's socket closes within 1.5 s, possibly after a cold start
AFTERWARDS_S = 1.0  # between two requests for the state of a turn without a client
LEFT_S = 60.0  # how long such a turn may continue


async def deltas(deployment: Deployment) -> list[Row]:
    """The answer arrives while it is being written, and is not compressed; how many events arrive in one chunk."""
    person = await deployment.person()
    async with person.turn(deployment.prompt) as turn:
        stream = await whole(turn)
    arrived_s = [at for at, _ in stream.deltas]
    if len(arrived_s) < ENOUGH:
        raise ValueError(f"the answer had {len(arrived_s)} pieces: ask for a longer one with PROMPT=")
    share = (arrived_s[-1] - arrived_s[0]) / stream.arrived_s[-1]
    gaps_ms = [1000 * (later - earlier) for earlier, later in pairwise(arrived_s)]
    alone = len(set(arrived_s)) / len(arrived_s)
    figures = {
        "first_event_ms": round(1000 * stream.arrived_s[0]),
        "first_delta_ms": round(1000 * arrived_s[0]),
        "pieces": len(arrived_s),
        "gap_p50_ms": round(statistics.median(gaps_ms)),
        "gap_max_ms": round(max(gaps_ms)),
    }
    summary = f"{len(arrived_s)} pieces over {arrived_s[-1] - arrived_s[0]:.1f} of {stream.arrived_s[-1]:.1f} s"
    observed = "small chunks are held back" if alone < ALONE else "small chunks are not held back"
    return [
        judged("deltas", share >= SPREAD, summary, **figures),
        seen("small chunks", f"{round(100 * alone)} % of the pieces arrived alone: {observed}", reads=stream.reads),
        _headers(stream),
    ]


def _headers(stream: Stream) -> Row:
    wrong = []
    if not stream.headers.get("content-type", "").startswith("text/event-stream"):
        wrong.append(f"content-type is {stream.headers.get('content-type')}")
    if "content-encoding" in stream.headers:
        wrong.append(f"it is compressed, {stream.headers['content-encoding']}: events wait for each other")
    wrong += [f"{name} is missing" for name in ("x-chat-turn", "x-request-id") if name not in stream.headers]
    return judged("headers of a stream", not wrong, "; ".join(wrong) or "unchanged; not compressed")


async def stop(deployment: Deployment) -> Row:
    """Stop, sent to another invocation, ends the turn, and the partial answer is stored."""
    person = await deployment.person()
    async with person.turn(deployment.prompt) as turn:
        stream = await begun(turn, pieces=FEW)
        stopped_s = deployment.now()
        answer = await person.stop(stream.turn_id)
        await whole(turn)
        took_s = deployment.now() - stopped_s
    answers = [item for item in await person.items(stream.thread_id) if item["type"] == "assistant_message"]
    text = "".join(part["text"] for part in answers[-1]["content"]) if answers else ""
    wrong = [
        sentence
        for sentence, true in {
            f"Stop was answered {answer.status_code}, {answer.text}": answer.text != '{"stopped":true}',
            "Stop reached the invocation that ran the turn": answer.headers.get("x-request-id") == stream.request_id,
            f"the stream continued for {took_s:.1f} s": took_s > STOP_S,
            "the stored answer differs from the streamed one": text != stream.text,
        }.items()
        if true
    ]
    summary = f"another invocation stopped it, {took_s:.1f} s later it ended; {len(text)} characters are stored"
    return judged("Stop", not wrong, "; ".join(wrong) or summary, ended_after_ms=round(1000 * took_s))


async def duplicate(deployment: Deployment) -> Row:
    """The same request twice is one turn: the second follows the first."""
    person = await deployment.person()
    named = uuid.uuid4().hex

    async def send() -> Stream:
        async with person.turn(deployment.prompt, named=named) as turn:
            return await whole(turn)

    first, second = await asyncio.gather(send(), send())
    threads = (await person.ask("threads.list", limit=20)).json()["data"]
    mine = [thread for thread in threads if thread["id"] in (first.thread_id, second.thread_id)]
    same = first.text == second.text != "" and len(mine) == 1
    invocations = "two invocations" if first.request_id != second.request_id else "one invocation"
    return judged("duplicate", same, f"{len(mine)} thread, {'the same' if same else 'another'} answer, {invocations}")


async def resume(deployment: Deployment) -> list[Row]:
    """After a reload the client gets the remaining events, each once; and the turn continues without a client."""
    person = await deployment.person()
    async with person.turn(deployment.prompt) as turn:
        stream = await begun(turn, pieces=FEW)
    seen_id = stream.ids[-1]
    async with person.resumed(stream.turn_id, after=seen_id) as turn:
        rest = await whole(turn)
    expected = list(range(seen_id + 1, seen_id + 1 + len(rest.ids)))
    text = stream.text + rest.text
    stored = ""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LEFT_S):
            while not stored:
                items = await person.items(stream.thread_id)
                stored = "".join(p["text"] for i in items if i["type"] == "assistant_message" for p in i["content"])
                if not stored:
                    await deployment.wait(AFTERWARDS_S)
    good = rest.ids == expected != [] and stored == text
    summary = f"{len(stream.ids)} events, then a cut, then the remaining {len(rest.ids)}"
    left = f"the client left, and the turn {'ran to its end' if stored == text else 'ended early'}"
    return [
        judged("resume", good, summary if good else f"{summary}; the answer is incomplete"),
        seen("a client that leaves", left),
    ]


async def deadline(deployment: Deployment) -> Row:
    """Before the timeout, the partial answer is stored and the stream ends with a notice."""
    if deployment.deadline_s is None:
        return not_seen("deadline", "needs a turn longer than the timeout: TIMEOUT=30 PROMPT='a very long answer'")
    person = await deployment.person()
    async with person.turn(deployment.prompt) as turn:
        stream = await asyncio.wait_for(whole(turn), deployment.deadline_s + SILENCE_S)
    ended_s, last = stream.arrived_s[-1], stream.kinds[-1]
    items = await person.items(stream.thread_id)
    text = "".join(p["text"] for i in items if i["type"] == "assistant_message" for p in i["content"])
    if "notice" not in stream.kinds:
        return judged("deadline", False, f"the turn ended normally after {ended_s:.1f} s: PROMPT= must ask for more")
    good = last == "notice" and text == stream.text and ended_s < deployment.deadline_s
    summary = f"cut at {ended_s:.1f} of {deployment.deadline_s:g} s, {len(text)} characters stored, last event: {last}"
    return judged("deadline", good, summary, cut_after_s=round(ended_s, 1))


async def thaw(deployment: Deployment) -> Row:
    """A frozen environment responds: Lambda freezes an idle environment, including its sockets."""
    person = await deployment.person()
    await person.ask("threads.list", limit=1)
    await deployment.wait(AFTERWARDS_S)
    began_s = deployment.now()
    answer = await person.ask("threads.list", limit=1)
    took_ms = round(1000 * (deployment.now() - began_s))
    summary = f"answered {answer.status_code} in {took_ms} ms after one idle second"
    return judged("freeze and thaw", answer.status_code == httpx2.codes.OK, summary)


ROWS = (deltas, stop, duplicate, resume, deadline, thaw)
