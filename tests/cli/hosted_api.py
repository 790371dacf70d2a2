"""OpenAI's hosted ChatKit API on a loopback port: two endpoints, paged, as its reference has them."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


def thread(thread_id: str, *, created_at: int, **more: Any) -> dict[str, Any]:
    """A thread as the API shows it."""
    common = {"object": "chatkit.thread", "status": {"type": "active"}, "title": f"about {thread_id}", "user": "ada"}
    return {"id": thread_id, "created_at": created_at, **common, **more}


def item(item_id: str, thread_id: str, kind: str, *, created_at: int, **more: Any) -> dict[str, Any]:
    """An item as the API shows it."""
    common = {"object": "chatkit.thread_item", "type": f"chatkit.{kind}"}
    return {"id": item_id, "thread_id": thread_id, "created_at": created_at, **common, **more}


@contextmanager
def hosted_api(threads: list[dict[str, Any]], items: dict[str, list[dict[str, Any]]], *, page: int) -> Iterator[str]:
    """The base URL of a server with these threads and items; it gives at most `page` rows at a time."""

    class Handler(BaseHTTPRequestHandler):
        """GET /chatkit/threads and /chatkit/threads/{id}/items."""

        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # headers and body are two writes: the second would wait 40 ms for an ACK

        def do_GET(self) -> None:
            """One page."""
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            parts = url.path.strip("/").split("/")
            rows = threads if parts[-1] == "threads" else items[parts[-2]]
            rows = [row for row in rows if query.get("user") in (None, row.get("user"))]
            assert (query["order"], self.headers["authorization"]) == ("asc", "Bearer secret")
            ids = [row["id"] for row in rows]
            first = ids.index(query["after"]) + 1 if "after" in query else 0
            shown = rows[first : first + page]
            body = json.dumps(
                {
                    "object": "list",
                    "data": shown,
                    "first_id": shown[0]["id"] if shown else None,
                    "last_id": shown[-1]["id"] if shown else None,
                    "has_more": first + page < len(rows),
                }
            ).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            serving.join()
