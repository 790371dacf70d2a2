"""Logs and metrics of requests and turns: their lines, their metrics, and no user content."""

import asyncio
import io
import json
import logging
import re
import warnings
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from agents.testing import ScriptedModel, assistant_message

from lambda_src.auth import BearerToken, IssuerKeys
from lambda_src.context import Turn, User
from lambda_src.http.request_log import TurnLog
from lambda_src.observability.logs import OURS, configure_logging, count_row
from lambda_src.observability.metrics import NAMESPACE
from lambda_src.store.memory.store import MemoryStore
from tests.apps.chat import MAX_BODY_BYTES, Chat, app_with, message, server_with
from tests.content_markers import MARKERS as EVERYWHERE
from tests.fakes.issuer import AUDIENCE, ISSUER, Issuer


class Output:
    """Everything that was logged."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """All lines; each must be JSON."""
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def of(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of one event."""
        return [line for line in self.lines if line.get("message") == event]

    @property
    def metrics(self) -> list[tuple[str, float, str | None]]:
        """All metrics as CloudWatch reads them: (name, value, kind)."""
        metrics = []
        for line in self.lines:
            for directive in line.get("_aws", {}).get("CloudWatchMetrics", []):
                assert directive["Namespace"] == NAMESPACE
                metrics += [(m["Name"], line[m["Name"]][0], line.get("kind")) for m in directive["Metrics"]]
        return metrics


@pytest.fixture
def output() -> Iterator[Output]:
    """The process's loggers, configured as on Lambda but writing to memory; restored afterwards."""
    root, ours, output = logging.getLogger(), logging.getLogger(OURS), Output()
    before = root.handlers, ours.handlers, ours.propagate, ours.level
    root.handlers, ours.handlers, ours.propagate = [], [], True
    configure_logging(root=root, stream=output.stream, service="chat-test")
    yield output
    logging.captureWarnings(False)
    root.handlers, ours.handlers, ours.propagate = before[:3]
    ours.setLevel(before[3])


def chat_with(*steps: Any) -> Chat:
    """Return a chat whose model follows these steps."""
    model = ScriptedModel(list(steps)) if steps else None
    return Chat(app_with(server_with(MemoryStore(), model=model)))


def test_a_line_is_compact_json_with_the_request_id_first_and_only_allowed_fields(output: Output) -> None:
    record = logging.makeLogRecord(
        {"name": f"{OURS}.x", "levelno": 20, "levelname": "INFO", "msg": "stop", "funcName": "f", "lineno": 7}
    )
    record.created, record.msecs = 1_700_000_000.012, 12.0
    vars(record).update(aws_request_id="r-1", operation="Zoë", user=None, items=2, words="what a user wrote")
    logging.getLogger(f"{OURS}.x").handle(record)
    assert output.stream.getvalue() == (
        '{"request_id":"r-1","level":"INFO","location":"f:7","message":"stop",'
        '"timestamp":"2023-11-14 22:13:20,012+0000","operation":"Zoë","items":2}\n'
    )


async def test_a_turn_logs_two_lines_and_its_metrics(output: Output) -> None:
    answer = await chat_with([assistant_message("hello")])("threads.create", input=message("hi"))
    [request], [turn] = output.of("request"), output.of("turn")
    assert request["request_id"] == turn["request_id"] == answer.headers["x-request-id"]
    assert (request["operation"], request["status"], request["user"]) == ("threads.create", 200, "ann")
    assert request["bytes_out"] == len(answer.body)
    assert turn["kind"] == "whole"
    assert turn["model"]
    assert 0 <= turn["first_event_ms"] <= turn["duration_ms"]
    names = [name for name, _, _ in output.metrics]
    assert names.count("Turns") == names.count("TimeToFirstEvent") == names.count("ColdStarts") == 1


async def test_a_duplicate_request_does_not_count_as_a_turn(output: Output) -> None:
    chat = chat_with([assistant_message("hello")], [assistant_message("again")])
    first = await chat("threads.create", input=message("hi"))
    second = await chat("threads.create", input=message("hi"))
    assert second.headers["x-chat-turn"] == first.headers["x-chat-turn"]
    assert [name for name, _, _ in output.metrics].count("Turns") == 1
    assert len(output.of("turn_followed")) == 1


async def test_only_the_first_request_of_a_process_is_a_cold_start(output: Output) -> None:
    chat = chat_with()
    for _ in range(3):
        await chat("threads.list")
    assert [line["cold_start"] for line in output.of("request")] == [True, False, False]


