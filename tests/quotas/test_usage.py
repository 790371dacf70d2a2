"""A stage's usage: scripted turns with stops, kills, tools, titles and dictation against the sums that are stored.

`CHAT_USAGE_TURNS=10000` runs as many turns; `make test-usage` does.
"""

import asyncio
import base64
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from random import Random
from typing import Any, cast

import pytest
from agents import Agent, RunConfig, function_tool
from chatkit.types import AudioInput

from lambda_src.composition.app import Parts, build_app
from lambda_src.errors import UnavailableError
from lambda_src.json_settings import QuotaSettings
from lambda_src.models.transcription import Transcript
from lambda_src.runs.assistants import Assistant
from lambda_src.runs.widget_actions import Actions
from lambda_src.settings import Settings
from lambda_src.store.counters import day_of
from lambda_src.store.dynamodb.counters import TableCounters
from lambda_src.store.dynamodb.usage import TableUsage
from lambda_src.store.usage import Source, Usage, used
from tests.apps.chat import Answer, Chat, known_by_name, message
from tests.content_markers import request_body
from tests.fakes.counting_vendor import KILL, MODEL, STOP, TOOL, CountingVendor
from tests.store.dying import KilledError
from tests.store.engine.engine import Engine
from tests.store.local import START, Local

TURNS = int(os.environ.get("CHAT_USAGE_TURNS", "120"))
AT_ONCE = 60  # a stop is noticed after a second: others run meanwhile
SOUND = b"\x1a\x45\xdf\xa3"
TODAY = day_of(START)


@function_tool(name_override=TOOL)
def look_up() -> str:
    """Look something up."""
    return "found"


class Mortal:
    """A client of the table whose process can be killed: then every request raises KilledError."""

    def __init__(self, inner: Any) -> None:
        self._inner, self.is_dead = inner, False

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        def call(**params: Any) -> Any:
            if self.is_dead:
                raise KilledError
            return method(**params)

        return call


class UsageEngine(Engine):
    """A table that counts the requests that name a row of usage."""

    def __init__(self) -> None:
        super().__init__()
        self.usage_writes = 0

    def _begin(self, operation: str, params: Mapping[str, Any]) -> None:
        super()._begin(operation, params)
        self.usage_writes += operation != "Query" and params.get("Key", {}).get("pk", {}).get("S", "")[:6] == "USAGE#"


