"""`chat cases`: makes cases for `make eval` from answers that users rated, without e-mail addresses and numbers."""

import json
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lambda_src.cli.console import one_sentence, progress, report, run_it
from lambda_src.cli.options import Place
from lambda_src.cli.places import IsLocal, StageName, placed
from lambda_src.cli.secrets import command as secret
from lambda_src.errors import RequestError

if TYPE_CHECKING:
    from chatkit.types import FeedbackKind, ThreadItem

    from lambda_src.cli.stores import AdminStore

CASES = Path(".local/cases.jsonl")  # git-ignored: it has what people wrote
PLACE = "TODO: words that a right answer contains"
NO_ANSWER = "(no answer)"
MOST_ITEMS = 40  # before the rated answer: as many as the model is sent by default
EMAIL_OR_NUMBER = re.compile(r"[^\s@<>\"'(),;:]+@[^\s@<>\"'(),;:]+\.[^\W\d_]+|\d{2,}")
# A label in the user's language and a fenced block, as lambda_src/runs/tool_details.py writes them: the arguments of a
# tool call, then its result.
BLOCK = re.compile(r"(?:^|\n\n)[^\n]+\n\n(`{3,})\n(.*?)\n\1(?=\n\n|$)", re.DOTALL)


class Feedback(StrEnum):
    """Which thumbs."""

    negative = "negative"
    positive = "positive"


def cases(
    context: typer.Context,
    feedback: Annotated[Feedback, typer.Option(help="Make cases from these thumbs.")] = Feedback.negative,
    since: Annotated[str, typer.Option(help="How old a rated answer may be, such as 7d.")] = "7d",
    output: Annotated[Path, typer.Option(help="The file to write.")] = CASES,
    stage: StageName = None,
    local: IsLocal = False,
    cdk_json: secret.CdkJson = secret.CDK_JSON,
) -> None:
    """Write cases for `make eval` from rated answers. Reads every row of the table.

    A case has the conversation up to the answer, which must not be given again, and a place for what would have been
    right.
    """
    where: Place = context.obj
    is_bad = feedback is Feedback.negative
    with one_sentence(where):
        oldest = datetime.now(UTC) - _days(since)
        where = placed(where, stage=stage, local=local, cdk_json=cdk_json)

    async def run() -> tuple[list[dict[str, Any]], int]:
        from lambda_src.cli.stores import opened

        made: list[tuple[datetime, dict[str, Any]]] = []
        others = 0
        async with opened(where) as store:
            with progress("rated answers read") as step:
                async for user_id, items in _rated(store, "negative" if is_bad else "positive"):
                    answered = _time(items[-1])
                    if answered >= oldest:
                        case = case_of(items, assistant=user_id.partition(".")[2], is_bad=is_bad)
                        others += case is None
                        made += [] if case is None else [(answered, case)]
                    step()
        return [case for _, case in sorted(made, key=lambda pair: pair[0])], others

    written, others = run_it(run(), where)
    with one_sentence(where):
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text("".join(json.dumps(case, ensure_ascii=False) + "\n" for case in written), encoding="utf-8")
    left_out = f" {others} rated items are no answers to a message, and were left out." if others else ""
    report(f"{len(written)} cases in {output}.{left_out} Run them with: make eval CASES={output}")


async def _rated(store: "AdminStore", feedback: "FeedbackKind") -> "AsyncIterator[tuple[str, Sequence[ThreadItem]]]":
    """The user of each rated item, and the items of its thread up to it."""
    from chatkit.store import NotFoundError

    from lambda_src.cli.stores import as_user

    async for rated in store.rated(feedback):
        try:
            item = await store.load_item(rated.thread_id, rated.row_id, as_user(rated.user_id))
            before = await store.load_thread_items(
                rated.thread_id, rated.row_id, MOST_ITEMS, "desc", as_user(rated.user_id)
            )
        except NotFoundError:
            continue  # deleted, or expired
        yield rated.user_id, [*reversed(before.data), item]


