"""Attacks on `make dev` and its local AWS by a page on another local port, in Chromium and with raw requests."""

import http.server
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx2
import pytest
from playwright.sync_api import Browser

from tests.apps.chat import message
from tests.web.conftest import make_dev

pytestmark = pytest.mark.xdist_group("browser")


class Blank(http.server.BaseHTTPRequestHandler):
    """An empty page of an attacker."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>evil</title>")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's own name
        pass


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a `make dev` with no threads. After each test there must still be none."""
    with make_dev(tmp_path_factory.mktemp("untouched"), "--showcase") as (url, _):
        yield url


@pytest.fixture
def attacker() -> Iterator[str]:
    """The URL of the attacker's page, on another port of this machine."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Blank)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


TRY = """async ([url, how]) => {
  const answer = await fetch(url, how).catch((error) => ({ type: error.name, status: 0 }));
  return [answer.type, answer.status];
}"""
ROOT_KEY = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0"
CREATE = {"type": "threads.create", "params": {"input": message("from elsewhere")}}


def test_a_page_on_another_port_cannot_run_a_turn_read_data_or_create_a_function(
    browser: Browser, attacker: str, untouched: str
) -> None:
    url = untouched
    with httpx2.Client(base_url=url, timeout=60, trust_env=False) as own:
        file = {"name": "a.txt", "size": 5, "mime_type": "text/plain"}
        upload = own.post("/chatkit", json={"type": "attachments.create", "params": file}).json()["upload_descriptor"]
        aws = "{0.scheme}://{0.netloc}".format(urlsplit(upload["url"]))
        tab = (
            browser.new_context().new_page()
        )  # not the `tab` fixture, because blocked requests are errors on the console
        tab.goto(attacker)

        def attempt(url: str, **how: object) -> list[object]:
            return list(tab.evaluate(TRY, [url, how]))

        plain = {"content-type": "text/plain"}
        body = str(CREATE).replace("'", '"')
        assert attempt(f"{url}chatkit", method="POST", mode="no-cors", headers=plain, body=body) == ["opaque", 0]
        assert attempt(f"{url}chatkit", method="POST", headers=plain, body=body) == ["TypeError", 0]
        assert attempt(f"{url}chatkit", method="POST", headers={"content-type": "application/json"}, body=body)[1] == 0
        assert attempt(f"{url}chat/health") == ["TypeError", 0]
        code = '{"FunctionName": "evil", "Runtime": "python3.13"}'
        attempt(f"{aws}/2015-03-31/functions", method="POST", mode="no-cors", headers=plain, body=code)
        scan = {"x-amz-target": "DynamoDB_20120810.Scan", "content-type": "application/x-amz-json-1.0"}
        scan["authorization"] = ROOT_KEY
        assert attempt(f"{aws}/", method="POST", headers=scan, body='{"TableName": "chat"}') == ["TypeError", 0]
        attempt(f"{aws}/_ministack/reset", method="POST", mode="no-cors")
        assert own.post("/chatkit", json={"type": "threads.list", "params": {}}).json()["data"] == []
        tab.context.close()


def test_foreign_hosts_foreign_origins_and_requests_without_credentials_are_refused(untouched: str) -> None:
    with httpx2.Client(base_url=untouched, timeout=60, trust_env=False) as http:
        file = {"name": "a.txt", "size": 5, "mime_type": "text/plain"}
        upload = http.post("/chatkit", json={"type": "attachments.create", "params": file}).json()["upload_descriptor"]
        for headers in ({"host": "evil.test"}, {"origin": "http://evil.test"}, {"origin": "null"}):
            for path in ("/", "/chat/health", "/chat-client.js"):
                refused = http.get(path, headers=headers)
                assert (refused.status_code, "access-control-allow-origin" in refused.headers) == (403, False)
            assert http.post("/chatkit", headers=headers, json=CREATE).status_code == 403
            preflight = headers | {"access-control-request-method": "POST"}
            assert http.request("OPTIONS", "/chatkit", headers=preflight).status_code == 403
        assert http.post("/chatkit", json={"type": "threads.list", "params": {}}).json()["data"] == []

        aws = "{0.scheme}://{0.netloc}".format(urlsplit(upload["url"]))
        scan = {"x-amz-target": "DynamoDB_20120810.Scan", "content-type": "application/x-amz-json-1.0"}
        page = {"origin": "http://127.0.0.1:9", "authorization": ROOT_KEY}
        for headers in (scan, scan | page, scan | {"host": "evil.test", "authorization": ROOT_KEY}):
            refused = http.post(aws, headers=headers, content='{"TableName": "chat"}')
            assert refused.status_code in (400, 403), headers
            assert "Items" not in refused.text
        assert http.post(f"{aws}/_ministack/reset").status_code == 403
        assert http.post(f"{aws}/2015-03-31/functions", content='{"FunctionName": "evil"}').status_code == 403
        assert http.get(f"{aws}/chat-files").status_code == 403
        assert http.put(f"{aws}/chat-files/evil", content=b"x").status_code == 403
        assert http.put(upload["url"], content=b"hello", headers=upload["headers"]).status_code == 200
