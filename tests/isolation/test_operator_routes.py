"""Isolation of the operators' routes: to everybody but an operator of the assistant, they are an unknown path.

Each route, with each method and with odd paths, headers and bodies, for each role: the answer equals, byte for byte,
the one for a path that no route has.
"""

import json
import logging
from typing import Any

import botocore.session
import pytest

from lambda_src.composition.aws import Clients
from lambda_src.dev.store_contract.samples import context_of, file_of
from lambda_src.observability.logs import LogFormatter, configure_logging
from lambda_src.observability.metrics import METRICS
from lambda_src.settings import Settings
from tests.apps.chat import Answer, Chat
from tests.apps.support import OPERATORS, SupportApp
from tests.content_markers import MARKERS

UNKNOWN = "/nothing/here"
ROUTES = [
    ("GET", "inbox"),
    ("GET", "inbox?assistant=&kind=handoff&state=open"),
    ("GET", "threads/ann/{thread}"),
    ("GET", "threads/ann/{thread}/attachments/atc_1"),
    ("POST", "threads/ann/{thread}/take"),
    ("POST", "threads/ann/{thread}/messages"),
    ("POST", "threads/ann/{thread}/return"),
    ("POST", "threads/ann/{thread}/close"),
]
STRANGERS = {
    "no token": None,
    "an invalid token": "",
    "a guest": "guest-1",
    "a user": "bob",
    "the thread's user": "ann",
    "an operator of another assistant": "sally",
}
BODY = json.dumps({"text": "hello", "author": "Olga"}).encode()


class Signing(Clients):
    """Makes clients that sign URLs with a made-up key, and send nothing."""

    def client(self, service: str, config: Any = None) -> Any:
        return botocore.session.Session().create_client(
            service, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y", config=config
        )


@pytest.fixture
def support() -> SupportApp:
    settings = Settings(store="memory", operators=OPERATORS, bucket="files")
    return SupportApp(settings=settings, aws=Signing())


async def attached(support: SupportApp, thread_id: str | None, *, user: str = "ann", file_id: str = "atc_1") -> None:
    """Store a file of a message in a thread; with None, of no message yet."""
    await support.store.save_attachment(file_of(file_id, thread_id=thread_id), context_of(user))


def comparable(answer: Answer) -> tuple[int, bytes, dict[str, str]]:
    """Everything in an answer that a client can compare."""
    return answer.status, answer.body, {k: v for k, v in answer.headers.items() if k != "x-request-id"}


async def unknown_to(client: Chat, method: str) -> tuple[int, bytes, dict[str, str]]:
    """The answer for a path that no route has."""
    return comparable(await client.post(BODY if method == "POST" else b"", UNKNOWN, method))


@pytest.mark.parametrize("who", STRANGERS)
@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_the_routes_are_unknown_to_everybody_else(support: SupportApp, method: str, path: str, who: str) -> None:
    thread_id = await support.waiting()
    await attached(support, thread_id)
    client = support.chat("ann").as_(STRANGERS[who])
    answer = await client.post(BODY if method == "POST" else b"", "/operator/" + path.format(thread=thread_id), method)
    expected = await unknown_to(client, method)
    assert comparable(answer) == expected
    assert expected[0] == 404
    assert await support.texts("ann", thread_id) == await support.texts("ann", thread_id)
    [matter] = await support.operator("olga").matters()
    assert matter["state"] == "open"


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_the_same_routes_work_for_an_operator(support: SupportApp, method: str, path: str) -> None:
    thread_id = await support.waiting()
    await attached(support, thread_id)
    olga = support.chat("olga")
    if path.endswith(("messages", "return")):
        await support.operator("olga").post("ann", thread_id, "take")
    body = BODY if path.endswith("messages") else b""
    answer = await olga.post(body, "/operator/" + path.format(thread=thread_id), method)
    assert answer.status == 200, answer.body


async def test_an_operator_opens_a_file_with_the_url_that_its_user_gets(support: SupportApp) -> None:
    thread_id = await support.thread()
    await attached(support, thread_id)
    opened = (await support.operator("olga").get(f"threads/ann/{thread_id}/attachments/atc_1")).json["url"]
    own = (await support.chat("ann").post(b"", "/chatkit/attachments/atc_1", "GET")).json["url"]
    assert opened.partition("?")[0] == own.partition("?")[0]
    assert "ann" in opened
    assert "inline" in opened


