"""Threads of OpenAI's hosted ChatKit: fetched page by page as raw JSON, then made into records. Knows no store.

What comes over the wire is written to a file before anything is made of it, so that an import can be replayed.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from chatkit.types import ThreadItem, ThreadMetadata
from pydantic import TypeAdapter, ValidationError

from lambda_src.errors import RequestError
from lambda_src.store import codec, userdata
from lambda_src.store.ports import Record

if TYPE_CHECKING:
    from openai import AsyncOpenAI

PAGE = 100  # the API's own maximum
_ITEM: TypeAdapter[ThreadItem] = TypeAdapter(ThreadItem)
_NS = 1_000_000_000


async def fetch(client: "AsyncOpenAI", *, user: str | None = None) -> AsyncIterator[dict[str, Any]]:
    """Every thread, each followed by its items in order, as the API sends them."""
    threads = client.beta.chatkit.threads.with_raw_response
    named: dict[str, Any] = {} if user is None else {"user": user}
    async for thread in _listed(partial(threads.list, **named)):
        yield thread
        async for item in _listed(partial(threads.list_items, thread["id"])):
            yield item


async def _listed(load_page: Callable[..., Awaitable[Any]]) -> AsyncIterator[dict[str, Any]]:
    """What is on all pages of a list, in order."""
    after: dict[str, Any] = {}
    while True:
        page = json.loads((await load_page(limit=PAGE, order="asc", **after)).text)
        for entry in page["data"]:
            yield entry
        if not page["has_more"]:
            return
        after = {"after": page["last_id"]}


def to_records(raw: Iterable[dict[str, Any]]) -> Iterator[Record]:
    """What `fetch` gave as records of an export: same ids, order, titles, times. An unknown item keeps its raw JSON."""
    owners: dict[str, str] = {}
    last: dict[str, int] = {}
    for number, value in enumerate(raw, 1):
        try:
            record = _record(value, owners, last)
        except (KeyError, TypeError, ValueError):
            raise RequestError(f"Line {number} is damaged: it is neither a thread nor one of its items.") from None
        yield record


def _record(value: dict[str, Any], owners: dict[str, str], last: dict[str, int]) -> Record:
    """`owners` has the user of each thread, `last` the order of its newest item; both are filled in."""
    if value["object"] == "chatkit.thread":
        owners[value["id"]] = value["user"]
        return {"user": value["user"], **_thread(value)}
    thread_id = value["thread_id"]
    order = max(value["created_at"] * _NS, last.get(thread_id, 0) + 1)  # whole seconds: the API's order decides
    last[thread_id] = order
    data = codec.dump(item) if (item := _item(value)) is not None else userdata.dump(value).encode()
    return {
        "user": owners[thread_id],
        **userdata.json_record("item", value["id"], data, thread_id=thread_id, order=order),
    }


def _thread(value: dict[str, Any]) -> Record:
    thread = ThreadMetadata.model_validate(
        {"id": value["id"], "created_at": _time(value), "title": value.get("title"), "status": value["status"]}
    )
    order = codec.thread_time_us(thread.created_at)
    return userdata.thread_record(thread.id, codec.dump_thread(thread), order=order)


def _item(value: dict[str, Any]) -> ThreadItem | None:
    """The item, or None for one that this release cannot make anything of."""
    common = {"id": value["id"], "thread_id": value["thread_id"], "created_at": _time(value)}
    try:
        return _ITEM.validate_python(common | _fields(value))
    except (ValidationError, ValueError, KeyError, TypeError):
        return None


def _fields(value: dict[str, Any]) -> dict[str, Any]:
    match value["type"]:
        case "chatkit.user_message":
            quoted = [part["text"] for part in value["content"] if part["type"] == "quoted_text"]
            return {
                "type": "user_message",
                "content": [part for part in value["content"] if part["type"] == "input_text"],
                "attachments": value.get("attachments") or [],
                "quoted_text": "\n".join(quoted) or None,
                "inference_options": value.get("inference_options") or {},
            }
        case "chatkit.assistant_message":
            return {"type": "assistant_message", "content": [_text(part) for part in value["content"]]}
        case "chatkit.client_tool_call":
            output = value.get("output")
            return {
                "type": "client_tool_call",
                "status": "completed" if value["status"] == "completed" else "pending",
                "call_id": value["call_id"],
                "name": value["name"],
                "arguments": json.loads(value["arguments"]),
                "output": None if output is None else json.loads(output),
            }
        case "chatkit.widget":
            return {"type": "widget", "widget": json.loads(value["widget"])}
        case "chatkit.task":
            return {"type": "task", "task": _task(value, value["task_type"])}
        case "chatkit.task_group":
            tasks = [_task(task, task["type"]) for task in value["tasks"]]
            return {"type": "workflow", "workflow": {"type": "custom", "tasks": tasks}}
        case _:
            return {}


def _text(part: dict[str, Any]) -> dict[str, Any]:
    annotations = []
    for annotation in part["annotations"]:
        source = annotation["source"]
        title = source.get("filename") or source.get("url")
        annotations.append({"type": "annotation", "source": {"title": title, **source}})
    return {"type": "output_text", "text": part["text"], "annotations": annotations}


def _task(value: dict[str, Any], kind: str) -> dict[str, Any]:
    content = value.get("summary")
    if kind == "thought":
        return {"type": "thought", "title": value.get("heading"), "content": content or ""}
    return {"type": "custom", "title": value.get("heading"), "content": content}


def _time(value: dict[str, Any]) -> datetime:
    return datetime.fromtimestamp(value["created_at"], UTC)
