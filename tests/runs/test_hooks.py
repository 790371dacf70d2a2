"""Screening hooks for messages, guests and files: what they refuse is not stored, counted or sent to the model."""

import asyncio
import json
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs

import httpx2
import pytest
from agents import Agent, RunConfig
from agents.testing import ScriptedModel, assistant_message, function_call

from lambda_src.auth import FirstOf, GuestTokens
from lambda_src.auth.guest_access import PER_ADDRESS
from lambda_src.composition.app import Parts, build_app
from lambda_src.context import User
from lambda_src.dev.testing import AgentChat, RefusedError
from lambda_src.models.demo_model import DemoModel
from lambda_src.observability.logs import configure_logging
from lambda_src.rotating_secret import Secret
from lambda_src.runs import hooks
from lambda_src.runs.hooks import Hooks, Screening, UploadedFile, checked, shipped_hooks
from lambda_src.runs.tool_secrets import ToolSecrets
from lambda_src.runs.widget_actions import Actions
from lambda_src.settings import Settings
from lambda_src.store.memory.store import MemoryStore
from tests.apps.chat import Chat, known_by_name, message, no_pause
from tests.apps.full import PNG, FullApp, attached, full_app_on_moto, full_app_without_files, items_of, thread_of

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
BLOCK = re.compile(r"```python\n# (lambda_src/agent/\S+)\n(.*?)```", re.DOTALL)
ENV = {"CHAT_STORE": "memory", "CHAT_AUTH_ISSUER": "https://issuer.test/", "CHAT_AUTH_AUDIENCE": "chat"}
ONE_A_DAY = {"CHAT_QUOTAS": '{"messages_per_day": 1}', "CHAT_GUEST_SECRET": "/guest-secret"}
SORRY = "Please rephrase your message."


class CountingModel(DemoModel):
    """The demo model; counts its answers."""

    def __init__(self) -> None:
        super().__init__(sleep=no_pause)
        self.answers = 0

    def stream_response(self, *args: Any, **kwargs: Any) -> Any:
        self.answers += 1
        return super().stream_response(*args, **kwargs)


def chat_with(load: Callable[[], Hooks], *, model: CountingModel | None = None, **env: str) -> Chat:
    """Return ann's client of the app as the composition builds it."""
    store, tokens = MemoryStore(), GuestTokens(Secret(lambda: "s" * 64))
    config = RunConfig(model=model or CountingModel(), tracing_disabled=True)
    parts = Parts(
        authenticate=FirstOf(tokens, known_by_name),
        build_agent=lambda: Agent(name="Test"),
        build_run_config=lambda: config,
        guest_tokens=tokens,
        load_hooks=load,
        tool_secrets=ToolSecrets({"moderation-key": "key", "turnstile-secret": "hush"}.__getitem__),
    )
    return Chat(build_app(Settings.from_env(ENV | ONE_A_DAY | env), store, store.ledger, parts))


async def mint(chat: Chat, body: bytes = b"", *, address: str = "203.0.113.7") -> httpx2.Response:
    transport = httpx2.ASGITransport(app=chat.app, client=(address, 1))
    async with httpx2.AsyncClient(transport=transport, base_url="http://chat.test") as client:
        return await client.post("/auth/guest", content=body)


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Any]]:
    """Return a function that lists our warnings as (event, hook, exception type)."""
    configure_logging()  # the first app of a process would do it now, and turn this off again
    monkeypatch.setattr(logging.getLogger("lambda_src"), "propagate", True)

    def logged() -> list[Any]:
        lines = [vars(record) for record in caplog.records if record.levelno >= logging.WARNING]
        return [(line["msg"], line.get("hook"), line["error_type"]) for line in lines if "place" in line]

    return logged


def no_swearing(text: str, user: User) -> str | None:
    return SORRY if "damn" in text else None


# Messages


async def test_a_refused_message_is_not_stored_counted_or_sent_to_the_model() -> None:
    model = CountingModel()
    chat = chat_with(lambda: Hooks(check_message=no_swearing), model=model)
    refused = await chat("threads.create", input=message("damn"))
    assert (refused.status, refused.json) == (403, {"error": "refused", "message": SORRY})
    assert ((await chat("threads.list")).json["data"], model.answers) == ([], 0)
    accepted = await chat("threads.create", input=message("hello"))
    assert accepted.status == 200, "the refused message must not count toward the limit"
    over = await chat("threads.add_user_message", thread_id=thread_of(accepted), input=message("hello"))
    assert over.status == 429


