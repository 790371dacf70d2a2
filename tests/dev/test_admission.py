"""Which requests `make dev` takes, and what it hands down to the function."""

from argparse import ArgumentTypeError

import pytest

from lambda_src.dev.__main__ import inherited, origin_of
from lambda_src.dev.admission import Admission
from lambda_src.dev.emulator.events import Request

HOME = "127.0.0.1:8000"


def refusal(host: str | None, origin: str | None = None, *, let_in: tuple[str, ...] = ()) -> str | None:
    """Why `make dev` on port 8000 refuses such a request."""
    named = [("host", host), ("origin", origin)]
    headers = [(name, value) for name, value in named if value is not None]
    request = Request(method="POST", target="/chatkit", headers=headers, body=b"{}")
    return Admission(8000, let_in, warn=lambda _: None)(request)


@pytest.mark.parametrize("host", [HOME, "localhost:8000"])
@pytest.mark.parametrize("origin", [None, "http://127.0.0.1:8000", "http://localhost:8000"])
def test_its_own_page_and_a_terminal_are_let_in(host: str, origin: str | None) -> None:
    assert refusal(host, origin) is None


@pytest.mark.parametrize(
    "host",
    [None, "", "evil.test", "evil.test:8000", "127.0.0.1", "127.0.0.1:8001", "127.0.0.1:8000.evil.test",
     "localhost.evil.test:8000", "127.0.0.1:8000,evil.test"],
)  # fmt: skip
def test_a_foreign_host_is_refused_whatever_the_origin(host: str | None) -> None:
    assert refusal(host) is not None
    assert refusal(host, f"http://{HOME}") is not None


@pytest.mark.parametrize(
    "origin",
    ["null", "", "https://evil.test", "http://127.0.0.1:8001", "http://localhost:3000", "https://127.0.0.1:8000",
     "http://127.0.0.1", "http://127.0.0.1:8000.evil.test", "http://127.0.0.1:8000,https://evil.test"],
)  # fmt: skip
def test_a_foreign_origin_is_refused(origin: str) -> None:
    assert refusal(HOME, origin) is not None


def test_an_origin_that_is_named_is_let_in_also_as_host_of_a_proxy() -> None:
    let_in = ("http://localhost:5173", "https://x-8000.app.test")
    assert refusal(HOME, "http://localhost:5173", let_in=let_in) is None
    assert refusal("x-8000.app.test", "https://x-8000.app.test", let_in=let_in) is None
    assert refusal(HOME, "http://localhost:5174", let_in=let_in) is not None


def test_every_port_is_let_in_when_that_is_asked_for() -> None:
    assert refusal(HOME, "http://localhost:5174", let_in=("http://localhost:*",)) is None
    assert refusal(HOME, "http://127.0.0.1:5174", let_in=("http://localhost:*",)) is not None


def test_the_developer_reads_once_who_was_refused_and_how_to_let_them_in() -> None:
    said: list[str] = []
    admission = Admission(8000, (), warn=said.append)
    for origin in ("http://localhost:5173", "http://localhost:5173", "http://a\x1b[31m\u202e"):
        admission(Request("GET", "/", [("host", HOME), ("origin", origin)], b""))
    assert said[0].endswith("make dev ORIGIN=http://localhost:5173")
    assert len(said) == 2
    assert said[1].isascii()
    assert said[1].isprintable()


@pytest.mark.parametrize("origin", ["localhost:5173", "http://localhost:5173/", "ftp://a", "http://", "*"])
def test_a_flag_that_names_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(ArgumentTypeError, match="must be an origin such as"):
        origin_of(origin)
    assert origin_of("http://localhost:*") == "http://localhost:*"


def test_the_function_gets_an_allow_list_of_the_shells_environment() -> None:
    given = {"CHAT_STORE": "", "OPENAI_API_KEY": "", "PATH": "", "LC_ALL": "", "https_proxy": "", "PYTHONPATH": ""}
    kept_back = {"GITHUB_TOKEN": "", "SSH_AUTH_SOCK": "", "CHATTY": "", "STRIPE_KEY": "", "DATABASE_URL": ""}
    assert inherited(given | kept_back) == given
    assert inherited(given | kept_back, more=["STRIPE_KEY"]) == given | {"STRIPE_KEY": ""}