@dataclass
class Stage:
    """A stage that counts its usage: one table, the vendor, and a process that any number of turns share."""

    settings: Settings = field(default_factory=lambda: Settings(table="table", usage=True))

    def __post_init__(self) -> None:
        self.engine = UsageEngine()
        self.vendor = CountingVendor(self._wait)
        self.chat, _ = self.process()
        self.waiting: dict[str, asyncio.Event] = {}

    def process(self) -> tuple[Chat, Mortal]:
        """A new process."""
        client = Mortal(self.engine)
        store = Local(engine=cast(Engine, client)).store()
        parts = Parts(
            authenticate=known_by_name,
            build_agent=lambda: Agent[Any](name="Test", model=MODEL, tools=[look_up]),
            build_run_config=lambda: RunConfig(model_provider=self.vendor, tracing_disabled=True),
            build_actions=Actions,
            load_assistants=lambda: {"sales": Assistant(lambda: Agent[Any](name="Sales", model=MODEL))},
            transcribe=self._transcribe,
            clock=lambda: START,
        )
        return Chat(build_app(self.settings, store, store.ledger, parts)), client

    async def say(self, text: str, *, chat: Chat | None = None, path: str = "/chatkit") -> Answer:
        """Begin a thread with this message."""
        body = request_body("threads.create", {"input": message(text)})
        return await (chat or self.chat).post(body, path, x_chat_turn=_turn_of(text))

    async def stop(self, text: str) -> None:
        """Say it, and press Stop after the first word."""
        turn = asyncio.create_task(self.say(text))
        await self._begun(text)
        await self.chat.post(b'{"turn_id": "%s"}' % _turn_of(text).encode(), "/chatkit/stop")
        await turn

    async def kill(self, text: str) -> None:
        """Say it in a process of its own, and kill the process after the first word."""
        chat, process = self.process()
        turn = asyncio.create_task(self.say(text, chat=chat))
        await self._begun(text)
        process.is_dead = True
        turn.cancel()
        await asyncio.gather(turn, return_exceptions=True)

    async def dictate(self, label: str, *, chat: Chat | None = None) -> Answer:
        """Send a recording."""
        sound = base64.b64encode(SOUND + label.encode()).decode()
        return await (chat or self.chat)("input.transcribe", audio_base64=sound, mime_type="audio/webm")

    async def sums(self) -> dict[Source, Usage]:
        """Everything that is stored."""
        table = Local(engine=self.engine).store().table
        days = used(TableUsage(table), TableCounters(table), first_day=TODAY, last_day=TODAY)
        return {source: usage async for day in days for source, usage in day.items()}

    async def total(self) -> Usage:
        """The sum of it."""
        return sum((await self.sums()).values(), Usage())

    async def _begun(self, text: str) -> None:
        await self.waiting.setdefault(text, asyncio.Event()).wait()

    async def _wait(self, text: str) -> None:
        self.waiting.setdefault(text, asyncio.Event()).set()

    async def _transcribe(self, audio: AudioInput) -> Transcript:
        label = audio.data.removeprefix(SOUND).decode()
        if "fail" in label:
            self.vendor.uncounted.add(label)
            raise UnavailableError("Dictation is not available at the moment. Try again.")
        if "uncounted" in label:
            self.vendor.uncounted.add(label)
            return Transcript("hello")
        usage = self.vendor.report(label)
        return Transcript("hello", usage.input_tokens, usage.output_tokens)


def _turn_of(text: str) -> str:
    return "turn-" + text.replace(" ", "-").ljust(20, "-")


# A turn that may end while its title is written has none: whether the title was counted by then would be chance.
BEHAVIORS = (
    "plain", "plain", "plain", "tool", "tool without title", "uncounted", "fail without title",
    "fail after a tool without title", f"{STOP} without title", f"{STOP} after a tool without title",
    KILL, f"{KILL} after a tool", "dictation", "dictation uncounted", "dictation fail",
)  # fmt: skip


async def run(stage: Stage, label: str) -> None:
    """Let the turn, or the dictation, take its course."""
    match label.split()[0]:
        case "stop":
            await stage.stop(label)
        case "kill":
            await stage.kill(label)
        case "dictation":
            await stage.dictate(label)
        case _:
            await stage.say(label)


@pytest.mark.timeout(0 if TURNS > 1_000 else 120)
async def test_settled_sums_equal_the_vendors_count_and_everything_else_is_unsettled() -> None:
    stage, random = Stage(), Random(7)
    labels = [f"{random.choice(BEHAVIORS)} {number}" for number in range(TURNS)]
    for start in range(0, TURNS, AT_ONCE):
        await asyncio.gather(*(run(stage, label) for label in labels[start : start + AT_ONCE]))
    killed = {label for label in labels if label.startswith(KILL)}
    dictated = [label for label in labels if label.startswith("dictation")]
    vendor = sum((tokens for label, tokens in stage.vendor.reported.items() if label not in killed), Counter[str]())
    total = await stage.total()
    dictated_cached = sum(stage.vendor.reported.get(label, Counter())["tokens_cached"] for label in dictated)
    assert (total.tokens_in, total.tokens_out) == (vendor["tokens_in"], vendor["tokens_out"])
    assert total.tokens_cached == vendor["tokens_cached"] - dictated_cached  # dictation has no prompt cache
    assert total.unsettled == len(killed | stage.vendor.uncounted)
    assert total.dictations == len(dictated)
    assert total.turns == TURNS - len(killed) - len(dictated)
    assert total.cut == sum(label.startswith(STOP) for label in labels)
    assert total.failed == sum("fail" in label for label in labels)
    assert stage.engine.usage_writes == TURNS - len(killed)