def case_of(items: "Sequence[ThreadItem]", *, assistant: str, is_bad: bool) -> dict[str, Any] | None:
    """A case that fails if the last item's text is the answer again (or, unless it `is_bad`, if it is not).

    None if the last item is no answer to a message.
    """
    from chatkit.types import AssistantMessageItem, UserMessageItem

    redacted = Redaction()
    turns: list[_Turn] = []
    for item in items:
        if isinstance(item, UserMessageItem):
            turns.append(_Turn(redacted(_words(item.content))))
        elif turns:
            turns[-1].add(item, redacted)
    answer = items[-1]
    if not turns or not isinstance(answer, AssistantMessageItem) or not turns[-1].texts:
        return None
    text = redacted(_words(answer.content))
    expected: dict[str, Any] = {"lacks": [text], "contains": [PLACE]} if is_bad else {"contains": [text]}
    return {
        "name": f"{'thumbs-down' if is_bad else 'thumbs-up'} {_time(answer):%Y-%m-%d} {answer.id[-8:]}",
        **({"assistant": assistant} if assistant else {}),
        "say": [turn.said for turn in turns],
        "script": [step for turn in turns for step in turn.script()],
        **expected,
    }


@dataclass(slots=True)
class Redaction:
    """Replaces e-mail addresses and numbers of two or more digits by others of the same form, a repeated one by the
    same.
    """

    _replaced: dict[str, str] = field(default_factory=dict)

    def __call__(self, text: str) -> str:
        """`text` with the replacements."""
        return EMAIL_OR_NUMBER.sub(lambda match: self._of(match[0]), text)

    def _of(self, found: str) -> str:
        if found not in self._replaced:
            self._replaced[found] = next(new for new in _like(found) if new not in (found, *self._replaced.values()))
        return self._replaced[found]


def _like(found: str) -> Iterator[str]:
    """Replacements for an address or a number, longer ones once those of its length are used up."""
    if "@" in found:
        yield from (f"person{number}@example.com" for number in range(1, 10**9))
    yield from (str(number) for number in range(10 ** (len(found) - 1), 10 ** (len(found) + 3)))


@dataclass(slots=True)
class _Turn:
    """A message, the tool calls that are stored, and the texts that answered it."""

    said: str
    calls: list[dict[str, Any]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def add(self, item: "ThreadItem", redacted: Redaction) -> None:
        from chatkit.types import AssistantMessageItem, WorkflowItem

        match item:
            case AssistantMessageItem(content=content):
                self.texts.append(redacted(_words(content)))
            case WorkflowItem(workflow=workflow):
                self.calls += _calls(workflow.tasks, redacted)
            case _:
                pass

    def script(self) -> list[dict[str, Any]]:
        return [*self.calls, {"says": "\n\n".join(self.texts) or NO_ANSWER}]


def _calls(tasks: Iterable[Any], redacted: Callable[[str], str]) -> Iterator[dict[str, Any]]:
    """The tool calls of an activity that is stored in full, by the titles of the tools."""
    for task in tasks:
        blocks = [redacted(text) for _, text in BLOCK.findall(getattr(task, "content", None) or "")]
        if task.type == "custom" and task.title and blocks:
            step = {"calls": task.title, "arguments": _arguments(blocks[0])}
            yield step | ({"returns": blocks[1]} if len(blocks) > 1 else {})


def _arguments(text: str) -> dict[str, Any]:
    """The arguments in lines of a name and a JSON value. A value that was cut or hidden is left out."""
    arguments: dict[str, Any] = {}
    for line in text.splitlines():
        name, separator, value = line.partition(": ")
        try:
            arguments |= {name: json.loads(value)} if separator else {}
        except ValueError:
            continue
    return arguments


def _words(parts: Iterable[Any]) -> str:
    return " ".join(part.text for part in parts)


def _time(item: "ThreadItem") -> datetime:
    return item.created_at.replace(tzinfo=item.created_at.tzinfo or UTC)


def _days(since: str) -> timedelta:
    match = re.fullmatch(r"(\d{1,4})d", since, re.ASCII)
    if match is None:
        raise RequestError(f"--since takes a number of days such as 7d, not {since!r}.")
    return timedelta(days=int(match[1]))
