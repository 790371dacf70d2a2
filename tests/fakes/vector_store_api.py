"""A fake of OpenAI's files and vector stores on a loopback port, as far as `chat knowledge` uses them.

Processing a file named `broken*` fails; a batch with a file named `refused*` gets a 400 as a whole.
"""

import email
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "sk-knowledge"
Answer = tuple[int, dict[str, Any]]
Rows = dict[str, dict[str, Any]]


class Dead(Exception):  # noqa: N818 - not an error of the API
    """The connection is closed without a response."""


@dataclass
class VectorStoreApi:
    """The API's URL and data. `before` and `after` are called with the method and path of each request."""

    url: str = ""
    page: int = 100  # most rows per page
    files: Rows = field(default_factory=dict)  # with "content"
    stores: dict[str, Rows] = field(default_factory=dict)  # the files of each store
    batches: Rows = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    before: Callable[[str, str], Answer | None] = lambda method, path: None
    after: Callable[[str, str], None] = lambda method, path: None
    busy: int = 0
    most_busy: int = 0
    _ids: Iterator[int] = field(default_factory=lambda: count(1))
    lock: threading.RLock = field(default_factory=threading.RLock)

    def texts(self, store: str) -> dict[str, str]:
        """The documents that a search in the store would find, by path. A duplicate path fails."""
        rows = [row for row in self.stores[store].values() if row["status"] == "completed"]
        paths = [row["attributes"]["path"] for row in rows]
        assert len(paths) == len(set(paths)), paths
        return {row["attributes"]["path"]: self.files[row["id"]]["content"].decode() for row in rows}

    def new_id(self, kind: str) -> str:
        return f"{kind}_{next(self._ids)}"

    def add(self, store: str, filename: str, content: bytes, attributes: dict[str, Any] | None, **more: Any) -> str:
        """Add a file to a store, as another program would."""
        file_id = self.new_id("file")
        self.files[file_id] = {"id": file_id, "filename": filename, "content": content, "purpose": "assistants"}
        self.stores[store][file_id] = self._row(store, file_id, attributes) | {"status": "completed"} | more
        return file_id

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> Answer:
        """The response to a request."""
        url = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if headers["authorization"] != f"Bearer {KEY}":
            return _error(401)
        match method, url.path.strip("/").split("/"):
            case "POST", ["files"]:
                return self._upload(headers, body)
            case "GET", ["files"]:
                rows = [row for row in self.files.values() if row["purpose"] == query["purpose"]]
                return self._paged([_file(row) for row in rows], query)
            case "DELETE", ["files", file_id]:
                return _deleted(self.files, file_id)
            case "POST", ["vector_stores"]:
                store = self.new_id("vs")
                self.stores[store] = {}
                return 200, self._store(store)
            case _, ["vector_stores", store, *_] if store not in self.stores:
                return _error(404)
            case "GET", ["vector_stores", store]:
                return 200, self._store(store)
            case "GET", ["vector_stores", store, "files"]:
                return self._paged(list(self.stores[store].values()), query)
            case _, ["vector_stores", store, "files", file_id] if file_id not in self.stores[store]:
                return _error(404)
            case "GET", ["vector_stores", store, "files", file_id]:
                return 200, self._process(self.stores[store][file_id])
            case "POST", ["vector_stores", store, "files", file_id]:
                self.stores[store][file_id]["attributes"] = json.loads(body)["attributes"]
                return 200, self.stores[store][file_id]
            case "DELETE", ["vector_stores", store, "files", file_id]:
                return _deleted(self.stores[store], file_id)
            case "POST", ["vector_stores", store, "file_batches"]:
                return self._batch(store, json.loads(body)["files"])
            case "GET", ["vector_stores", store, "file_batches", batch]:
                return 200, self._polled(store, batch)
            case "GET", ["vector_stores", store, "file_batches", batch, "files"]:
                return self._paged([self.stores[store][file_id] for file_id in self.batches[batch]["files"]], query)
        raise AssertionError(f"{method} {target}")

    def _upload(self, headers: Any, body: bytes) -> Answer:
        form = email.message_from_bytes(
            b"content-type: " + headers["content-type"].encode() + b"\r\n\r\n" + body, policy=HTTP
        )
        parts = {part.get_param("name", header="content-disposition"): part for part in form.iter_parts()}
        content = parts["file"].get_payload(decode=True)
        file_id = self.new_id("file")
        row = {"id": file_id, "filename": parts["file"].get_filename(), "content": content}
        self.files[file_id] = row | {"purpose": parts["purpose"].get_content().strip()}
        return 200, _file(self.files[file_id])

    def _batch(self, store: str, files: list[dict[str, Any]]) -> Answer:
        assert 0 < len(files) <= 2000
        if any(self.files[file["file_id"]]["filename"].startswith("refused") for file in files):
            return _error(400)
        for file in files:
            assert all(len(value) <= 512 for value in file["attributes"].values())
            self.stores[store][file["file_id"]] = self._row(store, file["file_id"], file["attributes"])
        batch = self.new_id("vsfb")
        self.batches[batch] = {"files": [file["file_id"] for file in files], "polled": 0}
        return 200, self._polled(store, batch)

    def _polled(self, store: str, batch: str) -> dict[str, Any]:
        """The state of a batch: in progress when it is created and at the first poll, then processed."""
        state = self.batches[batch]
        rows = [self.stores[store][file_id] for file_id in state["files"] if file_id in self.stores[store]]
        state["polled"] += 1
        if is_done := state["polled"] > 2:
            rows = [self._process(row) for row in rows]
        counts = dict.fromkeys(("in_progress", "completed", "failed", "cancelled"), 0)
        for row in rows:
            counts[row["status"]] += 1
        common = {"id": batch, "object": "vector_store.files_batch", "created_at": 1, "vector_store_id": store}
        status = "completed" if is_done else "in_progress"
        return common | {"status": status, "file_counts": counts | {"total": len(rows)}}

    def _process(self, row: dict[str, Any]) -> dict[str, Any]:
        if row["status"] == "in_progress":
            is_broken = self.files[row["id"]]["filename"].startswith("broken")
            row["status"] = "failed" if is_broken else "completed"
            row["last_error"] = {"code": "invalid_file", "message": "secret words"} if is_broken else None
        return row

    def _row(self, store: str, file_id: str, attributes: dict[str, Any] | None) -> dict[str, Any]:
        common = {"object": "vector_store.file", "created_at": 1, "usage_bytes": 1, "vector_store_id": store}
        return {"id": file_id, **common, "status": "in_progress", "attributes": attributes}

    def _store(self, store: str) -> dict[str, Any]:
        counts = dict.fromkeys(("in_progress", "completed", "failed", "cancelled", "total"), 0)
        common = {"object": "vector_store", "created_at": 1, "name": "n", "status": "completed", "usage_bytes": 0}
        return {"id": store, **common, "file_counts": counts}

    def _paged(self, rows: list[dict[str, Any]], query: dict[str, str]) -> Answer:
        ids = [row["id"] for row in rows]
        first = ids.index(query["after"]) + 1 if "after" in query else 0
        last = first + min(self.page, int(query["limit"]))
        page_rows = rows[first:last]
        ends = {"first_id": page_rows[0]["id"], "last_id": page_rows[-1]["id"]} if page_rows else {}
        return 200, {"object": "list", "data": page_rows, "has_more": last < len(rows), **ends}