async def test_an_operator_opens_only_files_of_the_messages_of_the_thread(support: SupportApp) -> None:
    thread_id, other_thread = await support.thread(), await support.thread(text="another")
    bobs = await support.thread("bob")
    await attached(support, other_thread, file_id="atc_other")
    await attached(support, None, file_id="atc_unsent")
    await attached(support, bobs, user="bob", file_id="atc_bob")
    olga = support.operator("olga")
    missing = comparable(await olga.get(f"threads/ann/{thread_id}/attachments/atc_none"))
    assert missing[0] == 404
    for file_id in ("atc_other", "atc_unsent", "atc_bob"):
        assert comparable(await olga.get(f"threads/ann/{thread_id}/attachments/{file_id}")) == missing
    assert comparable(await olga.get(f"threads/ann/{bobs}/attachments/atc_bob")) == missing
    assert comparable(await support.operator("sally").get(f"threads/bob/{bobs}/attachments/atc_bob"))[0] == 404
    await support.chat("ann")("threads.delete", thread_id=other_thread)
    assert (await olga.get(f"threads/ann/{other_thread}/attachments/atc_other")).status == 404


async def test_a_stage_without_files_has_none_for_operators() -> None:
    support = SupportApp()
    thread_id = await support.thread()
    await attached(support, thread_id)
    assert (await support.operator("olga").get(f"threads/ann/{thread_id}/attachments/atc_1")).status == 404


@pytest.mark.parametrize("who", [None, "bob", "sally", "olga"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
@pytest.mark.parametrize(
    "path",
    [
        *("/operator/", "/operator/nothing", "/operator/inbox/", "/operatorinbox", "/operator/threads"),
        *("/operator/threads/ann", "/operator/threads/ann/thr_1/", "/operator/threads/ann/thr_1/take/now"),
        *("/operator/threads/ann/thr_1/steal", "/operator/threads//thr_1/take/"),
        *("/operator/threads/ann/thr_1/attachments", "/operator/threads/ann/thr_1/attachments/atc_1/bytes"),
    ],
)
async def test_other_paths_and_methods_are_unknown_to_everybody(
    support: SupportApp, method: str, path: str, who: str | None
) -> None:
    client = support.chat("ann").as_(who)
    assert comparable(await client.post(b"", path, method)) == await unknown_to(client, method)


@pytest.mark.parametrize("who", [None, "bob", "sally", "olga"])
async def test_the_operators_page_is_the_same_for_everybody(support: SupportApp, who: str | None) -> None:
    client = support.chat("ann").as_(who)
    assert comparable(await client.post(b"", "/operator", "GET")) == comparable(
        await support.chat("olga").post(b"", "/operator", "GET")
    )
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        assert comparable(await client.post(b"", "/operator", method)) == await unknown_to(client, method)


@pytest.mark.parametrize("headers", [{"x_padding": "x" * 20_000}, {"content_encoding": "gzip"}, {"x_chat_turn": "?"}])
async def test_what_is_refused_elsewhere_is_not_even_looked_at(support: SupportApp, headers: dict[str, str]) -> None:
    bob = support.chat("bob")
    for path in ("/operator/inbox", "/operator/threads/ann/thr_1/messages"):
        sent = await bob.post(b"x" * 2_000_000, path, **headers)
        unknown = await bob.post(b"x" * 2_000_000, UNKNOWN, **headers)
        assert comparable(sent) == comparable(unknown)


async def test_an_operator_of_one_assistant_does_not_reach_another(support: SupportApp) -> None:
    sales = support.chat("ann")
    answer = await sales.post(
        json.dumps({"type": "threads.create", "params": {"input": message("hi")}}).encode(), "/chatkit/sales"
    )
    thread_id = answer.of("thread.created")[0]["thread"]["id"]
    asked = await sales.post(json.dumps({"thread_id": thread_id}).encode(), "/chatkit/sales/handoff")
    assert asked.json == {"held": "waiting"}
    olga, sally = support.operator("olga"), support.operator("sally")
    assert (await olga.get(f"threads/ann.sales/{thread_id}")).status == 404
    assert (await olga.get("inbox?assistant=sales")).status == 404
    assert [matter["user"] for matter in await sally.matters("?assistant=sales")] == ["ann.sales"]
    assert (await sally.get(f"threads/ann.sales/{thread_id}")).status == 200


def message(text: str) -> dict[str, Any]:
    """The `input` of a client's request."""
    return {"content": [{"type": "input_text", "text": text}], "attachments": [], "inference_options": {}}


async def test_missing_threads_and_foreign_users_are_alike_for_an_operator(support: SupportApp) -> None:
    thread_id = await support.waiting()
    olga = support.operator("olga")
    missing, foreign = await olga.get("threads/ann/thr_none"), await olga.get(f"threads/bob/{thread_id}")
    assert comparable(missing) == comparable(foreign)
    assert missing.status == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"text": "x" * 32_001}, 413),
        ({"text": "x" * 1_100_000}, 413),
        ({"text": " \n"}, 422),
        ({"text": 7}, 422),
        ({}, 422),
        ({"text": "hi", "author": "**Bob**"}, 422),
        ({"text": "hi", "author": "Bob\u202egnp"}, 422),
        ({"text": "hi", "author": "x" * 41}, 422),
        ({"text": "hi", "author": ""}, 422),
        ({"text": "hi", "role": "user"}, 422),
        ({"text": "tabs\tand \u202ebidi\u202c and \u0007", "author": "Zoë O\u2019Neil-Ng"}, 200),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_an_operators_message_is_checked(support: SupportApp, body: dict[str, Any], status: int) -> None:
    thread_id = await support.waiting()
    olga = support.operator("olga")
    await olga.post("ann", thread_id, "take")
    before = await support.texts("ann", thread_id)
    answer = await olga.post("ann", thread_id, "messages", body)
    assert answer.status == status, answer.body
    if status != 200:
        assert await support.texts("ann", thread_id) == before