async def test_401s_and_model_errors_are_counted(output: Output) -> None:
    await chat_with().as_(None)("threads.list")
    await chat_with(ZeroDivisionError("x"))("threads.create", input=message("hi"))
    assert ("Unauthorized", 1, None) in output.metrics
    assert ("ModelErrors", 1, "ZeroDivisionError") in output.metrics


def test_a_turns_line_contains_what_attributes_its_cost(output: Output) -> None:
    class Invocation:
        function_version = "17"

    turn = Turn("t" * 16, model="gpt-of-the-test")
    turn.used(100, 20, cached=64)
    turn.used(10, 2)
    scope = {"chat.began_s": 0.0, "chat.request_id": "r", "aws.context": Invocation()}
    TurnLog(scope, turn, user=User("u").at("sales"), now=lambda: 1.5).write()
    [line] = output.of("turn")
    fields = (line["assistant"], line["model"], line["release"], line["tokens_in"], line["tokens_cached"])
    assert fields == ("sales", "gpt-of-the-test", "17", 110, 64)


def test_a_turns_end_and_tokens_are_counted(output: Output) -> None:
    scope = {"chat.began_s": 0.0, "chat.request_id": "r"}
    for turn in (Turn("t" * 16, end_reason="stopped"), Turn("t" * 16, end_reason="deadline")):
        turn.used(100, 20)
        turn.used(10, 2)
        TurnLog(scope, turn, user=User("u"), now=lambda: 1.5).write()
    assert output.of("turn")[0]["duration_ms"] == 1500
    counted = [(name, value) for name, value, _ in output.metrics]
    assert counted.count(("TokensIn", 110.0)) == counted.count(("TokensOut", 22.0)) == 2
    assert counted.count(("Tokens", 132.0)) == 2
    assert ("Stops", 1.0) in counted
    assert ("DeadlineCuts", 1.0) in counted


def test_an_unreadable_row_is_counted(output: Output) -> None:
    count_row("unreadable_row")
    assert output.metrics == [("PoisonRows", 1, None)]


async def test_feedback_is_counted_by_kind(output: Output) -> None:
    chat = Chat(app_with(server_with(MemoryStore())))
    created = await chat("threads.create", input=message("hello"))
    thread_id = created.of("thread.created")[0]["thread"]["id"]
    ids = [event["item"]["id"] for event in created.of("thread.item.done")]
    for kind, items in (("positive", ids), ("negative", ids[:1])):
        assert (await chat("items.feedback", thread_id=thread_id, item_ids=items, kind=kind)).status == 200
    counted = [metric for metric in output.metrics if metric[0] == "Feedback"]
    assert counted == [("Feedback", len(ids), "positive"), ("Feedback", 1, "negative")]


async def test_an_unknown_path_is_not_logged(output: Output) -> None:
    unknown = "x" * 1_500
    await chat_with().post(b"", "/my-secret", "GET")
    await chat_with().post(b"", "/chatkit/threads/my-secret/turn", "GET")
    await chat_with().post(b"", f"/chatkit/{unknown}")
    await chat_with().post(b"", "/my-secret", "BREW-MY-SECRET")
    assert [(line["operation"], line.get("user")) for line in output.of("request")] == [
        ("GET (no route)", None),
        ("GET /chatkit/threads/{thread_id}/turn", "ann"),
        ("POST /chatkit/{assistant}", "ann"),
        ("OTHER (no route)", None),
    ]


BAD_PARAMS = json.dumps({"type": "threads.create", "params": {}}).encode()
REFUSALS: list[tuple[int, str, str | None, str, bytes]] = [
    (401, "POST /chatkit", None, "/chatkit", b"{}"),
    (401, "POST /chatkit/{assistant}", None, "/chatkit/shop", b"{}"),
    (401, "POST /chatkit/stop", None, "/chatkit/stop", b"{}"),
    (404, "POST /chatkit/{assistant}", "ann", "/chatkit/shop", b"{}"),
    (404, "POST /chatkit/{assistant}/stop", "ann", "/chatkit/shop/stop", b"{}"),
    (404, "threads.get_by_id", "ann", "/chatkit", b'{"type":"threads.get_by_id","params":{"thread_id":"x"}}'),
    (422, "threads.create", "ann", "/chatkit", BAD_PARAMS),
    (422, "POST /chatkit", "ann", "/chatkit", b"no JSON"),
    (422, "POST /chatkit", "ann", "/chatkit", b'{"type":"my-secret"}'),
    (422, "POST /chatkit", "ann", "/chatkit", b'{"type":{"a":1}}'),
    (422, "POST /chatkit", "ann", "/chatkit", b"[" * 5_000),
    (422, "POST /chatkit/stop", "ann", "/chatkit/stop", b"{}"),
    (413, "POST /chatkit", "ann", "/chatkit", b" " * (MAX_BODY_BYTES + 1)),
    (405, "POST /chatkit/threads/{thread_id}/turn", None, "/chatkit/threads/x/turn", b""),
]