def _file(row: dict[str, Any]) -> dict[str, Any]:
    fields = {name: row[name] for name in ("id", "filename", "purpose")}
    return fields | {"object": "file", "bytes": len(row["content"]), "created_at": 1, "status": "processed"}


def _deleted(rows: Rows, file_id: str) -> Answer:
    if rows.pop(file_id, None) is None:
        return _error(404)
    return 200, {"id": file_id, "deleted": True, "object": "deleted"}


def _error(status: int) -> Answer:
    return status, {"error": {"message": "secret words", "type": "x", "code": None, "param": None}}


@contextmanager
def vector_store_api() -> Iterator[VectorStoreApi]:
    """Run the API on a loopback port."""
    api = VectorStoreApi()

    class Handler(BaseHTTPRequestHandler):
        """Handles every request."""

        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # the body is a second write, which would wait 40 ms for an ACK

        def do_POST(self) -> None:
            """Read a request and respond; or close the connection before or after processing it."""
            body = self.rfile.read(int(self.headers.get("content-length", 0))) or self._chunks()
            path = urlsplit(self.path).path
            with api.lock:
                api.busy += 1
                api.most_busy = max(api.most_busy, api.busy)
            try:
                with api.lock:
                    api.requests.append((self.command, path))
                    answer = api.before(self.command, path) or api.answer(self.command, self.path, self.headers, body)
                    api.after(self.command, path)
            except Dead:
                self.close_connection = True
                return
            finally:
                with api.lock:
                    api.busy -= 1
            self._send(*answer)

        do_GET = do_DELETE = do_POST  # noqa: N815 - http.server's names

        def _chunks(self) -> bytes:
            if self.headers.get("transfer-encoding") != "chunked":
                return b""
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def _send(self, status: int, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("openai-poll-after-ms", "1")
            self.send_header("retry-after-ms", "1")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        api.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield api
        finally:
            server.shutdown()
            serving.join()
