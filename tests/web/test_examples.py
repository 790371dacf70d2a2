"""The examples, built from their lock files, in Chromium against `make dev`; the code in docs/how-to/frontend.md."""

import json
import re
import sys
from pathlib import Path

import httpx2
import jwt
import pytest
from playwright.sync_api import Page, expect

from lambda_src.cli.secrets.keys import Algorithm, pair
from tests.web.chatkit_cdn import SCRIPT, with_cdn, without_cdn
from tests.web.examples import NEXT, ROOT, TSC, VITE, Example, free_port, run, serving, tool

PAGE = (ROOT / "docs" / "how-to" / "frontend.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.slow  # `make examples`: npm, two builds, two servers


@pytest.mark.parametrize("example", [VITE, NEXT], ids=lambda example: example.name)
def test_an_example_chats_through_make_dev_from_its_own_origin_and_reports_if_chatkit_cannot_be_loaded(
    example: Example, dev: str, tab: Page
) -> None:
    with example.at(f"{dev}chatkit") as url:
        requested = without_cdn(tab)
        tab.goto(url)
        expect(tab.get_by_role("heading")).to_have_text("The chat did not load")
        assert requested == [SCRIPT]
        tab.unroute_all()

        chatkit = with_cdn(tab)
        tab.get_by_role("button", name="Try again").click()
        expect(chatkit.element).to_be_visible()
        events = chatkit.say("hello")
        assert (events[0]["type"], events[-1]["type"]) == ("thread.created", "thread.item.done")
        events = chatkit.say("look", chatkit.upload("a.txt", "text/plain", "words"))
        (message,) = [event["item"] for event in events if event.get("item", {}).get("type") == "user_message"]
        assert [attachment["name"] for attachment in message["attachments"]] == ["a.txt"]
        thread = chatkit.element.evaluate("chat => chat.threadId")
        tab.reload()
        expect(chatkit.element).to_be_visible()
        assert chatkit.options["initialThread"] == thread


def test_the_next_example_signs_valid_tokens_and_each_browser_is_a_different_user() -> None:
    pem, public = pair(Algorithm.es256)
    key = {"CHAT_PRIVATE_KEY": pem.decode(), "CHAT_KEY_ID": public["kid"]}
    with NEXT.at("http://localhost:1/chatkit", **key) as url, httpx2.Client(trust_env=False) as http:
        first = http.get(f"{url}/chat-token")
        cookie = first.headers["set-cookie"].split(";")[0]  # it is Secure, which only browsers send back to localhost
        again = http.get(f"{url}/chat-token", headers={"cookie": cookie})
        http.cookies.clear()
        other = http.get(f"{url}/chat-token")
    claims = [
        jwt.decode(answer.text, jwt.PyJWK(public), algorithms=["ES256"], audience="chat", options={"require": ["exp"]})
        for answer in (first, again, other)
    ]
    assert claims[0]["sub"] == claims[1]["sub"] != claims[2]["sub"]
    assert jwt.get_unverified_header(first.text)["kid"] == public["kid"]


def test_the_shipped_types_match_the_scripts(tmp_path: Path) -> None:
    folder = VITE.installed()
    component = folder / "node_modules/@openai/chatkit/types/index.d.ts"
    options = {
        "noEmit": True, "allowJs": True, "checkJs": True, "skipLibCheck": True,
        "strict": True, "strictNullChecks": False, "noImplicitAny": False,
        "target": "ES2022", "lib": ["ES2022", "DOM", "DOM.Iterable", "DOM.AsyncIterable"], "types": [],
        "module": "ESNext", "moduleResolution": "bundler", "allowImportingTsExtensions": True,
        "paths": {"@openai/chatkit": [str(component)]},
    }  # fmt: skip
    project = tmp_path / "tsconfig.json"
    scripts = [str(ROOT / "web" / "src" / name) for name in ("chat-client.js", "chatkit.js")]
    project.write_text(json.dumps({"compilerOptions": options, "files": scripts}))
    run([*tool(TSC), "--project", str(project)], folder)


def test_the_code_in_the_docs_type_checks(tmp_path: Path) -> None:
    folder = VITE.installed()
    for name, code in re.findall(r"```tsx?\n// (\w+)\n(.*?)```", PAGE, re.DOTALL):
        (folder / "src" / f"{name}.tsx").write_text(code)
    assert (folder / "src" / "react.tsx").is_file()
    run(tool(TSC), folder)


def test_the_plain_html_page_in_the_docs_chats(dev: str, tab: Page, tmp_path: Path) -> None:
    (html,) = re.findall(r"```html\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "index.html").write_text(html.replace("http://127.0.0.1:8000/", dev))
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--directory", str(tmp_path)]
    with serving(command, tmp_path, port, {}) as site:
        chatkit = with_cdn(tab)
        tab.goto(site)
        expect(chatkit.element).to_have_attribute("data-color-scheme", "undefined")
        assert chatkit.say("hello")[-1]["type"] == "thread.item.done"