@pytest.mark.parametrize(
    "query", ["kind=other", "state=lost", "after=x", "after=handoff%23%00", "limit=0", "limit=101", "order=up"]
)
async def test_a_wrong_query_is_refused(support: SupportApp, query: str) -> None:
    thread_id = await support.waiting()
    path = f"threads/ann/{thread_id}" if query.startswith(("limit", "order")) else "inbox"
    answer = await support.operator("olga").get(f"{path}?{query}")
    assert (answer.status, answer.json["error"]) == (422, "invalid_request")


async def test_each_access_is_one_line_with_ids_before_the_answer(
    support: SupportApp, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure_logging()  # the first app of a process would do it now, and turn this off again
    monkeypatch.setattr(logging.getLogger("lambda_src"), "propagate", True)
    thread_id = await support.waiting()
    olga = support.operator("olga")
    await olga.post("ann", thread_id, "take")
    caplog.clear()
    with caplog.at_level("INFO", logger="lambda_src"):
        await olga.get("inbox")
        await olga.write("ann", thread_id, MARKERS["answer"])
        await olga.get(f"threads/ann/{thread_id}")
        await olga.get(f"threads/ann/{thread_id}/attachments/{MARKERS['file']}")
        await olga.get("threads/ann/spaces%20and%20more")
        await support.operator("bob").get("inbox")
    lines = [
        json.loads(LogFormatter().format(record))
        for record in dict.fromkeys(caplog.records)
        if record.name.startswith("lambda_src")
    ]
    accesses = [line for line in lines if line["message"] == "operator_access"]
    of_thread = "/operator/threads/{user}/{thread}"
    assert [(line["operation"], line.get("user"), line.get("thread_id")) for line in accesses[:4]] == [
        ("GET /operator/inbox", None, None),
        (f"POST {of_thread}/messages", "ann", thread_id),
        (f"GET {of_thread}", "ann", thread_id),
        (f"GET {of_thread}/attachments/{{attachment}}", "ann", thread_id),
    ]
    assert {line["operator"] for line in accesses} == {"olga"}
    assert accesses[4]["thread_id"].startswith("~"), "only plain ids are logged as they are"
    assert len(accesses) == 5
    assert [metric.name for line in accesses for metric in METRICS["operator_access"](line)] == ["OperatorAccesses"] * 5
    assert MARKERS["file"] not in json.dumps(lines)
    order = [line["message"] for line in lines if line["message"] in ("operator_access", "request")]
    assert order[:2] == ["operator_access", "request"]
    assert MARKERS["answer"] not in json.dumps(lines)
    requests = [line["operation"] for line in lines if line["message"] == "request"]
    assert requests[-1] == "GET (no route)", "a stranger's path is no text of the log"
    assert requests[1] == f"POST {of_thread}/messages"


async def test_a_stage_without_operators_has_no_such_routes() -> None:
    plain = SupportApp(settings=Settings(store="memory"))
    olga = plain.chat("olga")
    for path in ("/operator/inbox", "/operator"):
        assert comparable(await olga.post(b"", path, "GET")) == await unknown_to(olga, "GET")
    assert (await olga.post(b'{"thread_id":"thr_1"}', "/chatkit/handoff")).status == 404