async def test_the_hook_receives_everything_the_model_would_read_and_the_user() -> None:
    seen: list[tuple[str, User]] = []

    async def check_message(text: str, user: User) -> None:
        seen.append((text, user))

    chat = chat_with(lambda: Hooks(check_message=check_message))
    tag = {"type": "input_tag", "id": "t", "text": "@ann", "data": {"mail": "ann@x.test"}, "interactive": False}
    user_message = message("hi", quoted_text="quoted")
    user_message["content"].append(tag)
    assert (await chat("threads.create", input=user_message)).status == 200
    guest = chat.as_((await mint(chat)).json()["token"])
    assert (await guest("threads.create", input=message("hi"))).status == 200
    [(text, ann), (_, other)] = seen
    assert text.splitlines() == ["hi", "@ann", '{"mail": "ann@x.test"}', "quoted"]
    assert (ann.id, ann.is_guest, other.is_guest) == ("ann", False, True)


async def test_a_repeated_request_is_refused_with_the_same_message() -> None:
    chat = chat_with(lambda: Hooks(check_message=no_swearing))
    body = json.dumps({"type": "threads.create", "params": {"input": message("damn")}}).encode()
    answers = [await chat.post(body, x_chat_turn="one-turn-of-a-client") for _ in range(2)]
    assert [(answer.status, answer.json["message"]) for answer in answers] == [(403, SORRY)] * 2


async def test_answers_to_a_form_are_checked() -> None:
    seen: list[str] = []
    script = [[function_call("refund", '{"order_id": 17}', call_id="c")], [assistant_message("Done.")]]
    page = (HOW_TO / "approvals.md").read_text(encoding="utf-8")
    defined: dict[str, Any] = {}
    [(_, source)] = BLOCK.findall(page)
    sys.modules.setdefault("lambda_src.agent.model", ModuleType("lambda_src.agent.model")).MODEL = "m"  # type: ignore[attr-defined] # the user may have deleted it
    exec(compile(source, "approvals.md", "exec"), defined)

    def check_message(text: str, user: User) -> None:
        seen.append(text)

    screening = Screening(lambda: Hooks(check_message=check_message))
    chat = full_app_without_files().chat(
        model=ScriptedModel(script), agent=defined["build_agent"](), screening=screening
    )
    answer = await chat("threads.create", input=message("refund order 17"))
    response = {"status": "answered", "answers": {"0": {"values": ["Approve"]}}}
    ids = {"thread_id": thread_of(answer), "item_id": items_of(answer)[-1]["id"]}
    await chat("threads.add_structured_input", **ids, input=response)
    assert list(dict.fromkeys(seen)) == ["refund order 17", "Approve"]


# Hooks that fail


def failing(text: str, user: User) -> None:
    raise KeyError("marker-of-a-person")


async def returning_nonsense(text: str, user: User) -> Any:
    return True


