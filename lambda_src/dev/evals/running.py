"""Runs the cases of an evaluation and counts passes, tokens and time. Knows neither the file nor the terminal."""

import asyncio
import re
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from agents import Model
from agents.testing import ScriptedModel

from lambda_src.dev.evals.cases import Calls, Case, Says, listed
from lambda_src.dev.testing import AgentChat, RefusedError, Reply, calls, says

EXCERPT_CHARS = 200  # of an unexpected answer, in a report


@dataclass(slots=True)
class Outcome:
    """The result of a case. `faults` is empty if it passed; `seconds` has the time of each answer."""

    case: Case
    faults: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    tokens_in: int = 0
    tokens_out: int = 0


async def run_all(
    cases: Iterable[Case],
    new_chat: Callable[[str], AgentChat],
    *,
    at_once: int,
    report: Callable[[Outcome], None],
    now: Callable[[], float],
) -> list[Outcome]:
    """Run each case in a new chat with its assistant, `at_once` at a time; return the outcomes in the cases' order.

    Calls `report` when a case is done.
    """
    slots = asyncio.Semaphore(at_once)

    async def run_one(case: Case) -> Outcome:
        async with slots:
            outcome = await run(case, new_chat(case.assistant), now=now)
            report(outcome)
            return outcome

    return list(await asyncio.gather(*(run_one(case) for case in cases)))


async def run(case: Case, chat: AgentChat, *, now: Callable[[], float]) -> Outcome:
    """Send the messages of a case and check the last reply."""
    outcome = Outcome(case)
    script = _script_of(case, chat)
    for text in case.messages:
        began_s = now()
        try:
            reply = await chat.say(text, user=case.user, script=script)
        except RefusedError as refused:
            outcome.faults = [] if case.error and _has(str(refused), case.error) else [str(refused)]
            return outcome
        outcome.seconds.append(now() - began_s)
        outcome.tokens_in += reply.tokens_in or 0
        outcome.tokens_out += reply.tokens_out or 0
        if reply.error is not None:
            break  # the messages that follow make no sense after an error
    outcome.faults = faults_of(case, reply)
    return outcome


def faults_of(case: Case, reply: Reply) -> list[str]:
    """One sentence for each expectation that the reply does not meet."""
    if case.error is not None:
        error = reply.error or ""
        return [] if _has(error, case.error) else [f"expected an error with “{case.error}”, got {error or 'none'!r}"]
    if reply.error is not None:
        cause = f" ({type(reply.cause).__name__}: {reply.cause})" if reply.cause else ""
        return [f"the answer was an error: {reply.error}{cause}"]
    excerpt = reply.text if len(reply.text) <= EXCERPT_CHARS else reply.text[:EXCERPT_CHARS] + "..."
    faults = [f"“{part}” is not in: {excerpt}" for part in listed(case.contains) if not _has(reply.text, part)]
    faults += [f"“{part}” is in: {excerpt}" for part in listed(case.lacks) if _has(reply.text, part)]
    if case.matches is not None and not re.search(case.matches, reply.text, re.IGNORECASE):
        faults.append(f"/{case.matches}/ does not match: {excerpt}")
    ran = ", ".join(reply.tools) or "none"
    faults += [f"tool {name} did not run; these did: {ran}" for name in case.tools or [] if name not in reply.tools]
    faults += [f"tool {name} ran" for name in case.not_tools or [] if name in reply.tools]
    if case.widgets is not None and len(reply.widgets) != case.widgets:
        faults.append(f"expected {case.widgets} widgets, got {len(reply.widgets)}")
    return faults


def summary(outcomes: list[Outcome]) -> str:
    """One line with pass rate, tokens and median latency."""
    passed = sum(not outcome.faults for outcome in outcomes)
    seconds = [second for outcome in outcomes for second in outcome.seconds]
    tokens_in, tokens_out = (sum(getattr(o, name) for o in outcomes) for name in ("tokens_in", "tokens_out"))
    p50 = f"p50 {statistics.median(seconds):.2f} s per answer" if seconds else "no answer"
    rate = f"{passed} of {len(outcomes)} passed ({passed / len(outcomes):.0%})"
    tokens = (
        f"{tokens_in:,} tokens in, {tokens_out:,} out" if tokens_in or tokens_out else "no tokens: scripts answered"
    )
    return f"{rate}, {tokens}, {p50}"


def _script_of(case: Case, chat: AgentChat) -> Model | None:
    """The scripted model of a case, whose steps continue from message to message. Hands recorded results to `chat`."""
    if case.script is None:
        return None
    steps = []
    for step in case.script:
        match step:
            case Says(says=text):
                steps.append(list(says(text)))
            case Calls(calls=called, arguments=arguments, returns=returns):
                tool = chat.tool_named(called)
                steps.append(list(calls(tool, **arguments)))
                if returns is not None:
                    chat.recorded.setdefault(tool, []).append(returns)
    return ScriptedModel(steps)


def _has(text: str, part: str) -> bool:
    return part.casefold() in text.casefold()
