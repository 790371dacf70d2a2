"""A fake of OpenAI's hosted ChatKit API on a loopback port: its two paged list endpoints, as documented."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes.http_api import http_api


def thread(thread_id: str, *, created_at: int, **more: Any) -> dict[str, Any]:
    """A thread as the API returns it."""
    common = {"object": "chatkit.thread", "status": {"type": "active"}, "title": f"about {thread_id}", "user": "ada"}
    return {"id": thread_id, "created_at": created_at, **common, **more}


def item(item_id: str, thread_id: str, kind: str, *, created_at: int, **more: Any) -> dict[str, Any]:
    """An item as the API returns it."""
    common = {"object": "chatkit.thread_item", "type": f"chatkit.{kind}"}
    return {"id": item_id, "thread_id": thread_id, "created_at": created_at, **common, **more}


@contextmanager
def hosted_api(threads: list[dict[str, Any]], items: dict[str, list[dict[str, Any]]], *, page: int) -> Iterator[str]:
    """Yield the base URL of a server that has these threads and items, and returns at most `page` rows at a time."""

    def respond(request: BaseHTTPRequestHandler, _: bytes) -> tuple[int, dict[str, Any]]:
        """One page of /chatkit/threads or /chatkit/threads/{id}/items."""
        url = urlsplit(request.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        parts = url.path.strip("/").split("/")
        rows = threads if parts[-1] == "threads" else items[parts[-2]]
        rows = [row for row in rows if query.get("user") in (None, row.get("user"))]
        assert (request.command, query["order"]) == ("GET", "asc")
        assert request.headers["authorization"] == "Bearer secret"
        ids = [row["id"] for row in rows]
        first = ids.index(query["after"]) + 1 if "after" in query else 0
        page_rows = rows[first : first + page]
        return 200, {
            "object": "list",
            "data": page_rows,
            "first_id": page_rows[0]["id"] if page_rows else None,
            "last_id": page_rows[-1]["id"] if page_rows else None,
            "has_more": first + page < len(rows),
        }

    with http_api(respond) as url:
        yield url