@pytest.mark.parametrize(("status", "operation", "user", "path", "body"), REFUSALS)
async def test_a_refusal_logs_its_operation(
    output: Output, status: int, operation: str, user: str | None, path: str, body: bytes
) -> None:
    assert (await chat_with().as_(user).post(body, path)).status == status
    [line] = output.of("request")
    assert (line["status"], line["operation"]) == (status, operation)


async def test_every_request_line_has_the_callers_hashed_address(output: Output) -> None:
    chat = chat_with()
    await chat("threads.list")
    await chat.as_(None)("threads.list")
    await chat.post(b"", "/nowhere", "GET")
    sources = {line["source"] for line in output.of("request")}
    assert len(sources) == 1
    assert re.fullmatch("[0-9a-f]{16}", sources.pop())
    assert "127.0.0.1" not in output.stream.getvalue()


# Content markers


MARKERS = EVERYWHERE | {
    place: f"marker-{place}-7f3a9c"
    for place in (
        "message",
        "title",
        "tool-output",
        "attachment-name",
        "header",
        "turn-header",
        "path",
        "token",
        "exception",
        "library",
        "warning",
        "answer",
    )
}


async def _send_markers(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send a marker through every input that accepts user content."""
    model = ScriptedModel([[assistant_message(MARKERS["answer"])], RuntimeError(MARKERS["exception"])])
    issuer = Issuer()
    chat = Chat(app_with(server_with(store, model=model)))
    created = await chat("threads.create", input=message(MARKERS["message"], quoted_text=MARKERS["message"]))
    thread_id = created.of("thread.created")[0]["thread"]["id"]
    await chat("threads.add_user_message", thread_id=thread_id, input=message(MARKERS["message"]))
    await chat("threads.update", thread_id=thread_id, title=MARKERS["title"])
    await chat("threads.add_client_tool_output", thread_id=thread_id, result={"a": MARKERS["tool-output"]})
    await chat("attachments.create", name=MARKERS["attachment-name"], size=1, mime_type=MARKERS["attachment-name"])
    await chat("items.feedback", thread_id=MARKERS["path"], item_ids=[MARKERS["path"]], kind="positive")
    await chat.post(b"", f"/{MARKERS['path']}?q={MARKERS['path']}", "GET")
    await chat.post(b"", f"/chatkit/turns/{MARKERS['path']}/events", "GET")
    await chat.post(MARKERS["message"].encode())
    await chat.post(json.dumps({"type": MARKERS["message"]}).encode())
    keys = IssuerKeys(ISSUER, fetch=issuer.fetch)
    locked = Chat(app_with(server_with(store), authenticate=BearerToken(ISSUER, AUDIENCE, keys=keys)))
    for token in (MARKERS["token"], issuer.token(sub=MARKERS["token"]), jwt.encode({MARKERS["token"]: 1}, "k" * 32)):
        await locked.as_(token)("threads.list")

    async def broken(**_: object) -> None:
        raise KeyError(MARKERS["exception"])

    monkeypatch.setattr(store, "load_threads", broken)
    assert (await chat("threads.list")).status == 500


async def test_no_marker_is_logged(
    output: Output, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    await _send_markers(MemoryStore(), monkeypatch)
    for name in ("openai.agents", "openai", "botocore", "asyncio", "lambda_none"):
        library = logging.getLogger(name)
        library.error("Request: %s", MARKERS["library"], extra={"body": MARKERS["library"]})
        try:
            raise ValueError(MARKERS["exception"])
        except ValueError:
            library.exception("failed with %s", MARKERS["library"])
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn(MARKERS["warning"], UserWarning, stacklevel=1)
    asyncio.get_running_loop().call_exception_handler({"message": "m", "exception": KeyError(MARKERS["exception"])})
    written = output.stream.getvalue() + "".join(capfd.readouterr())
    assert len(output.of("request")) >= 14
    assert len(output.of("library")) >= 12
    assert [place for place, marker in MARKERS.items() if marker in written] == []