async def hanging(text: str, user: User) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("hook", "error"), [(failing, "KeyError"), (returning_nonsense, "TypeError"), (hanging, "TimeoutError")]
)
async def test_a_failing_hook_refuses_with_a_plain_message_and_logs_one_warning_with_its_location(
    hook: Any, error: str, warnings: Callable[[], list[Any]], caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    monkeypatch.setattr(hooks, "TIMEOUT_S", 0.05)
    model = CountingModel()
    chat = chat_with(lambda: Hooks(check_message=hook), model=model)
    answer = await chat("threads.create", input=message("hello"))
    assert (answer.status, model.answers) == (503, 0)
    assert answer.json["message"] == "Your message could not be checked, so it was not sent. Try again in a moment."
    assert warnings() == [("hook_failed", hook.__name__, error)]
    [place] = [vars(record)["place"] for record in caplog.records if record.msg == "hook_failed"]
    assert place.rpartition(":")[0] == __file__
    assert (await chat("threads.list")).json["data"] == []


async def test_hooks_that_cannot_be_loaded_refuse_until_loading_succeeds(warnings: Callable[[], list[Any]]) -> None:
    loads = iter([ImportError("no module"), None])

    def load() -> Hooks:
        if (error := next(loads)) is not None:
            raise error
        return Hooks()

    chat = chat_with(load)
    assert (await chat("threads.create", input=message("hello"))).status == 503
    assert warnings() == [("hooks_not_loaded", None, "ImportError")]
    assert (await chat("threads.create", input=message("hello again"))).status == 200


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ({"check_mesage": no_swearing}, "check_mesage, which is not called"),
        ({"check_message": "yes"}, "must be a function"),
        ({"moderate": no_swearing}, "nothing would be checked"),
    ],
)
def test_a_module_whose_hooks_would_not_be_called_is_an_error(module: dict[str, Any], expected: str) -> None:
    with pytest.raises(TypeError, match=expected):
        checked(module)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder without any hooks."""
    package = ModuleType("lambda_src.agent")
    package.__path__ = [str(tmp_path)]
    monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.delitem(sys.modules, hooks.MODULE, raising=False)
    monkeypatch.setattr(hooks, "AGENT", tmp_path)
    return tmp_path


def test_the_hooks_in_the_users_folder_are_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shipped_hooks() == Hooks()
    (folder / "hooks.py").write_text("def check_message(text, user):\n    return 'no'\n")
    check_message = shipped_hooks().check_message
    assert check_message is not None
    assert check_message("hi", User(id="ann")) == "no"
    monkeypatch.delitem(sys.modules, hooks.MODULE)


def test_without_hooks_the_users_folder_is_not_imported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "lambda_src.agent")
    shipped_hooks()
    assert "lambda_src.agent" not in sys.modules


async def test_hooks_run_in_a_users_tests() -> None:
    chat = AgentChat(
        lambda: Agent(name="Test"), build_actions=Actions, load_hooks=lambda: Hooks(check_message=no_swearing)
    )
    with pytest.raises(RefusedError, match=SORRY):
        await chat.say("damn")


# Guests


async def test_a_guest_gets_a_token_only_with_a_captcha_that_the_hook_accepts() -> None:
    seen: list[tuple[str, str]] = []

    def check_guest(captcha: str, address: str) -> str | None:
        seen.append((captcha, address))
        return None if captcha == "solved" else "Please confirm that you are human."

    chat = chat_with(lambda: Hooks(check_guest=check_guest))
    for body in (b"", b"{}", b'{"captcha": "guessed"}'):
        refused = await mint(chat, body)
        assert (refused.status_code, refused.json()["message"]) == (403, "Please confirm that you are human.")
    accepted = await mint(chat, b'{"captcha": "solved"}')
    assert accepted.status_code == 200
    assert (await chat.as_(accepted.json()["token"])("threads.list")).status == 200
    assert seen == [(captcha, "203.0.113.7") for captcha in ("", "", "guessed", "solved")]


async def test_refused_guests_do_not_count_toward_the_limit_per_address() -> None:
    chat = chat_with(lambda: Hooks(check_guest=lambda captcha, _: None if captcha else ""))
    for _ in range(PER_ADDRESS + 1):
        assert (await mint(chat)).status_code == 403
    assert (await mint(chat, b'{"captcha": "x"}')).status_code == 200


async def test_a_body_without_a_valid_captcha_is_refused_before_the_hook() -> None:
    chat = chat_with(lambda: Hooks(check_guest=lambda *_: None))
    answers = [await mint(chat, body) for body in (b"[", b'{"captcha": 1}', b"x" * 20_000)]
    assert [answer.status_code for answer in answers] == [422, 422, 413]


# Files


@pytest.fixture
def full_app() -> Iterator[FullApp]:
    with full_app_on_moto() as full_app:
        yield full_app


def objects(full_app: FullApp) -> list[str]:
    return [entry["Key"] for entry in full_app.aws.s3.list_objects_v2(Bucket=full_app.bucket).get("Contents", [])]


async def test_a_refused_file_is_removed_and_its_message_is_not_stored(full_app: FullApp) -> None:
    seen: list[UploadedFile] = []

    def check_file(file: UploadedFile, user: User) -> str | None:
        seen.append(file)
        return f"{file.name} has a virus." if file.name == "bad.png" else None

    chat = full_app.chat(screening=Screening(lambda: Hooks(check_file=check_file)))
    good, bad = await attached(chat, full_app, name="good.png"), await attached(chat, full_app, name="bad.png")
    refused = await chat("threads.create", input=message("look", attachments=[good, bad]))
    assert (refused.status, refused.json["message"]) == (403, "bad.png has a virus.")
    assert (await full_app.stored_lines(), objects(full_app)) == ([], [f"pending/ann/{good}"])
    accepted = await chat("threads.create", input=message("look", attachments=[good]))
    assert (accepted.status, len(objects(full_app))) == (200, 2)
    assert {(file.mime_type, file.data) for file in seen} == {("image/png", PNG)}


async def test_a_file_whose_scan_fails_is_not_kept(full_app: FullApp, warnings: Callable[[], list[Any]]) -> None:
    def check_file(file: UploadedFile, user: User) -> None:
        raise OSError

    chat = full_app.chat(screening=Screening(lambda: Hooks(check_file=check_file)))
    file = await attached(chat, full_app)
    answer = await chat("threads.create", input=message("look", attachments=[file]))
    assert (answer.status, "could not be checked" in answer.json["message"]) == (503, True)
    assert (await full_app.stored_lines(), objects(full_app)) == ([], [f"pending/ann/{file}"])
    assert warnings() == [("hook_failed", "check_file", "OSError")]


async def test_a_file_that_is_already_in_the_thread_is_not_scanned_again(full_app: FullApp) -> None:
    scans: list[str] = []
    chat = full_app.chat(screening=Screening(lambda: Hooks(check_file=lambda file, _: scans.append(file.name))))
    file = await attached(chat, full_app)
    first = await chat("threads.create", input=message("look", attachments=[file]))
    again = await chat(
        "threads.add_user_message", thread_id=thread_of(first), input=message("again", attachments=[file])
    )
    assert (again.status, scans) == (200, ["a.png"])


# docs/how-to: moderation.md, captcha.md and scan-files.md


def hooks_of(page: str) -> dict[str, Any]:
    """Execute the hooks.py of a page and return what it defines."""
    [(_, code)] = BLOCK.findall((HOW_TO / page).read_text(encoding="utf-8"))
    defined: dict[str, Any] = {}
    exec(compile(code, page, "exec"), defined)
    return defined


@contextmanager
def vendor(answer: Callable[[str], dict[str, Any]]) -> Iterator[str]:
    """Serve `answer`, which maps the body of a POST to JSON; yield the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            content = json.dumps(answer(body)).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            """Print nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_the_pages_moderation_checks_only_guests(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs: list[str] = []

    def answer(body: str) -> dict[str, Any]:
        inputs.append(json.loads(body)["input"])
        return {"id": "m", "model": "m", "results": [{"flagged": "damn" in body}]}

    with vendor(answer) as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        chat = chat_with(lambda: checked(hooks_of("moderation.md")))
        guest = chat.as_((await mint(chat)).json()["token"])
        refused = await guest("threads.create", input=message("damn"))
        assert (refused.status, refused.json["message"]) == (403, SORRY)
        assert (await guest("threads.create", input=message("hello"))).status == 200
        assert (await chat("threads.create", input=message("damn"))).status == 200
    assert inputs == ["damn", "hello"]


async def test_the_pages_captcha_admits_guests_who_solved_it() -> None:
    sent: list[dict[str, list[str]]] = []

    def answer(body: str) -> dict[str, Any]:
        sent.append(parse_qs(body))
        return {"success": "response=solved" in body}

    with vendor(answer) as url:
        defined = hooks_of("captcha.md")
        defined["check_guest"].__globals__["VERIFY"] = url
        chat = chat_with(lambda: checked(defined))
        assert [(await mint(chat, body)).status_code for body in (b"", b'{"captcha": "solved"}')] == [403, 200]
    assert sent[1] == {"secret": ["hush"], "response": ["solved"], "remoteip": ["203.0.113.7"]}


async def test_the_pages_file_scan_calls_clamd(full_app: FullApp, monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts = [b"stream: Eicar-Signature FOUND\0", b"stream: OK\0", b"INSTREAM size limit exceeded. ERROR\0"]
    received: list[bytes] = []

    async def clamd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readuntil(b"\0") == b"zINSTREAM\0"
        chunks: Sequence[bytes] = []
        while size := int.from_bytes(await reader.readexactly(4)):
            chunks = [*chunks, await reader.readexactly(size)]
        received.append(b"".join(chunks))
        writer.write(verdicts[len(received) - 1])
        writer.close()

    server = await asyncio.start_server(clamd, "127.0.0.1", 0)
    defined = hooks_of("scan-files.md")
    defined["check_file"].__globals__["PORT"] = server.sockets[0].getsockname()[1]
    monkeypatch.setenv("CLAMD_HOST", "127.0.0.1")
    chat = full_app.chat(screening=Screening(lambda: checked(defined)))
    statuses = []
    for _ in verdicts:
        file = await attached(chat, full_app)
        statuses.append((await chat("threads.create", input=message("look", attachments=[file]))).status)
    server.close()
    assert (statuses, received) == ([403, 200, 503], [PNG] * 3)