async def test_usage_is_kept_by_assistant_model_and_release() -> None:
    stage = Stage()
    await stage.say("plain 1")
    await stage.say("plain 2", path="/chatkit/sales")
    sums = await stage.sums()
    assert sorted(map(astuple, sums)) == [(TODAY, "", MODEL, ""), (TODAY, "sales", MODEL, "")]
    assert [usage.turns for usage in sums.values()] == [1, 1]


async def test_a_killed_turn_is_unsettled_for_its_assistant_and_has_no_model() -> None:
    stage = Stage()
    await stage.kill("kill 1")
    assert await stage.sums() == {Source(TODAY, "", "", ""): Usage(unsettled=1)}


async def test_a_refused_turn_is_no_turn() -> None:
    stage = Stage(Settings(table="table", usage=True, quotas=QuotaSettings(tokens_per_day=10)))
    refused = await stage.say("plain 1")
    assert (refused.status, await stage.total()) == (429, Usage())


async def test_the_reservation_is_made_against_the_limit_if_the_stage_has_one() -> None:
    stage = Stage(Settings(table="table", usage=True, quotas=QuotaSettings(stage_tokens_per_day=100_000)))
    await stage.say("plain 1")
    tokens = stage.vendor.reported["plain 1"]
    rows = [row for (partition, _), row in stage.engine.rows.items() if partition.startswith("STAGE#tokens#")]
    assert [int(row["sum"]["N"]) for row in rows] == [tokens["tokens_in"] + tokens["tokens_out"]]
    assert (await stage.total()).turns == 1


async def test_thumbs_are_counted_for_the_model_that_wrote_the_answer() -> None:
    stage = Stage()
    created = await stage.say("plain 1")
    thread_id = created.of("thread.created")[0]["thread"]["id"]
    item_id = created.of("thread.item.done")[1]["item"]["id"]
    for kind in ("positive", "negative", "negative"):
        await stage.chat("items.feedback", thread_id=thread_id, item_ids=[item_id], kind=kind)
    [(source, usage)] = (await stage.sums()).items()
    assert (source.model, usage.thumbs_up, usage.thumbs_down) == (MODEL, 1, 2)


async def test_a_thumb_on_an_item_that_does_not_exist_is_not_counted() -> None:
    stage = Stage()
    created = await stage.say("plain 1")
    thread_id = created.of("thread.created")[0]["thread"]["id"]
    await stage.chat("items.feedback", thread_id=thread_id, item_ids=["msg_unknown"], kind="positive")
    assert (await stage.total()).thumbs_up == 0


async def test_a_stage_that_does_not_count_usage_writes_no_row_of_it() -> None:
    stage = Stage(Settings(table="table"))
    await stage.say("plain 1")
    await stage.dictate("dictation 1")
    assert stage.engine.usage_writes == 0
    assert not [key for key in stage.engine.rows if key[0].startswith(("USAGE#", "STAGE#tokens"))]


async def test_a_write_whose_response_was_lost_counts_once() -> None:
    table = Local().store().table
    usage, counters = TableUsage(table, clock=lambda: START), TableCounters(table, clock=lambda: START)
    source = Source(TODAY, "a", "vendor/model#1", "17")
    for _ in range(2):
        await usage.add(source, Usage(turns=1, tokens_in=5), mark="turn-1")
    await usage.add(source, Usage(turns=1, tokens_in=7), mark="turn-2")
    [day] = [day async for day in used(usage, counters, first_day=TODAY, last_day=TODAY)]
    assert day == {source: Usage(turns=2, tokens_in=12)}


async def test_a_user_is_no_part_of_a_usage_row() -> None:
    stage = Stage()
    await stage.say("plain 1", chat=stage.chat.as_("marker-of-a-user"))
    rows = [row for (partition, _), row in stage.engine.rows.items() if partition.startswith("USAGE#")]
    assert len(rows) == 1
    assert "marker" not in str(rows)
